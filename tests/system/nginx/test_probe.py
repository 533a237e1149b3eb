"""The probes against a real nginx: what they say a stranger must get is what a stranger gets."""

from __future__ import annotations

import random
from ipaddress import ip_address

import pytest

from tests.support.nginx import worlds
from tests.support.nginx.real import NGINX, Answer, free_ports, http_paths, running
from wgcluster.nginx.audit.audit import audit
from wgcluster.nginx.audit.judge import ServerJudge
from wgcluster.nginx.config.context import Context
from wgcluster.nginx.config.listen import tidy
from wgcluster.nginx.config.locations import resolve
from wgcluster.nginx.probe.probe import Answer as Got
from wgcluster.nginx.probe.probe import denied_client_fault, probes
from wgcluster.nginx.syntax.includes import parse_dump
from wgcluster.nginx.syntax.tree import parse

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


def got(answer: Answer) -> Got:
    return Got(0 if answer.status == 444 else answer.status, len(answer.body))


@pytest.mark.parametrize("start", [5000, 5300])
def test_strangers_get_what_the_probes_say(start: int) -> None:
    (port,) = free_ports(1)
    servers = [worlds.Maker(random.Random(n), n, port).server() for n in range(start, start + 300)]
    sites = [s.site for s in servers if s.site]
    texts = {s.host: s.text for s in servers}
    wrong, asked = [], 0
    with running(worlds.world(servers), ready=port, prepare=worlds.prepare) as nginx:
        files = parse_dump(worlds.dump(nginx.folder))
        kinds = {(f.server, f.location): f.kind for f in audit(files, sites)}
        found, unprobed = probes(files, sites, [ip_address("127.0.0.1")])
        for probe in found:
            if kinds[probe.host, probe.location] == "leaks":
                continue  # "denied" is what ought to be
            asked += 1
            answer = nginx.ask(port, probe.host, probe.path, headers=probe.headers)
            if why := denied_client_fault(probe, got(answer)):
                wrong.append(f"{why}\n{texts[probe.host]}")
    assert not wrong, "\n\n".join(wrong[:3])
    assert asked > 3000
    # The rest stands behind an error_page, a try_files or a rewrite that decides what comes.
    assert len(unprobed) < 0.25 * len(found)
    assert not [u for u in unprobed if "found no path" in u.reason]


PATTERNS = ["/", "/a", "/a/", "/a/b", "/a/b/", "/ab", "/A", "/a.php", "/é", "/a b"]
REGEXES = [r"\.php$", "^/a", "b", "^/a/b/?$", "^/(?<n>a|ab)/", "(?i)^/A$", r"^/\.", "é", "/a{2}", "^/.+/$"]


def routes(r: random.Random, depth: int, within: str, serial: list[int]) -> str:
    """Random locations, each of which answers with its number; nested ones inside their prefix."""
    seen: set[str] = set()
    blocks = []
    for _ in range(r.randint(1, 6)):
        modifier = r.choice(["", "", "^~", "=", "~", "~*"])
        pattern = r.choice(REGEXES if "~" in modifier[-1:] and modifier != "^~" else PATTERNS)
        if modifier in ("", "^~", "=") and not pattern.startswith(within):
            continue
        key = ("" if modifier == "^~" else modifier) + pattern
        if key in seen:
            continue
        seen.add(key)
        nested = ""
        if depth and modifier in ("", "^~") and r.random() < 0.6:
            nested = routes(r, depth - 1, pattern, serial)
        serial[0] += 1
        blocks.append(f'location {modifier} "{pattern}" {{ return 200 n{serial[0]}; {nested} }}\n')
    return "".join(blocks)


def paths(r: random.Random) -> str:
    parts = [
        "a",
        "b",
        "ab",
        "A",
        ".",
        "..",
        "",
        "a.php",
        "%61",
        "%2e",
        "%2E%2e",
        "a%2fb",
        "%C3%A9",
        "a%20b",
        "?x",
    ]
    return "/" + r.choice(["/", "//", "/./"]).join(r.choice(parts) for _ in range(r.randint(1, 4)))


def test_a_path_is_routed_as_nginx_routes_it() -> None:
    merging, keeping = free_ports(2)
    texts = []
    for n in range(400):
        # The default server of a port says for all others whether slashes are merged.
        listen = f"listen 127.0.0.1:{[merging, keeping][n % 2]}; {['', 'merge_slashes off;'][n % 2]}"
        inside = routes(random.Random(n), 2, "", [0])
        texts.append(f"server {{ {listen} server_name s{n}.test;\n{inside}}}\n")
    ends: set[str] = set()
    with running(f"http {{\n{http_paths()}\n{''.join(texts)}}}\n", ready=merging) as nginx:
        for n, text in enumerate(texts):
            (server,) = parse(text)
            judge = ServerJudge(server, Context(), ())
            r = random.Random(n)
            for path in [paths(r) for _ in range(25)]:
                answer = nginx.ask([merging, keeping][n % 2], f"s{n}.test", path)
                if answer.status == 400:  # it climbs out above "/"
                    continue
                uri = tidy(path, merges_slashes=judge.context.splits_slashes is None)
                place = resolve(judge.outer, uri)
                ours = place.directive.body[0].args[1] if place else ""
                theirs = answer.body if answer.status == 200 else ""
                assert ours == theirs, f"{path} ({uri}): nginx {answer}, ours {ours!r}\n{text}"
                ends.add(place.key.modifier if place and place.key else "none")
    assert ends == {"", "^~", "=", "~", "~*", "none"}
