"""Guarding a site on a real host: what can go wrong is told plainly, and leaves the site as it was."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from lab.spec import FILES, SITE
from tests.support.lab.cluster import PASSPHRASE
from tests.support.lab.web import ACME, FILE, GITLAB, LINK, Entry, Web, web

PLAIN = (FILES / "gitlab.nginx").read_text()
OTHER = "/etc/nginx/sites-available/other"
OTHER_ENTRY: Entry = {"file": OTHER, "server_name": "other.example.org"}
OTHER_TEXT = (
    "server { listen 80; server_name other.example.org; location / { proxy_pass http://127.0.0.1:8080; } }\n"
)
ENABLE_OTHER = f"ln -s {OTHER} /etc/nginx/sites-enabled/other"
# people put such rules beside a guarded location and forget them
LEAKY = PLAIN.replace(
    "    location /.well",
    "    location ~ ^/api/v[0-9]+/ {\n"
    "        allow 198.18.0.0/15;\n"
    "        deny all;\n"
    "        proxy_pass http://gitlab;\n"
    "    }\n\n"
    "    location /.well",
)
LEAK_LINE = LEAKY[: LEAKY.index("allow 198")].count("\n") + 1


@pytest.fixture(scope="module")
def lab_web(prefix: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    for made in web(f"{prefix}nginx-", tmp_path_factory.mktemp("workspace"), PASSPHRASE):
        made.root.run("tar -C /etc -cpf /root/nginx.tar nginx", check=True)
        yield made


@pytest.fixture
def site(lab_web: Web) -> Iterator[Web]:
    """nginx runs, with the files it came with and no line of ours in them."""
    yield lab_web
    lab_web.root.run("rm -rf /etc/nginx && tar -C /etc -xpf /root/nginx.tar", check=True)
    # systemd counts starts, five in ten seconds (systemd.unit(5)), and the tests go faster than that
    lab_web.root.run("systemctl reset-failed nginx; systemctl restart nginx", check=True)


# what is there, what the operator names, and what he is told
REFUSED: list[tuple[str, str, Entry, tuple[str, ...]]] = [
    (
        "the file is not there",
        "true",
        OTHER_ENTRY,
        (f"{OTHER}: ", "[nginx.absent]", "name the"),
    ),
    (
        "a link to nowhere",
        f"ln -s /srv/gone {OTHER}",
        OTHER_ENTRY,
        (f"{OTHER}: ", "[nginx.dangling]", "mend the link"),
    ),
    ("a folder", f"mkdir {OTHER}", OTHER_ENTRY, (f"{OTHER}: ", "[nginx.not-a-file]", "name the site file")),
    (
        "nginx does not read it",
        "true",
        {**OTHER_ENTRY, "text": OTHER_TEXT},
        (f"{OTHER}: ", "[nginx.not-read]", "sites-enabled"),
    ),
    (
        "nginx reads a copy of it",
        f"rm {LINK} && cp {FILE} {LINK}",
        GITLAB,
        (f"{FILE}: ", "[nginx.not-read]", "name the file that is"),
    ),
    (
        "nginx refuses what is there",
        ENABLE_OTHER,
        {**OTHER_ENTRY, "text": OTHER_TEXT.replace("listen", "lissen")},
        (
            "[nginx.refused]",
            'unknown directive "lissen"',
            "sites-enabled/other:1",
            "by hand first",
        ),
    ),
    (
        "no such server",
        ENABLE_OTHER,
        {**OTHER_ENTRY, "text": OTHER_TEXT, "server_name": "else.example.org"},
        ('no server with server_name "else.example.org"', '"other.example.org" on 80, line 1'),
    ),
    (
        "no such location",
        ENABLE_OTHER,
        {**OTHER_ENTRY, "text": OTHER_TEXT, "locations": ["/admin"]},
        (f"{OTHER}:1:", 'no location "/admin"', '"/" line 1'),
    ),
    (
        "a location beside it leaks",
        "true",
        {**GITLAB, "text": LEAKY},
        (f"{FILE}:{LEAK_LINE}:", "~ ^/api/v[0-9]+/", "would leak", "remedy: take it out"),
    ),
]


@pytest.mark.parametrize(
    ("prepare", "entry", "said"), [case[1:] for case in REFUSED], ids=[c[0] for c in REFUSED]
)
def test_what_cannot_be_guarded_is_told_and_nothing_is_changed(
    site: Web, prepare: str, entry: Entry, said: tuple[str, ...]
) -> None:
    file, text = entry["file"], entry.get("text")
    entry = {key: value for key, value in entry.items() if key != "text"}
    if text is not None:
        site.root.write(file, text)
    site.root.run(prepare, check=True)
    # the good one beside it is not guarded either: all or nothing
    output = site.refused(*[GITLAB, entry] if file != FILE else [entry])
    for part in said:
        assert part in output, output
    assert "nothing was changed" in output
    assert site.outside() == "200"


def test_all_faults_at_once(site: Web) -> None:
    site.root.write(FILE, LEAKY)
    output = site.refused(GITLAB, OTHER_ENTRY, {**OTHER_ENTRY, "file": "/etc/nginx/third"})
    assert "3 faults" in output
    for part in (f"{FILE}:{LEAK_LINE}:", f"{OTHER}: ", "/etc/nginx/third: "):
        assert part in output, output


def test_a_leak_that_is_declared_public_passes(site: Web) -> None:
    site.put(LEAKY.replace("        allow 198.18.0.0/15;\n        deny all;\n", ""))
    output = site.refused(GITLAB)
    assert f"{FILE}:{LEAK_LINE - 1}:" in output
    site.deploy({**GITLAB, "public": [ACME, "~ ^/api/v[0-9]+/"]})
    assert [site.outside(path) for path in ("/", "/api/v4/", "/api/x/")] == ["403", "200", "403"]
    site.verify()


def test_nginx_refuses_the_new_text(site: Web) -> None:
    # a list of addresses has no place at the top of the configuration, where this glob takes it
    glob = "sed -i 's|/etc/nginx/modules-enabled/|/etc/nginx/*/|' /etc/nginx/nginx.conf"
    site.root.run(f"rm -r /etc/nginx/snippets && {glob} && nginx -t", check=True)
    output = site.refused(GITLAB)
    assert re.search(r'"allow" directive is not allowed here in /etc/nginx/wgcluster/\S+:2', output), output
    assert "the old files are back, nothing was reloaded" in output
    assert site.outside() == "200"
    site.root.run("nginx -t", check=True)


def test_nginx_cannot_take_up_what_it_has_found_good(site: Web) -> None:
    site.root.write(OTHER, "server { listen 8099; return 204; }")
    # nginx -t passes over a port that is taken, the reload does not (ngx_open_listening_sockets)
    taken = "systemd-run -q --unit taken systemd-socket-activate -l 0.0.0.0:8099 /bin/true"
    site.root.run(f"{ENABLE_OTHER} && {taken} && sleep 1 && nginx -t", check=True)
    try:
        output = site.refused(GITLAB)
        assert "nginx was told to read its files 15 s ago and goes on with the old ones" in output, output
        assert "the old files are back, and it was told to read them" in output
        assert site.outside() == "200"
    finally:
        site.root.run("systemctl stop taken", check=True)
    site.deploy(GITLAB)
    assert site.outside() == "403"


def test_someone_changes_the_file_before_the_host_is_held(site: Web) -> None:
    change = f"echo '# by hand' >> {FILE}"
    # after the look at the hosts, before the operation that writes: it looks again
    deploy = (site.workspace.folder / "deploy.py").read_text()
    deploy, times = re.subn(r"^nginx\(", f"server.shell(commands=[{change!r}])\nnginx(", deploy, flags=re.M)
    assert times == 1
    script = site.workspace.folder / "meanwhile.py"
    script.write_text(f"from pyinfra.operations import server\n{deploy}")
    site.want(GITLAB)
    done = site.workspace.pyinfra("inventory.py", script.name, "-y")
    assert done.returncode == 0, done.stdout + done.stderr
    assert site.root.read(FILE).endswith("# by hand\n")
    assert site.outside() == "403"


def test_someone_changes_the_file_meanwhile(site: Web) -> None:
    script = site.workspace.folder / "files" / "nginx-replace.sh"
    text = script.read_text()
    script.write_text(f"echo '# by hand' >> {FILE}\n{text}")
    site.want(GITLAB)
    try:
        done = site.workspace.pyinfra("inventory.py", "deploy.py", "-y")
    finally:
        script.write_text(text)
    assert done.returncode != 0
    said = f"{FILE} was changed by someone else since it was read; run again"
    assert said in done.stdout + done.stderr
    assert site.root.read(FILE) == f"{PLAIN}# by hand\n"
    assert site.root.run("find /etc/nginx/wgcluster -type f").stdout == ""
    assert site.outside() == "200"
    site.deploy(GITLAB)
    assert site.root.read(FILE).endswith("# by hand\n")
    assert site.outside() == "403"


def test_nginx_is_not_running(site: Web) -> None:
    site.root.run("systemctl stop nginx", check=True)
    assert "nginx.service is not running: it reads the new files when it starts" in site.deploy(GITLAB)
    assert "nginx is not running" in site.verify(succeeds=False)
    site.root.run("systemctl start nginx", check=True)
    assert (site.outside(), site.inside()) == ("403", "200")
    site.verify()


@pytest.mark.parametrize(
    "text",
    [PLAIN.replace("hand", "h\udce4nd"), PLAIN.replace("\n", "\r\n"), PLAIN.rstrip()],
    ids=["Latin-1", "CRLF", "no newline at the end"],
)
def test_every_byte_is_kept(site: Web, text: str) -> None:
    site.put(text)
    site.deploy(GITLAB)
    guarded = site.root.read(FILE)
    lines = guarded.splitlines(keepends=True)
    assert "".join(line for line in lines if "# wgcluster" not in line) == text
    assert len(lines) == text.count("\n") + (not text.endswith("\n")) + 2
    assert ("\r" in text) == all(line.endswith("\r\n") for line in lines)
    assert (site.outside(), site.outside(f"{ACME}/probe.txt"), site.inside()) == ("403", "200", "200")
    with site.untouched():
        assert site.deploy(GITLAB)
    site.deploy()
    assert site.root.read(FILE) == text
    assert site.outside() == "200"


def test_owner_mode_and_link_are_kept(site: Web) -> None:
    site.root.run(f"chown www-data:adm {FILE} && chmod 640 {FILE}", check=True)
    look = f"stat -c '%a %U:%G %F' {FILE} {LINK}; readlink {LINK}"
    before = site.root.run(look, check=True).stdout
    for file in (FILE, LINK):
        for sites in ([{**GITLAB, "file": file}], []):
            site.deploy(*sites)
            assert site.root.run(look, check=True).stdout == before
            assert ("# wgcluster" in site.root.read(FILE)) == bool(sites)
            assert site.outside() == ("403" if sites else "200")


def test_a_changed_allow_changes_one_place(site: Web) -> None:
    site.deploy(GITLAB)
    before = set(site.snapshot().splitlines())
    site.deploy({**GITLAB, "allow": [f"{site.stranger.address}/32"]})
    (gone,) = before - set(site.snapshot().splitlines())
    assert re.fullmatch(r"[0-9a-f]{64}  \./wgcluster/git\.example\.org-\w+\.conf", gone)
    assert (site.outside(), site.outside(v6=True)) == ("200", "403")


def test_what_is_no_longer_named_is_free_of_us(site: Web) -> None:
    site.root.write(OTHER, OTHER_TEXT)
    site.root.run(f"{ENABLE_OTHER} && nginx -s reload", check=True)
    # in the open it would serve what the first site hides
    site.deploy(GITLAB, OTHER_ENTRY)
    output = site.refused(GITLAB)
    assert '/etc/nginx/sites-enabled/other:1: other.example.org: location "/" leaks' in output, output
    assert "remedy: guard this server, too" in output
    files = OTHER_TEXT.replace("proxy_pass http://127.0.0.1:8080", "root /var/www")
    site.root.write(OTHER, files)
    site.deploy(GITLAB, OTHER_ENTRY)
    assert "# wgcluster" in site.root.read(OTHER)
    site.deploy(GITLAB)
    assert site.root.read(OTHER) == files
    assert site.outside() == "403"
    site.deploy()
    lists = site.root.run("ls -A /etc/nginx/wgcluster").stdout
    assert (site.root.read(FILE), lists, site.outside()) == (PLAIN, "", "200")
    before = site.snapshot()
    site.deploy(GITLAB, OTHER_ENTRY)
    site.teardown()
    assert site.snapshot() == before


CERTIFICATE = (
    "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=x -keyout /etc/nginx/key -out /etc/nginx/pem"
)
RICH = f"""\
upstream app {{ server 127.0.0.1:8080; }}
server {{
    listen 80;
    listen [::]:80;
    server_name {SITE} www.{SITE};
    location {ACME}/ {{ root /var/www/letsencrypt; }}
    location / {{ return 301 https://$host$request_uri; }}
}}
server {{
    listen 443 ssl;
    listen [::]:443 ssl;
    server_name {SITE} www.{SITE};
    ssl_certificate /etc/nginx/pem;
    ssl_certificate_key /etc/nginx/key;
    location / {{ proxy_pass http://app; }}
    location = /login {{ proxy_pass http://app; }}
    location /static/ {{ root /var/www; }}
    location ~ \\.php$ {{ proxy_pass http://app; }}
    location ~* ^/feeds?/(\\d+) {{ proxy_pass http://app; }}
    location {ACME}/ {{ root /var/www/letsencrypt; }}
}}
"""
RICH_ENTRY: Entry = {**GITLAB, "scope": "server", "public": [ACME, r"~* ^/feeds?/(\d+)"]}


def test_verify_holds_a_rich_site_and_finds_what_a_hand_has_opened(site: Web) -> None:
    site.root.run(f"{CERTIFICATE} 2>/dev/null && mkdir -p /var/www/static", check=True)
    site.put(RICH)
    site.deploy(RICH_ENTRY)
    for path, status in (("/", "403"), ("/login", "403"), ("/a.php", "403"), ("/feed/1", "200")):
        assert site.outside(path, scheme="https") == status
    site.verify()
    guarded = site.root.read(FILE)
    open_list = "sed -i 's/^deny all/allow all/' /etc/nginx/wgcluster/*.conf"
    for damage, where in (
        (open_list, "location /"),
        (f"sed -i '/include.*# wgcluster/d' {FILE}", "location /"),
        (f"sed -i 's|= /login {{|& allow all;|' {FILE}", "location = /login"),
        (
            f"sed -i 's|location /static|location /new {{ allow all; proxy_pass http://app; }} &|' {FILE}",
            "/new",
        ),
    ):
        site.root.run(damage, check=True)
        site.reload()
        output = site.verify(succeeds=False)
        assert where in output
        assert "is not hidden" in output
        site.deploy(RICH_ENTRY) if damage == open_list else site.put(guarded)
    site.verify()
