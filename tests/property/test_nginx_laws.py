"""Laws of the splicer, over texts that nginx would take, however they are laid out."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import examples
from wgcluster.inventory.schema import GuardedSite
from wgcluster.nginx.audit.targets import Folders
from wgcluster.nginx.config.access import admits
from wgcluster.nginx.config.find import locations, servers
from wgcluster.nginx.edit.guard import guard
from wgcluster.nginx.syntax.errors import NginxError, NginxSyntaxError, position
from wgcluster.nginx.syntax.lexer import lex
from wgcluster.nginx.syntax.splice import Edit, Shift, apply, first_inside, unguard
from wgcluster.nginx.syntax.tree import Directive, parse

NETWORKS = (ip_network("10.0.0.0/24"), ip_network("fd00::/64"))
gap = st.sampled_from(
    [" ", "  ", "\t", "\n", "\r\n", "\n\n    ", " # {; \n", "\r\n\t# }\r\n", "\n# wgcluster\n"]
)
maybe_gap = st.sampled_from(["", "", " ", "\n", "\r\n    ", "\t", " # }\n", "# x;\r\n"])
word = st.sampled_from(
    ["a", "b-c", "'x y'", '"{;}"', "${v}", "$u", "\\;", "a#b", "a}b", "é", '"#"', "~*", "'\\''"]
)


@st.composite
def simple(draw: st.DrawFn) -> str:
    name = draw(
        st.sampled_from(["proxy_set_header", "expires", "add_header", "gzip", "x", "index", "allow_x"])
    )
    words = draw(st.lists(word, min_size=1, max_size=3))
    gaps = [draw(gap) for _ in words]
    return (
        name
        + "".join(g + w for g, w in zip(gaps, words, strict=True))
        + draw(st.sampled_from(["", " ", "\r\n"]))
        + ";"
    )


@st.composite
def block(draw: st.DrawFn, depth: int = 2) -> str:
    head = draw(
        st.sampled_from(
            ["location /", "location ^~ /x", "location = /y", "server", "http", "location ~ \\.p"]
        )
    )
    items = draw(st.lists(st.one_of(simple(), block(depth - 1)) if depth else simple(), max_size=3))
    inside = "".join(draw(maybe_gap) + item for item in items)
    return head + draw(st.sampled_from(["", " ", "\n", " # x\n"])) + "{" + inside + draw(maybe_gap) + "}"


texts = st.lists(st.one_of(block(), simple()), max_size=4).flatmap(
    lambda items: st.lists(maybe_gap, min_size=len(items) + 1, max_size=len(items) + 1).map(
        lambda gaps: gaps[0] + "".join(i + g for i, g in zip(items, gaps[1:], strict=True))
    )
)


def _blocks(tree: tuple[Directive, ...]) -> list[Directive]:
    return [d for top in tree for d in top.walk() if d.is_block]


def _without_ours(shape: tuple[object, ...]) -> tuple[object, ...]:
    name, args, is_block, lua, body = shape
    assert isinstance(body, tuple)
    kept = tuple(_without_ours(s) for s in body if s[:2] != ("include", ("/ours.conf",)))
    return (name, args, is_block, lua, kept)


@given(texts, st.data())
@examples(400)
def test_spliced_is_the_same_tree_plus_ours_and_comes_out_to_the_byte(text: str, data: st.DataObject) -> None:
    tree = parse(text)
    blocks = _blocks(tree)
    chosen = [b for b in blocks if data.draw(st.booleans())]
    spliced = apply(text, [first_inside(text, b, ["include /ours.conf;", "allow all;"]) for b in chosen])
    again = parse(spliced)
    shapes = [b.shape() for b in _blocks(again) if b.body and b.body[0].args == ("/ours.conf",)]
    assert len(shapes) == len(chosen)
    assert all(
        b.body[1].args == ("all",) for b in _blocks(again) if b.body and b.body[0].args == ("/ours.conf",)
    )
    assert unguard(spliced) == text
    only = apply(text, [first_inside(text, b, ["include /ours.conf;"]) for b in chosen])
    assert [_without_ours(d.shape()) for d in parse(only)] == [d.shape() for d in tree]


@st.composite
def sites(draw: st.DrawFn) -> str:
    """A file with a site in it, in any layout; what is in its locations is harmless."""
    parts = []
    for port in draw(st.sampled_from([["80"], ["80", "443"], ["[::]:80"]])):
        inner = ["listen " + port + ";", "server_name" + draw(gap) + "a.test b.test;"]
        inner.append(
            "location" + draw(gap) + "/ {" + draw(maybe_gap) + "proxy_pass http://b;" + draw(maybe_gap) + "}"
        )
        if draw(st.booleans()):
            inner.append(
                "location /.well-known/acme-challenge/ {"
                + draw(maybe_gap)
                + "root /w;"
                + draw(maybe_gap)
                + "}"
            )
        inner += draw(st.lists(st.sampled_from(["gzip on;", "client_max_body_size 0;"]), max_size=2))
        order = draw(st.permutations(inner))
        parts.append(
            "server {" + "".join(draw(maybe_gap) + i for i in order) + draw(maybe_gap) + "}" + draw(maybe_gap)
        )
    return draw(maybe_gap) + "".join(parts)


@given(sites(), st.sampled_from(["location", "server"]), st.sampled_from([None, "/w", "/my acme"]))
@examples(300)
def test_guarded_twice_is_guarded_once_and_undone_to_the_byte(
    text: str, scope: str, root: str | None
) -> None:
    public = ("/.well-known/acme-challenge/",) if root else ()
    kind = "server" if scope == "server" else "location"
    site = GuardedSite("f", "a.test", ("/",), public, NETWORKS, kind, root)  # type: ignore[arg-type]
    if not root and "acme" in text:
        site = GuardedSite("f", "a.test", ("/", "/.well-known/acme-challenge/"), (), NETWORKS, kind)  # type: ignore[arg-type]
        try:
            guarded = guard(text, [site])
        except NginxError:  # a location that only one of the two servers has
            return
    else:
        guarded = guard(text, [site])
    assert guard(guarded, [site]) == guarded
    assert unguard(guarded) == text
    other = GuardedSite("f", "b.test", ("/",), public, NETWORKS[:1], "server", root)
    assert unguard(guard(guarded, [other])) == text
    for server in servers(parse(guarded)):
        first = {str(key): block.body[0].name for key, block in locations(server)}
        assert kind == "server" or first["/"] == "include"


@given(st.text(alphabet=" \t\r\n;{}#\"'\\$abc()=~é", max_size=80))
@examples(1500)
def test_any_text_is_read_or_refused_and_never_crashes(text: str) -> None:
    fault = None
    try:
        tokens = list(lex(text))
        assert all(token.start < token.end or token.kind == "lua" for token in tokens)
        assert all(text[t.start : t.end] == t.value for t in tokens if t.kind in (";", "{", "}", "comment"))
        parse(text)
    except NginxSyntaxError as error:
        fault = error.faults[0]
    if fault is not None:
        assert 1 <= fault.line <= text.count("\n") + 1
        assert fault.source.endswith("^")


@given(st.text("a\n\r", max_size=40), st.data())
def test_a_position_counts_the_line_ends_before_it(text: str, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, len(text)))
    line, column = position(text, offset)
    assert line == text[:offset].count("\n") + 1
    assert column == offset - (text[:offset].rfind("\n") + 1) + 1


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.text("xy", max_size=3)), max_size=6))
def test_a_shift_leads_back_to_the_same_character(parts: list[tuple[int, int, str]]) -> None:
    text, edits = "", []
    for kept, dropped, new in parts:
        text += "".join(chr(0x100 + len(text) + i) for i in range(kept + dropped))
        edits.append(Edit(len(text) - dropped, len(text), new))
    text += "end"
    edited = apply(text, edits)
    shift = Shift(edits)
    for offset, letter in enumerate(edited):
        assert letter in "xy" or text[shift.back(offset)] == letter


FOLDER = st.lists(st.sampled_from(["a", "b", "$x", "$host"]), min_size=1, max_size=4).map(
    lambda names: "/" + "/".join(names)
)


@given(st.lists(FOLDER, max_size=5), FOLDER)
def test_folders_meet_as_each_alone_would(held: list[str], asked: str) -> None:
    folders = Folders()
    for folder in held:
        folders.add(folder)

    def meet(one: str, other: str) -> bool:
        pairs = zip(one.split("/")[1:], other.split("/")[1:], strict=False)
        return all(a == b or "$" in a + b for a, b in pairs)

    assert (folders.meets(asked, lambda host: True) is not None) == any(meet(asked, f) for f in held)
    around = any(f"{asked}/".startswith(f"{f}/") for f in held if "$" not in f)
    assert folders.hold(asked) == around


LISTED = st.sampled_from(
    [
        "10.0.0.0/8",
        "10.1.0.0/16",
        "10.1.2.0/24",
        "10.1.2.3",
        "0.0.0.0/0",
        "::/0",
        "fd00::/8",
        "fd00::1",
        "all",
    ]
)
RULES = st.lists(st.tuples(st.sampled_from(["allow", "deny"]), LISTED), max_size=8)
CLIENTS = ["10.1.2.3", "10.1.2.4", "10.1.3.0", "10.2.0.0", "9.0.0.1", "fd00::1", "fd01::", "::1"]


@given(RULES)
def test_the_first_rule_that_fits_decides(rules: list[tuple[str, str]]) -> None:
    parsed = parse("".join(f"{name} {word};" for name, word in rules))
    for client in map(ip_address, CLIENTS):
        fits = (name for name, word in rules if word == "all" or client in ip_network(word))
        assert admits(parsed, client) == (next(fits, "allow") == "allow")
