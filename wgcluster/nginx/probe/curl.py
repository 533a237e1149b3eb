"""Probes as a curl configuration (``curl -K -``), and the reading of curl's output."""

from __future__ import annotations

import re
from collections.abc import Iterable

from wgcluster.nginx.probe.probe import Answer, Probe

SECONDS = 10  # for one request
_LINE = re.compile(r"^wgcluster ([0-9]{3}) ([0-9]{1,15})$", re.MULTILINE)


def curl_config(probes: Iterable[Probe]) -> str:
    """The configuration by which curl sends all probes, one after the other; empty if there are none.

    Certificates are not verified: the probes ask who is let in.
    """
    return "\nnext\n".join(_request(probe) for probe in probes)


def _request(probe: Probe) -> str:
    scheme = "https" if probe.tls else "http"
    address = f"[{probe.address}]" if ":" in probe.address else probe.address
    lines = [
        f"url = {_quoted(f'{scheme}://{probe.host}:{probe.port}{probe.path}')}",
        f"connect-to = {_quoted(f'::{address}:{probe.port}')}",
        f"header = {_quoted(f'Host: {probe.host}')}",
        *(f"header = {_quoted(header)}" for header in probe.headers),
        "user-agent = wgcluster",
        "path-as-is\ngloboff\nhttp1.1\ninsecure\nsilent",
        'noproxy = "*"',
        "output = /dev/null",
        r'write-out = "wgcluster %{http_code} %{size_download}\n"',
        f"max-time = {SECONDS}",
    ]
    if probe.proxy_protocol:
        lines.append("haproxy-protocol")
    return "\n".join(lines) + "\n"


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def answers(output: str) -> list[Answer]:
    """One answer for each probe, in their order."""
    return [Answer(int(found[1]), int(found[2])) for found in _LINE.finditer(output)]
