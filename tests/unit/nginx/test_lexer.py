"""nginx's words: one line for each rule of its tokenizer, and each refusal with its place."""

from __future__ import annotations

import pytest

from wgcluster.nginx.syntax.errors import NginxSyntaxError
from wgcluster.nginx.syntax.lexer import lex

WORDS = [
    ("a b;", ["a", "b", ";"]),
    ("a\tb\r\n c ;", ["a", "b", "c", ";"]),
    ("a 'b c' \"d;{}\";", ["a", "b c", "d;{}", ";"]),
    (r"a 'it\'s' \"x\" b\ c;", ["a", "it's", '"x"', r"b\ c", ";"]),
    (r"a b\;c \{ \\;", ["a", r"b\;c", r"\{", "\\", ";"]),
    (r"a 'x\ty\nz\q';", ["a", "x\ty\nz\\q", ";"]),
    ("a ${b}c$d ${;", ["a", "${b}c$d", "${", ";"]),
    ("a ${{x;", ["a", "${{x", ";"]),
    ("a b}c d#e f'g h\"i;", ["a", "b}c", "d#e", "f'g", 'h"i', ";"]),
    ("a{b;}", ["a", "{", "b", ";", "}"]),
    ("a '' \"\";", ["a", "", "", ";"]),
    ("if ('x')y {", ["if", "('x')y", "{"]),
    ("if ( 'x')y {", ["if", "(", "x", ")y", "{"]),
    ("# c { ; }\na;# d", ["# c { ; }", "a", ";", "# d"]),
    ("é ñ\udcff;", ["é", "ñ\udcff", ";"]),
    ("a 'b\nc';", ["a", "b\nc", ";"]),
    ("", []),
]


@pytest.mark.parametrize(("text", "values"), WORDS)
def test_words(text: str, values: list[str]) -> None:
    assert [token.value for token in lex(text)] == values


def test_spans_are_the_places_in_the_text() -> None:
    text = "location 'a b' {\r\n\t# c\r\n}"
    assert [(t.kind, text[t.start : t.end]) for t in lex(text)] == [
        ("word", "location"),
        ("word", "'a b'"),
        ("{", "{"),
        ("comment", "# c\r"),
        ("}", "}"),
    ]


REFUSED = [
    (
        "a 'b",
        "nginx configuration:1:3: unexpected end of file: this quote is never closed\n    a 'b\n      ^",
    ),
    ("a 'b'c;", "nginx configuration:1:6: unexpected \"c\" after a quoted word\n    a 'b'c;\n         ^"),
    (
        'x;\n\ta "b"}',
        'nginx configuration:2:7: unexpected "}" after a quoted word\n    \ta "b"}\n    \t     ^',
    ),
    ("a\\", 'nginx configuration:1:2: unexpected end of file, expecting ";" or "}"\n    a\\\n     ^'),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_refusals_say_where(text: str, message: str) -> None:
    with pytest.raises(NginxSyntaxError) as caught:
        list(lex(text))
    assert [fault.text for fault in caught.value.faults] == [message]


@pytest.mark.parametrize(
    ("length", "tail", "accepted"),
    [(4095, ";", True), (4096, ";", False), (4094, " ;", True), (4095, " ;", False), (4096, "", True)],
)
@pytest.mark.parametrize("fill", ["x", "é"])
def test_a_word_fits_nginxs_buffer_in_bytes(length: int, tail: str, accepted: bool, fill: str) -> None:
    word = fill * (length // len(fill.encode())) + "x" * (length % len(fill.encode()))
    text = f"{word}{tail}"
    if accepted:
        assert next(lex(text)).value == word
    else:
        with pytest.raises(NginxSyntaxError, match="4096 bytes"):
            list(lex(text))


LUA = [
    "ngx.say('}')",
    'x = "{" -- }\n',
    "--[[ } ]] x = {}",
    "--[==[ ]] } ]==] y = { { } }",
    "[[ } ]]",
    "[=[ ]] } ]=]",
    "s = '\\'}'",
    "'\\\n\"[[\"'{'if x then",  # a backslash does not carry a string over its line
    "",
]


@pytest.mark.parametrize("body", LUA)
def test_a_lua_body_is_one_token(body: str) -> None:
    text = f"content_by_lua_block {{{body}}} a;"
    assert [(t.kind, t.value) for t in lex(text)] == [
        ("word", "content_by_lua_block"),
        ("{", "{"),
        ("lua", body),
        ("}", "}"),
        ("word", "a"),
        (";", ";"),
    ]


def test_a_lua_body_that_never_ends() -> None:
    with pytest.raises(NginxSyntaxError, match=r"f:1:22: .* this lua block is never closed"):
        list(lex("content_by_lua_block { x = '}'", "f"))
    with pytest.raises(NginxSyntaxError, match="this long bracket is never closed"):
        list(lex("content_by_lua_block { x = [[ }", "f"))
