"""Random nginx texts, and the question whether our reading of one agrees with nginx's."""

from __future__ import annotations

import random
from pathlib import Path

from tests.support.nginx.real import Opinion, opinion
from wgcluster.nginx.syntax.errors import Fault, NginxSyntaxError
from wgcluster.nginx.syntax.tree import ALWAYS_BLOCKS, NEVER_BLOCKS, parse

# Whatever has tripped a parser once: quotes, escapes, "{" after "$", comments, line ends, block ends.
SOUP = [
    *(" ", " ", "\n", "\t", "\r\n", ";", "{", "}", '"', "'", "\\", "$", "${", "#", "# c\n", ")", "("),
    *("a", "b c", "gzip_types x", "\ngzip_types ", "\nserver {", "\nlocation /a {", "location", "\n}"),
    *("'x'", '"y z"', '\\"', "\\;", "${v}", "$$", "${{", "~*", "é", "map $uri $z {", "types {", "x y;"),
    *("return", "x\\", "=", "[", "]", "if", "\x00", "\x0b", "\udcff", "\ufeff", "\\\n", "\\t", "\\n"),
]
# What a word may be made of; most of it is fine, so that whole files are accepted, too.
WORD = [
    *("a", "b", "-", "/", "$", "${x}", "${", "$$", "}", "#", '"', "'", "\\\\", '\\"', "\\'", "\\;", "\\{"),
    *("\\ ", "\\n", ")", "(", "~", "=", "é", "\\\n", "$\\{", "|", "^", "\\d", "{2}", "x{"),
]
INSIDE = [*WORD, " ", "\n", ";", "{", "}", "#", "\r\n", "${{{", "\\"]
LUA = [
    *("{", "}", "{}", "[[", "]]", "[=[", "]=]", "--", "--[[", "--[==[", "]==]", '"', "'", "\\", "\n", " "),
    *(
        "x = 1",
        '"}"',
        "'{'",
        "-- }\n",
        "[[ } ]]",
        "--[[ { ]]",
        "]]",
        "a[b[1]]",
        "if x then",
        "end",
        "ngx.say('{')",
    ),
]


def _word(r: random.Random) -> str:
    kind = r.random()
    if kind < 0.4:
        return "".join(r.choice(WORD) for _ in range(r.randint(1, 6)))
    quote = r.choice("\"'")
    inside = "".join(r.choice(INSIDE) for _ in range(r.randint(0, 6))).replace(quote, "")
    return f"{quote}{inside}{quote}"


def _words(r: random.Random) -> str:
    gap = r.choice([" ", "\n", "\t", "  ", " # c } ; \n", "\r\n "])
    return gap.join(_word(r) for _ in range(r.randint(1, 4)))


def _long(r: random.Random) -> str:
    """Tokens about as long as nginx's buffer."""
    size = r.choice([4080, 4094, 4095, 4096, 4097, 8200]) + r.randint(-2, 2)
    fill = r.choice(["x", "é"])
    body = (fill * size)[: size if fill == "x" else size // 2]
    return r.choice([f" {body}", f' "{body}"', f"'{body}' ", f" # {body}\n", f" # {body}"])


def text(r: random.Random, *, lua: bool = False) -> str:
    """A whole configuration, about half of them good."""
    kind = r.random()
    if lua:
        soup = "".join(r.choice(LUA) for _ in range(r.randint(0, 12)))
        tail = r.choice(["", "", "}", " # }", '\ngzip_types "a}";', ";"])
        block = f"content_by_lua_block {{{soup}}}"
        return f"events {{}}\nhttp {{\nserver {{ location / {{ {block} }}\n{tail} }}\n}}\n"
    lead = "events {}\nhttp {\ngzip_types a "
    soup = "".join(r.choice(SOUP) for _ in range(r.randint(1, 25)))
    if kind < 0.25:
        return f"{lead}{soup};\n}}\n"
    if kind < 0.35:
        return f"{lead};\nserver {{\nlocation /{soup}{{}}\n}}\n}}\n"
    if kind < 0.45:
        return f"{lead}{_long(r)}{r.choice(['', ' '])};\n}}{r.choice(['', chr(10), '# end'])}"
    lines = "".join(
        f"gzip_types {_words(r)}{r.choice(['', ' ', chr(10)])};\n" for _ in range(r.randint(1, 4))
    )
    end = r.choice(["}\n", "}", "} # end", "}" + soup if r.random() < 0.3 else "}\r\n"])
    return f"{lead};\n{lines}{end}"


def ours(source: str) -> Fault | None:
    """What our parser has against ``source``."""
    try:
        parse(source)
    except NginxSyntaxError as error:
        return error.faults[0]
    return None


def agree(source: str, says: Opinion, fault: Fault | None) -> bool:
    """Do the two agree?

    Where nginx stops earlier, at what a directive means to it (unknown, a wrong argument, a block where it
    knows of none), it has not read on; ours must not have stopped before that line.
    """
    meaning = says.says == "dislikes"
    forms = ("has no opening", "is not terminated", "invalid number of arguments")
    form = fault is not None and any(words in fault.message for words in forms)
    if meaning and form:
        return True  # two complaints about one directive; nginx counts its line from where it ends
    if "is not terminated by" in says.message or "has no opening" in says.message:
        name = says.message.split('directive "', 1)[-1].split('"', 1)[0]
        meaning = name not in NEVER_BLOCKS | ALWAYS_BLOCKS
    if meaning:
        at_end = fault is not None and (
            "unexpected end of file" in fault.message or "too long" in fault.message
        )
        return fault is None or at_end or fault.line >= says.line
    return (says.says == "accepts") == (fault is None)


def disagreements(seeds: range, folder: Path, lua: bool = False) -> tuple[dict[str, int], list[str]]:
    """How often nginx said what for the texts of ``seeds``; and each text on which we differ."""
    counts = {"accepts": 0, "refuses": 0, "dislikes": 0}
    wrong = []
    for seed in seeds:
        source = text(random.Random(seed), lua=lua)
        says = opinion(source, folder, lua=lua)
        fault = ours(source)
        counts[says.says] += 1
        if not agree(source, says, fault):
            wrong.append(f"seed {seed}: {source[:300]!r}\nnginx: {says}\nours: {fault}")
    return counts, wrong
