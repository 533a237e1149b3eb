"""Directives and blocks with their positions, after ``ngx_conf_parse`` (nginx, src/core/ngx_conf_file.c)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from wgcluster.nginx.syntax.errors import NginxSyntaxError, fault_at, worded
from wgcluster.nginx.syntax.lexer import Token, lex

# Blocks that hold lines of data: any first word, no blocks.
_DATA_BLOCKS = frozenset({"map", "geo", "types", "split_clients", "charset_map", "match"})
ALWAYS_BLOCKS = frozenset(
    {"location", "if", "limit_except", "http", "events", "upstream", *_DATA_BLOCKS} - {"match"}
)
# Directives that nginx refuses as a block ("is not terminated by ;"), as far as we write or judge them.
NEVER_BLOCKS = frozenset(
    {"allow", "deny", "include", "return", "rewrite", "listen", "server_name", "root", "alias", "proxy_pass",
     "error_page", "try_files", "internal", "satisfy", "set", "index", "break", "auth_basic"}
)  # fmt: skip
# Least and most arguments (-1: any number) of the directives that we judge.
ARGUMENTS = {
    "alias": (1, 1), "allow": (1, 1), "auth_basic": (1, 1), "auth_request": (1, 1), "break": (0, 0),
    "deny": (1, 1), "error_page": (2, -1), "include": (1, 1), "internal": (0, 0), "listen": (1, -1),
    "location": (1, 2), "limit_except": (1, -1), "merge_slashes": (1, 1), "mirror": (1, 1),
    "proxy_pass": (1, 1), "real_ip_header": (1, 1), "recursive_error_pages": (1, 1), "return": (1, 2),
    "rewrite": (2, 3), "root": (1, 1), "satisfy": (1, 1), "set": (2, 2), "set_real_ip_from": (1, 1),
    "server_name": (1, -1), "ssl_verify_client": (1, 1), "try_files": (2, -1), "upstream": (1, 1),
}  # fmt: skip

BOM = "\ufeff"
# Directives, beside blocks, that a file other than a map's may begin with.
_BEGINS = frozenset({*ARGUMENTS, "error_log", "load_module", "pid", "user", "worker_processes"})


@dataclass(slots=True, eq=False)
class Directive:
    """``text[start:end]``, from its first word to its ``;`` or ``}``."""

    name: str
    args: tuple[str, ...]
    start: int
    end: int
    opened: int = -1  # just after ``{``; -1: no block
    closed: int = -1  # at the ``}``
    body: tuple[Directive, ...] = ()
    lua: str | None = None  # the body of a *_by_lua_block, verbatim
    file: str = ""

    @property
    def is_block(self) -> bool:
        return self.opened >= 0

    def walk(self) -> Iterator[Directive]:
        """Itself and everything in it, in the order of the text."""
        yield self
        for child in self.body:
            yield from child.walk()

    def shape(self) -> tuple[object, ...]:
        """Its content without positions: equal for texts that nginx reads the same."""
        return (self.name, self.args, self.is_block, self.lua, tuple(child.shape() for child in self.body))


def parse(text: str, file: str = "") -> tuple[Directive, ...]:
    """The directives at the top level of ``text``.

    Raises:
        NginxSyntaxError: with the first fault, where nginx would stop reading.
    """
    bodies: list[list[Directive]] = [[]]
    open_blocks: list[Directive] = []
    words: list[Token] = []
    for token in lex(text, file):
        kind = token.kind
        if kind == "word":
            words.append(token)
        elif kind == ";" or kind == "{":
            if not words:
                raise _refused(text, token, f'unexpected "{kind}"', file)
            directive = Directive(
                words[0].value, tuple(w.value for w in words[1:]), words[0].start, token.end, file=file
            )
            inside = open_blocks[-1].name if open_blocks else ""
            if not directive.start and directive.name.startswith(BOM):
                _check_mark(text, directive, kind, file)
            _check_form(text, directive, words[0], kind, inside, file)
            words = []
            bodies[-1].append(directive)
            if kind == "{":
                directive.opened = token.end
                open_blocks.append(directive)
                bodies.append([])
        elif kind == "}":
            if words or not open_blocks:
                raise _refused(text, token, 'unexpected "}"', file)
            block = open_blocks.pop()
            block.body, block.closed, block.end = tuple(bodies.pop()), token.start, token.end
        elif kind == "lua":
            open_blocks[-1].lua = token.value
    if words:
        raise _refused(text, words[0], 'unexpected end of file, expecting ";" or "}"', file)
    if open_blocks:
        block = open_blocks[-1]
        message = f'unexpected end of file, expecting "}}": "{block.name}" is never closed'
        raise NginxSyntaxError(
            [fault_at(text, block.start, block.opened, "nginx.syntax", message, file=file)]
        )
    return tuple(bodies[0])


def _check_mark(text: str, directive: Directive, kind: str, file: str) -> None:
    """Refuse a byte order mark, which nginx reads as part of the first word; a map's key may have it."""
    name = directive.name.removeprefix(BOM)
    if kind == "{" or name.startswith("#") or name in _BEGINS:
        code = "nginx.byte-order-mark"
        message, remedy = worded(code, name=name)
        fault = fault_at(text, 0, len(directive.name), code, message, file=file, remedy=remedy)
        raise NginxSyntaxError([fault])


def _check_form(text: str, directive: Directive, word: Token, kind: str, inside: str, file: str) -> None:
    """Refuse a block without "{", one in place of ";", and wrong numbers of arguments (ngx_conf_handler)."""
    if inside in _DATA_BLOCKS:
        if kind == "{":
            raise _refused(text, word, f'unexpected "{{" in "{inside}"', file)
    elif kind == ";" and directive.name in ALWAYS_BLOCKS:
        raise _refused(text, word, f'directive "{directive.name}" has no opening "{{"', file)
    elif kind == "{" and directive.name in NEVER_BLOCKS:
        raise _refused(text, word, f'directive "{directive.name}" is not terminated by ";"', file)
    elif directive.name in ARGUMENTS:
        least, most = ARGUMENTS[directive.name]
        if not least <= len(directive.args) <= (len(directive.args) if most < 0 else most):
            raise _refused(text, word, f'invalid number of arguments in "{directive.name}"', file)


def _refused(text: str, token: Token, message: str, file: str) -> NginxSyntaxError:
    return NginxSyntaxError([fault_at(text, token.start, token.end, "nginx.syntax", message, file=file)])
