"""A real certificate authority for a lab, Let's Encrypt's Pebble, and a real client of it, certbot."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from subprocess import CompletedProcess

from lab.host import Host
from lab.spec import SITE
from tests.support.lab.web import WEBROOT

_PORT = 14000
_FOLDER = "/var/lib/pebble"
# the lists are as old as the lab's image: what they name may be gone
_INSTALL = """\
install() {{ DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 {package}; }}
install || {{ apt-get update --quiet=2 && install; }}
"""
_SETTINGS = {
    "listenAddress": f"0.0.0.0:{_PORT}",
    "managementListenAddress": "127.0.0.1:15000",
    "certificate": f"{_FOLDER}/tls.pem",
    "privateKey": f"{_FOLDER}/tls.key",
    # where it asks for http-01: the same ports as Let's Encrypt
    "httpPort": 80,
    "tlsPort": 443,
}
# Orders are validated anew (as shipped, half of them take an earlier validation), at once, and no nonce is
# refused for practice.
_ENVIRONMENT = "PEBBLE_AUTHZREUSE=0 PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0"
_READY = (
    f"for i in $(seq 100); do curl -sk -o /dev/null https://127.0.0.1:{_PORT}/dir && exit 0;"
    " sleep 0.1; done; systemctl status pebble; exit 1"
)


class Authority:
    """Pebble on ``host``, which asks ``web`` for what it is told under the name of the lab's site."""

    def __init__(self, host: Host, web: Host) -> None:
        self.host, self.web = host, web

    def start(self) -> None:
        """Install both sides from Debian's packages and start the CA."""

        def install(host: Host, package: str) -> None:
            host.run(_INSTALL.format(package=package), check=True, timeout=180)

        with ThreadPoolExecutor(2) as pool:
            jobs = [pool.submit(install, self.web, "certbot"), pool.submit(install, self.host, "pebble")]
        for job in jobs:
            job.result()
        # its timer would renew on its own in the middle of a test
        self.web.run("systemctl disable -q --now certbot.timer", check=True)
        self.host.write(f"{_FOLDER}/config.json", json.dumps({"pebble": _SETTINGS}))
        key = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=pebble -keyout {_FOLDER}/tls.key"
        self.host.run(f"{key} -out {_FOLDER}/tls.pem", check=True)
        self.resolve(self.web.address)
        run = f"systemd-run -q --unit=pebble env {_ENVIRONMENT} pebble -config {_FOLDER}/config.json"
        self.host.run(run, check=True)
        self.host.run(_READY, check=True)

    def resolve(self, address: str) -> None:
        """Let the site's name be this address for the CA from now on."""
        # written over, not replaced: Docker has mounted the file
        self.host.run(
            f"grep -v {SITE} /etc/hosts > /run/hosts; echo '{address} {SITE}' >> /run/hosts;"
            " cat /run/hosts > /etc/hosts",
            check=True,
        )

    def issue(self) -> CompletedProcess[str]:
        """certbot's first certificate for the site, by webroot."""
        return self._certbot(f"certonly --webroot -w {WEBROOT} -d {SITE} --agree-tos -m operator@example.org")

    def renew(self) -> CompletedProcess[str]:
        """``certbot renew`` as its timer runs it, though the certificate has time left.

        It is the first run for which Pebble has asked: even at 0 % it takes an earlier validation for one
        order in a hundred (``rand.Intn(100) > percent`` in makeAuthorizations of its wfe/wfe.go).
        Raises RuntimeError if it has not asked for five orders.
        """
        for _ in range(5):
            before = self._validations()
            done = self._certbot("renew --force-renewal --no-random-sleep-on-renew")
            if self._validations() > before:
                return done
        raise RuntimeError(f"Pebble has validated nothing:\n{done.stdout}{done.stderr}")

    def serial(self) -> str:
        """Of the certificate that certbot holds for the site."""
        file = f"/etc/letsencrypt/live/{SITE}/cert.pem"
        return self.web.run(f"openssl x509 -noout -serial -in {file}", check=True).stdout.strip()

    def _validations(self) -> int:
        """How often Pebble has asked since it was started, as it says itself."""
        log = self.host.run("journalctl --no-pager -o cat -u pebble", check=True).stdout
        return log.count("Attempting to validate")

    def _certbot(self, words: str) -> CompletedProcess[str]:
        server = f"--server https://{self.host.address}:{_PORT}/dir --no-verify-ssl"
        return self.web.run(f"certbot {words} --non-interactive {server}", timeout=120)
