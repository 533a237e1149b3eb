"""Reading nginx files: CPU seconds for 0.5, 1 and 2 MB of each kind of text.

python -m benchmarks.nginx

The growth from 1 to 2 MB is 2 where time is linear in size. Exit status 1 if 2 MB of any kind take the lexer
2 s or more, or 2 MB of sites the parser.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_network

from wgcluster.inventory.schema import GuardedSite
from wgcluster.nginx.edit.guard import guard
from wgcluster.nginx.syntax.errors import NginxError
from wgcluster.nginx.syntax.lexer import lex
from wgcluster.nginx.syntax.splice import unguard
from wgcluster.nginx.syntax.tree import parse

MEGABYTE = 1_000_000
SITE = """# host {n}
server {{
    listen 80;
    server_name h{n}.example.org www.h{n}.example.org;
    location / {{
        proxy_set_header Host $host;  # as it came
        proxy_pass http://127.0.0.1:{port};
    }}
    location ~ "\\.(css|js){{1}}$" {{ expires 30d; add_header X 'a \\'b\\' ; {{ }}'; }}
}}
"""
# Each a piece that is repeated up to the size, with what stands before and after it; the odd ones have made
# hand-written lexers quadratic.
SHAPES = {
    "sites": ("", "", ""),
    "words": ("x ", "word ", ";"),
    "one-letter lines": ("", "a;\n", ""),
    "comments": ("", "# a comment\n", ""),
    "blocks in blocks": ("", "a{", ""),
    "never closed quote": ("a ", " b", "'"),
    "opening quotes": ("", "a '\n' ", ";"),
    "backslashes": ("a ", "\\\\ ", ";"),
    "dollars and braces": ("a ", "${ ", ";"),
    "long lines of one byte": ("a ", "x" * 4000 + " ", ";"),
    "lua": ("content_by_lua_block {", " x = { '}' } --[[ } ]]\n", "}"),
    "lua, quotes never closed": ("content_by_lua_block {", " ' \n", "}"),
    "lua, long brackets": ("content_by_lua_block {", "[=[ ]] ]=]", "}"),
    "two bytes a letter": ("", "é ö;\n", ""),
}


def text_of(shape: str, size: int) -> str:
    """A text of about ``size`` bytes."""
    if shape == "sites":
        count = size // len(SITE.format(n=1000, port=11000)) + 1
        return "".join(SITE.format(n=n, port=10_000 + n % 50_000) for n in range(count))
    before, piece, after = SHAPES[shape]
    return before + piece * (size // len(piece.encode())) + after


def lexed(text: str) -> None:
    deque(lex(text), maxlen=0)


def seconds(read: Callable[[str], object], text: str) -> float:
    """For one reading, refused or not; the better of two."""
    best = float("inf")
    for _ in range(2):
        began = time.process_time()
        with suppress(NginxError):
            read(text)
        best = min(best, time.process_time() - began)
    return best


def guarding(size: int) -> tuple[float, float]:
    """Seconds for ``guard`` and ``unguard`` of one site in a file of ``size`` bytes."""
    text = text_of("sites", size)
    site = GuardedSite("s", "h7.example.org", (), (), (ip_network("10.0.0.0/24"),), "server")
    began = time.process_time()
    outcome = guard(text, [site])
    between = time.process_time()
    assert unguard(outcome) == text
    return between - began, time.process_time() - between


def main() -> int:
    """Print the table."""
    print(f"{'lexed':26} {'0.5 MB':>7} {'1 MB':>7} {'2 MB':>7} {'growth':>7} {'parsed, 2 MB':>14}")
    slow = False
    for shape in SHAPES:
        texts = [text_of(shape, size) for size in (MEGABYTE // 2, MEGABYTE, 2 * MEGABYTE)]
        half, one, two = (seconds(lexed, text) for text in texts)
        parsed = seconds(parse, texts[-1])
        slow = slow or two >= 2 or (shape == "sites" and parsed >= 2)
        print(f"{shape:26} {half:7.3f} {one:7.3f} {two:7.3f} {two / one:7.1f} {parsed:14.3f}")
    for size in (0.5, 1, 2):
        on, off = guarding(int(size * MEGABYTE))
        print(f"guard a site in {size} MB: {on:.2f} s, take it out again: {off:.2f} s")
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
