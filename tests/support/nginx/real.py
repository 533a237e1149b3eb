"""Real nginx, as the judge: does it take a text, and what does a client really get from it?"""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
MODULES = Path(os.environ.get("WGCLUSTER_NGINX_MODULES", "/usr/lib/nginx/modules"))
LUA = (MODULES / "ngx_http_lua_module.so").exists()
STREAM = (MODULES / "ngx_stream_module.so").exists()
# By a word in a configuration: the modules that it needs, in the order in which nginx has to load them.
NEEDED = {
    "_by_lua": ("ndk_http_module", "ngx_http_lua_module"),
    "\nstream {": ("ngx_stream_module",),
    " echo_": ("ngx_http_echo_module",),
    " auth_pam ": ("ngx_http_auth_pam_module",),
    " js_content ": ("ngx_http_js_module",),
    " perl ": ("ngx_http_perl_module",),
}

# What nginx says when the text itself is wrong, not what a directive makes of its arguments.
_SYNTAX = re.compile(
    r"unexpected (?:\"|end of)|too long parameter|is not terminated by \";\"|has no opening \"\{\""
    r"|Lua code block missing"
)
_LINE = re.compile(r":(\d+)\s*$")


class Opinion(NamedTuple):
    """What ``nginx -t`` says: "accepts", "refuses" the text, or "dislikes" what it means; and the line."""

    says: str
    line: int
    message: str


def opinion(text: str, folder: Path, *, lua: bool = False) -> Opinion:
    """``nginx -t`` on ``text`` as the whole configuration."""
    assert NGINX is not None
    path = folder / f"{os.getpid()}.conf"
    lead = load(NEEDED["_by_lua"]) if lua else ""
    path.write_bytes((lead + text).encode("utf-8", "surrogateescape"))
    command = [NGINX, "-t", "-q", "-p", str(folder), "-c", str(path), "-e", "stderr"]
    ran = subprocess.run(command, capture_output=True, check=False)
    if ran.returncode == 0:
        return Opinion("accepts", 0, "")
    errors = [line for line in ran.stderr.decode("utf-8", "replace").splitlines() if "[emerg]" in line]
    said = errors[0] if errors else ran.stderr.decode("utf-8", "replace")
    place = _LINE.search(said)
    line = int(place[1]) - lead.count("\n") if place else 0
    return Opinion("refuses" if _SYNTAX.search(said) else "dislikes", line, said)


def needed(config: str) -> list[str]:
    """The modules that ``config`` needs."""
    return [module for word, modules in NEEDED.items() if word in config for module in modules]


def lacking(config: str) -> list[str]:
    """Those of them that are not installed."""
    return [module for module in needed(config) if not (MODULES / f"{module}.so").exists()]


def load(modules: Sequence[str]) -> str:
    """The lines that load ``modules``."""
    return "".join(f"load_module {MODULES}/{module}.so;\n" for module in modules)


class Answer(NamedTuple):
    status: int
    headers: str
    body: str


class Running:
    """A running nginx and a way to ask it from any loopback address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sockets: dict[tuple[str, int], socket.socket] = {}

    def ask(
        self,
        port: int,
        host: str,
        uri: str = "/",
        *,
        source: str = "127.0.0.1",
        method: str = "GET",
        headers: Sequence[str] = (),
    ) -> Answer:
        """One request over a connection that is kept per source and port; from ::1 to ::1."""
        lines = [f"{method} {uri} HTTP/1.1", f"Host: {host}", "Connection: keep-alive", *headers]
        if method == "POST":
            lines.append("Content-Length: 0")
        request = "\r\n".join([*lines, "", ""]).encode()
        for attempt in (0, 1):
            kept = self._sockets.get((source, port))
            if kept is None:
                here = "::1" if ":" in source else "127.0.0.1"
                kept = socket.create_connection((here, port), timeout=10, source_address=(source, 0))
                kept.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets[source, port] = kept
            try:
                kept.sendall(request)
                return self._read(kept, (source, port), head_only=method == "HEAD")
            except (ConnectionError, EOFError):  # nginx had closed it: keepalive_requests, 444
                self.drop(source, port)
                if attempt:
                    return Answer(444, "", "")
        raise AssertionError

    def drop(self, source: str, port: int) -> None:
        kept = self._sockets.pop((source, port), None)
        if kept is not None:
            kept.close()

    def _read(self, kept: socket.socket, key: tuple[str, int], *, head_only: bool) -> Answer:
        data = b""
        while b"\r\n\r\n" not in data:
            data += _more(kept)
        head, _, body = data.partition(b"\r\n\r\n")
        headers = head.decode("latin-1")
        status = int(headers.split(" ", 2)[1])
        length = re.search(r"^content-length: *(\d+)", headers, re.I | re.M)
        if head_only or status in (204, 304):
            body = b""
        elif length:
            while len(body) < int(length[1]):
                body += _more(kept)
        elif re.search(r"^transfer-encoding: *chunked", headers, re.I | re.M):
            while not body.endswith(b"0\r\n\r\n"):
                body += _more(kept)
        else:
            try:
                while True:
                    body += _more(kept)
            except EOFError:
                pass
            self.drop(*key)
        if re.search(r"^connection: *close", headers, re.I | re.M):
            self.drop(*key)
        return Answer(status, headers, body.decode("utf-8", "replace"))

    def close(self) -> None:
        for kept in self._sockets.values():
            kept.close()
        self._sockets.clear()


def _more(kept: socket.socket) -> bytes:
    data = kept.recv(65536)
    if not data:
        raise EOFError
    return data


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, below those that the kernel gives to connections (ip(7))."""
    end = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports: list[int] = []
    # not the generator that hypothesis sets to the same start in each worker
    for port in random.SystemRandom().sample(range(end // 2, end), 100 + count):
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise AssertionError(f"of 100 ports below {end} fewer than {count} are free")


@contextmanager
def running(
    config: str, *, ready: int, prepare: Callable[[Path], None] = lambda folder: None
) -> Iterator[Running]:
    """nginx with ``config`` (from ``http`` on; ``events`` and paths are added) until the block ends.

    ``ready``: a port it listens on; ``prepare`` puts files into its folder first. "@FOLDER@" in the
    text stands for that folder.
    """
    assert NGINX is not None
    folder = Path(tempfile.mkdtemp(prefix="wgcluster-nginx-"))
    folder.chmod(0o755)
    prepare(folder)
    (folder / "nginx.conf").write_text(
        f"{load(needed(config))}daemon off;\nmaster_process off;\npid {folder}/pid;\n"
        f"error_log {folder}/error.log crit;\nevents {{ worker_connections 2048; }}\n"
        + config.replace("@FOLDER@", str(folder)),
        newline="",
    )
    command = [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "start.log")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    nginx = Running(folder)
    try:
        _wait(process, ready, folder)
        yield nginx
    finally:
        nginx.close()
        process.terminate()
        process.wait(timeout=10)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if process.poll() is not None:
            said = [log.read_text() for log in folder.glob("*.log")]
            raise AssertionError("\n".join(["nginx did not start:", *said]))
        # It is written when all listen, the last of them too.
        if (folder / "pid").exists():
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.02)
    raise AssertionError("nginx does not answer")


def http_paths() -> str:
    """Lines for the ``http`` block that keep every file nginx writes inside its folder."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return "access_log off;\nkeepalive_requests 1000000;\nserver_names_hash_max_size 65536;\n" + "".join(
        f"{kind}_temp_path @FOLDER@/{kind};\n" for kind in kinds
    )
