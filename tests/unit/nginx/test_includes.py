"""``nginx -T`` taken apart, and includes put in place as glob(3) finds them."""

from __future__ import annotations

import pytest

from wgcluster.nginx.syntax.errors import NginxSyntaxError
from wgcluster.nginx.syntax.includes import effective, parse_dump

DUMP = """nginx: the configuration file /etc/nginx/nginx.conf syntax is ok
# configuration file /etc/nginx/nginx.conf:
http { include conf.d/*.conf; }
# configuration file /etc/nginx/conf.d/a.conf:
a;
b;

# configuration file /etc/nginx/conf.d/with space.conf:
c;
"""


def test_a_dump_is_files_and_the_main_one_first() -> None:
    assert parse_dump(DUMP) == {
        "/etc/nginx/nginx.conf": "http { include conf.d/*.conf; }",
        "/etc/nginx/conf.d/a.conf": "a;\nb;\n",
        "/etc/nginx/conf.d/with space.conf": "c;",
    }
    assert parse_dump("nginx: [emerg] no\n") == {}


def test_includes_are_put_in_place() -> None:
    (http,) = effective(parse_dump(DUMP))
    assert [(d.name, d.file) for d in http.body] == [
        ("a", "/etc/nginx/conf.d/a.conf"),
        ("b", "/etc/nginx/conf.d/a.conf"),
        ("c", "/etc/nginx/conf.d/with space.conf"),
    ]


GLOBS = [
    ("*.conf", ["a.conf", "b.conf"]),
    ("?.conf", ["a.conf", "b.conf"]),
    ("[a-c].conf", ["a.conf", "b.conf"]),
    ("[!a].conf", ["b.conf"]),
    ("[^a].conf", ["b.conf"]),
    (".*.conf", [".hidden.conf"]),
    ("*/c.conf", ["sub/c.conf"]),
    ("./a.conf", ["a.conf"]),
    ("\\a.con*", ["a.conf"]),
    ("../n/b.conf", ["b.conf"]),
    ("none*", []),
]


@pytest.mark.parametrize(("pattern", "found"), GLOBS)
def test_patterns(pattern: str, found: list[str]) -> None:
    files = {"/n/nginx.conf": f"events {{}}\ninclude {pattern};"}
    files |= {f"/n/{name}": "x;" for name in ("b.conf", "a.conf", ".hidden.conf", "sub/c.conf", "a.txt")}
    names = [d.file.removeprefix("/n/") for d in effective(files) if d.name == "x"]
    left_out = [n.removeprefix("/n/") for n in files if n != "/n/nginx.conf"]
    # What nobody includes counts as a file at hand, after the main one.
    assert names[: len(found)] == found
    assert sorted(names) == sorted(left_out)


def test_an_include_of_what_is_not_there_stays() -> None:
    (server,) = effective({"s.conf": "server { include snippets/x.conf; listen 80; }"})
    assert [d.name for d in server.body] == ["include", "listen"]


def test_a_file_that_includes_itself_ends() -> None:
    tree = effective({"/m": "events {} include /a;", "/a": "x; include /a;"})
    assert [d.name for d in tree] == ["events", "x"]


def test_a_fault_names_its_file() -> None:
    with pytest.raises(NginxSyntaxError, match=r"^/a:1:1: unexpected"):
        effective({"/m": "events {} include /a;", "/a": "x}"})
