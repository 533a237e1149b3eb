"""The tokens of a configuration, with their positions.

The rules are those of ``ngx_conf_read_token`` (nginx, src/core/ngx_conf_file.c) and, for the bodies of
``*_by_lua_block``, of lua-nginx-module's ngx_http_lua_directive.c. nginx has a state machine over bytes;
one regex per token does the same in linear time. The traps:

- a word ends at a blank, ``;`` or ``{``; so ``}``, ``#`` and quotes inside a word are part of it;
- ``{`` straight after ``$`` belongs to the word (``${name}``), any number of them;
- a backslash escapes any next character; only ``\\" \\' \\\\ \\t \\r \\n`` are undone;
- after a quoted word comes a blank, ``;``, ``{``, or ``)``, which begins a new word;
- a token (a comment, too) that does not end within 4,096 bytes is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from wgcluster.nginx.syntax.errors import NginxSyntaxError, fault_at

_BUFFER = 4096  # NGX_CONF_BUFFER
_BLANKS = " \t\r\n"

# Possessive throughout, so that a failed match is not tried in other ways.
_TOKEN = re.compile(
    r"""
      (?P<blank>[ \t\r\n]++)
    | (?P<comment>\#[^\n]*+)
    | (?P<double>"(?:[^"\\$]++|\\.|\$\{*+)*+)
    | (?P<single>'(?:[^'\\$]++|\\.|\$\{*+)*+)
    | (?P<mark>[;{}])
    | (?P<word>(?:[^ \t\r\n;{\\$]++|\\.|\$\{*+)++)
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\([\"'\\trn])")
_UNESCAPED = {"t": "\t", "r": "\r", "n": "\n"}
_LUA = re.compile(
    r"""--\[(?P<comment>=*)\[ | --[^\n]*+ | \[(?P<string>=*)\[ | (?P<quote>["']) | (?P<brace>[{}])""",
    re.VERBOSE,
)
# A quoted string of Lua ends on its line, even after a backslash; where it does not, nginx's lua lexer
# ignores the quote.
_LUA_QUOTED = {q: re.compile(rf"(?:[^{q}\\\n]++|\\[^\n])*+") for q in "\"'"}

Kind = Literal["word", "comment", ";", "{", "}", "lua"]


class Token(NamedTuple):
    """``text[start:end]``; ``value`` is without its quotes and escapes."""

    kind: Kind
    value: str
    start: int
    end: int


def unescape(raw: str) -> str:
    """The characters of a word without its escapes, as nginx stores them."""
    return _ESCAPE.sub(lambda m: _UNESCAPED.get(m[1], m[1]), raw) if "\\" in raw else raw


def lex(text: str, file: str = "") -> Iterator[Token]:
    """Each token of ``text``; the body of a lua block is one token of kind "lua".

    Raises:
        NginxSyntaxError: nginx's tokenizer would refuse the text. The parser checks blocks and ends.
    """
    offset, size, first_word, starts_directive = 0, len(text), "", True
    match = _TOKEN.match
    while offset < size:
        found = match(text, offset)
        if found is None:  # only a backslash as the very last character
            raise _unexpected_end(text, offset, file)
        kind, start, offset = found.lastgroup, offset, found.end()
        if kind == "blank":
            continue
        if kind == "word":
            raw = text[start:offset]
            if offset - start >= _BUFFER // 4 - 2:
                follows = text[offset : offset + 1]
                _check_length(text, start, offset, 1 if follows in _BLANKS else 0, file)
            value = unescape(raw)
            if starts_directive:
                first_word, starts_directive = value, False
            yield Token("word", value, start, offset)
        elif kind == "mark":
            mark = text[start]
            yield Token(mark, mark, start, offset)  # type: ignore[arg-type]  # one of ; { }
            starts_directive = True
            if mark == "{" and first_word.endswith("_by_lua_block"):
                body_end = _lua_end(text, offset, file)
                yield Token("lua", text[offset:body_end], offset, body_end)
                offset = body_end
            first_word = ""
        elif kind == "comment":
            if offset - start >= _BUFFER // 4 - 2:
                _check_length(text, start, offset, 0, file)
            yield Token("comment", text[start:offset], start, offset)
        else:
            if offset == size or text[offset] == "\\":
                raise _unterminated(text, start, file)
            offset += 1  # the closing quote
            follows = text[offset : offset + 1]
            if follows and follows not in " \t\r\n;{)":
                raise _error(text, offset, offset + 1, f'unexpected "{follows}" after a quoted word', file)
            if offset - start >= _BUFFER // 4 - 2:
                _check_length(text, start + 1, offset - 1, 2 if follows in _BLANKS else 1, file)
            value = unescape(text[start + 1 : offset - 1])
            if starts_directive:
                first_word, starts_directive = value, False
            yield Token("word", value, start, offset)


def _check_length(text: str, start: int, end: int, beyond: int, file: str) -> None:
    """Refuse what nginx's buffer cannot hold: it reads ``beyond`` bytes after ``end`` first."""
    length = len(text[start:end].encode("utf-8", "surrogateescape")) + beyond
    if length >= _BUFFER and end < len(text):
        raise _error(
            text, start, end, f"too long: nginx takes at most {_BUFFER} bytes in one word or comment", file
        )


def _unterminated(text: str, start: int, file: str) -> NginxSyntaxError:
    length = len(text[start + 1 :].encode("utf-8", "surrogateescape"))
    what = "too long parameter" if length > _BUFFER else "unexpected end of file"
    return _error(text, start, start + 1, f"{what}: this quote is never closed", file)


def _unexpected_end(text: str, offset: int, file: str) -> NginxSyntaxError:
    return _error(text, offset, offset + 1, 'unexpected end of file, expecting ";" or "}"', file)


def _lua_end(text: str, offset: int, file: str) -> int:
    """The offset of the ``}`` that closes the lua block whose body begins at ``offset``."""
    depth, at = 1, offset
    unclosed = {'"': -1, "'": -1}
    while found := _LUA.search(text, at):
        at = found.end()
        equals = found["comment"] if found["comment"] is not None else found["string"]
        if equals is not None:
            close = text.find(f"]{equals}]", at)
            if close < 0:
                raise _error(
                    text, found.start(), at, "unexpected end of file: this long bracket is never closed", file
                )
            at = close + len(equals) + 2
        elif quote := found["quote"]:
            if at > unclosed[quote]:
                end = _LUA_QUOTED[quote].match(text, at).end()  # type: ignore[union-attr]  # matches anything
                if text.startswith(quote, end):
                    at = end + 1
                else:  # no later quote up to there begins a string: no need to look again
                    unclosed[quote] = end
        elif found["brace"]:
            depth += 1 if found["brace"] == "{" else -1
            if depth == 0:
                return found.start()
    raise _error(text, offset - 1, offset, "unexpected end of file: this lua block is never closed", file)


def _error(text: str, start: int, end: int, message: str, file: str) -> NginxSyntaxError:
    return NginxSyntaxError([fault_at(text, start, end, "nginx.syntax", message, file=file)])
