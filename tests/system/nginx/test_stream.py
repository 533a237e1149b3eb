"""A stream server in front of a guarded one; without the PROXY protocol it is among the cases."""

from __future__ import annotations

import socket
from ipaddress import ip_network

import pytest

from tests.support.nginx.cases import ALLOWED
from tests.support.nginx.real import NGINX, STREAM, free_ports, running
from tests.support.nginx.worlds import dump
from wgcluster.inventory.schema import GuardedSite
from wgcluster.nginx.audit.audit import audit
from wgcluster.nginx.syntax.includes import parse_dump

pytestmark = pytest.mark.skipif(NGINX is None or not STREAM, reason="nginx has no stream module")


def test_a_stream_server_that_trusts_any_proxy_line_has_no_list() -> None:
    port, back, open_to = free_ports(3)
    config = (
        f"http {{ server {{ listen 127.0.0.1:{back}; return 200 SECRET; }}\n"
        f"server {{ listen 127.0.0.1:{port}; server_name s.test;"
        f" location / {{ allow {ALLOWED}; deny all; proxy_pass http://127.0.0.1:{back}; }} }} }}\n"
        f"stream {{ server {{ listen 127.0.0.1:{open_to} proxy_protocol; set_real_ip_from 127.0.0.0/8;"
        f" allow {ALLOWED}; deny all; proxy_pass 127.0.0.1:{back}; }} }}"
    )
    site = GuardedSite("nginx.conf", "s.test", ("/",), (), (ip_network(ALLOWED),))
    with running(config, ready=port) as nginx, socket.create_connection(("127.0.0.1", open_to), 10) as client:
        line = f"PROXY TCP4 {ALLOWED} 127.0.0.1 1 2\r\n"
        client.sendall(f"{line}GET / HTTP/1.0\r\n\r\n".encode())
        answer = b""
        while more := client.recv(4096):
            answer += more
        findings = audit(parse_dump(dump(nginx.folder)), [site])
    assert b"SECRET" in answer
    assert [f.location for f in findings if f.kind == "leaks"] == ["(stream)"]
