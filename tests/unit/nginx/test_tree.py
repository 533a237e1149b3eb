"""Blocks and directives, and the marker under what is wrong."""

from __future__ import annotations

import pytest

from wgcluster.nginx.syntax.errors import Fault, NginxSyntaxError, fault_at
from wgcluster.nginx.syntax.tree import parse


def test_a_block_knows_where_it_is() -> None:
    text = "http {\n  server { listen 80; } # x\n}\n"
    (http,) = parse(text, "f")
    (server,) = http.body
    (listen,) = server.body
    assert text[server.start : server.end] == "server { listen 80; }"
    assert text[server.opened : server.closed] == " listen 80; "
    assert text[listen.start : listen.end] == "listen 80;"
    assert (listen.name, listen.args, listen.is_block, listen.file) == ("listen", ("80",), False, "f")
    assert [d.name for d in http.walk()] == ["http", "server", "listen"]


def test_lua_is_kept_as_it_is() -> None:
    (block,) = parse("content_by_lua_block { x = '}' }")
    assert block.lua == " x = '}' "
    assert block.body == ()


REFUSED = [
    ("a {", 'unexpected end of file, expecting "}": "a" is never closed', 1, 1),
    ("a;\n}", 'unexpected "}"', 2, 1),
    ("a { b }", 'unexpected "}"', 1, 7),
    ("a b", 'unexpected end of file, expecting ";" or "}"', 1, 1),
    ("a;;", 'unexpected ";"', 1, 3),
    ("{ }", 'unexpected "{"', 1, 1),
    ("location / ;", 'directive "location" has no opening "{"', 1, 1),
    ("allow { }", 'directive "allow" is not terminated by ";"', 1, 1),
    ("location ~ ^/x{2}$ { }", 'unexpected end of file, expecting "}": "location" is never closed', 1, 1),
    ("map $a $b { c { } }", 'unexpected "{" in "map"', 1, 13),
]


@pytest.mark.parametrize(("text", "message", "line", "column"), REFUSED)
def test_refusals(text: str, message: str, line: int, column: int) -> None:
    with pytest.raises(NginxSyntaxError) as caught:
        parse(text, "f")
    (fault,) = caught.value.faults
    assert (fault.file, fault.line, fault.column, fault.message) == ("f", line, column, message)


def test_deep_nesting_is_no_matter() -> None:
    text = "a {" * 20_000 + "}" * 20_000
    depth, block = 0, parse(text)[0]
    while block.body:
        depth, block = depth + 1, block.body[0]
    assert depth == 19_999


def test_the_marker_stands_under_its_place_and_a_long_line_is_cut() -> None:
    text = "\tserver_name  a.test;\n" + "x" * 300 + "HERE" + "y" * 300
    fault = fault_at(text, 14, 20, "a.b", "no", file="f", remedy="do")
    assert str(fault).split("\n") == [
        "f:1:15: no  [a.b]",
        "    \tserver_name  a.test;",
        "    \t             ~~~~~^",
        "    remedy: do",
    ]
    at = text.index("HERE")
    shown, marker = fault_at(text, at, at + 4, "a.b", "no").source.split("\n")
    assert len(shown) < 200
    assert shown[marker.index("~") :].startswith("HERE")
    assert marker.endswith("~~~^")


def test_bytes_that_are_no_utf8_and_control_characters_can_be_printed() -> None:
    text = b"caf\xe9 \x1b[31m {".decode("utf-8", "surrogateescape")
    with pytest.raises(NginxSyntaxError) as caught:
        parse(text, "f")
    said = str(caught.value)
    assert said.encode()
    assert "\x1b" not in said
    assert "caf\N{REPLACEMENT CHARACTER} " in said


def test_a_fault_without_a_place() -> None:
    fault = Fault("f", 0, 0, "a.b", "not there", remedy="make it")
    assert str(fault) == "f: not there  [a.b]\n    remedy: make it"


@pytest.mark.parametrize(
    "text", ["server { listen 80; }", "# a comment\nserver {\n}", "include x;", "user x;"]
)
def test_a_byte_order_mark_is_named(text: str) -> None:
    with pytest.raises(NginxSyntaxError) as caught:
        parse(f"\ufeff{text}", "/s")
    (fault,) = caught.value.faults
    assert (fault.line, fault.column) == (1, 1)
    assert fault.code == "nginx.byte-order-mark"


def test_a_list_that_a_map_includes_may_begin_with_one() -> None:
    assert parse("\ufeffkey value;")
