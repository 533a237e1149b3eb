"""Laws of the WireGuard text: what is rendered is read back, and no secret is seen through the mask."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_interface
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import examples
from wgcluster.keys.seal import encode
from wgcluster.plan.plan import HostPlan, Peer
from wgcluster.prefixes import Interface, Network
from wgcluster.text import HIDDEN
from wgcluster.wireguard.config import (
    ParsedConfig,
    ParsedPeer,
    RenderCache,
    WgConfError,
    cut,
    mask,
    parse,
    parse_peer,
    render,
)

# apart, so that a public key cannot happen to be a secret
public_keys = st.binary(min_size=31, max_size=31).map(lambda data: encode(b"\x00" + data))
secret_keys = st.binary(min_size=31, max_size=31).map(lambda data: encode(b"\xff" + data))
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
ports = st.integers(1, 65535)
networks: st.SearchStrategy[Network] = st.ip_addresses().flatmap(
    lambda a: (
        st.integers(0, a.max_prefixlen).map(lambda n: ip_interface((int(a), n)).network)
        if a.version == 4
        else st.integers(0, 128).map(lambda n: ip_interface(f"{a}/{n}").network)
    )
)
endpoints = st.one_of(
    st.builds("{}:{}".format, st.ip_addresses(v=4), ports),
    st.builds("[{}]:{}".format, st.ip_addresses(v=6), ports),
    st.builds("{}.example.org:{}".format, st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True), ports),
)


@st.composite
def peers(draw: st.DrawFn) -> Peer:
    name = draw(names)
    return Peer(
        name=name,
        public_key=draw(public_keys),
        allowed_ips=tuple(draw(st.lists(networks, min_size=1, max_size=20, unique=True))),
        endpoint=draw(st.none() | endpoints),
        keepalive=draw(st.none() | ports),
        preshared_key=draw(st.none() | st.just(f"{name}|here")),
        is_client=draw(st.booleans()),
    )


@st.composite
def hosts(draw: st.DrawFn) -> HostPlan:
    addresses: list[Interface] = [ip_interface(f"{draw(st.ip_addresses(v=4))}/{draw(st.integers(8, 32))}")]
    if draw(st.booleans()):
        addresses.append(ip_interface(f"{draw(st.ip_addresses(v=6))}/{draw(st.integers(8, 128))}"))
    return HostPlan(
        name=draw(names),
        interface="wg",
        addresses=tuple(addresses),
        port=draw(ports),
        mtu=draw(st.integers(576, 65535)),
        public_key=draw(public_keys),
        peers=tuple(draw(st.lists(peers(), max_size=6, unique_by=lambda peer: peer.name))),
    )


def expected(host: HostPlan, private: str, shared: dict[str, str]) -> ParsedConfig:
    """What the text of ``host`` must say, taken from the plan alone."""
    by_name = {peer.name for peer in host.peers if ".example.org:" in (peer.endpoint or "")}
    after = {"PostUp": ["/usr/local/sbin/wgcluster-endpoints %i || :"]} if by_name else {}
    return ParsedConfig(
        addresses=tuple(map(str, host.addresses)),
        private_key=private,
        listen_port=host.port,
        mtu=host.mtu,
        other={"PreUp": ["/usr/local/sbin/wgcluster-firewall %i || :"], **after},
        peers=[
            ParsedPeer(
                public_key=peer.public_key,
                preshared_key=shared[peer.preshared_key] if peer.preshared_key else None,
                allowed_ips=tuple(map(str, peer.allowed_ips)),
                endpoint=peer.endpoint,
                keepalive=peer.keepalive,
                named=peer.name in by_name,
            )
            for peer in host.peers
        ],
    )


@st.composite
def rendered(draw: st.DrawFn) -> tuple[HostPlan, str, dict[str, str]]:
    """A host, its private key, and the preshared keys of its links."""
    host = draw(hosts())
    named = [peer.preshared_key for peer in host.peers if peer.preshared_key]
    return host, draw(secret_keys), {name: draw(secret_keys) for name in named}


@examples(100)
@given(rendered())
def test_every_text_parses_back_to_what_was_planned(case: tuple[HostPlan, str, dict[str, str]]) -> None:
    host, private, shared = case
    assert parse(render(host, private, shared)) == expected(host, private, shared)


@examples(100)
@given(st.lists(rendered(), min_size=1, max_size=4))
def test_rendering_and_reading_many_at_once_is_the_same(
    cases: list[tuple[HostPlan, str, dict[str, str]]],
) -> None:
    shown = RenderCache()
    for host, private, shared in [*cases, *cases]:
        text = render(host, private, shared, shown)
        assert text == render(host, private, shared)
        assert in_pieces(text) == expected(host, private, shared)


def in_pieces(text: str) -> ParsedConfig | None:
    """The config read piece by piece; None if a piece cannot be read by itself."""
    head, *pieces = cut(text)
    config = parse(head)
    for piece in pieces:
        peer = parse_peer(piece)
        if peer is None:
            return None
        config.peers.append(peer)
    return config


@examples(100)
@given(rendered())
def test_the_mask_hides_every_secret_and_nothing_else(case: tuple[HostPlan, str, dict[str, str]]) -> None:
    host, private, shared = case
    masked = mask(render(host, private, shared))
    assert masked == render(host)
    for secret in (private, *shared.values()):
        assert secret not in masked
    assert mask(masked) == masked
    assert masked.count(HIDDEN) == 1 + len(shared)


# As people write by hand: any case, any blanks, comments behind
gaps = st.sampled_from(["", " ", "  ", "\t"])
spellings = st.sampled_from(["PrivateKey", "privatekey", "PRIVATEKEY", "PresharedKey", "presharedKEY"])


@examples(100)
@given(secret_keys, spellings, gaps, gaps, gaps, st.sampled_from(["", "\r", " # note", "\t"]), gaps)
def test_the_mask_hides_what_is_written_in_another_way(
    key: str, spelling: str, before: str, left: str, right: str, behind: str, last: str
) -> None:
    text = f"[Interface]\n{before}{spelling}{left}={right}{key}{behind}{last}\nListenPort = 1\n"
    masked = mask(text)
    assert key not in masked
    assert masked.startswith(f"[Interface]\n{before}{spelling}{left}=")
    assert masked.endswith("\nListenPort = 1\n")


@examples(100)
@given(st.text(alphabet=st.sampled_from("[Peer]Interface \n=#,0aKAllowedIPs\r"), max_size=200))
def test_any_text_is_read_or_refused_with_its_line(text: str) -> None:
    try:
        parse(text)
    except WgConfError as error:
        number = int(str(error).removeprefix("line ").partition(":")[0])
        assert 1 <= number <= len(text.splitlines())


LINES = [
    "[Peer]",
    "[Interface]",
    "[peer]",
    "[Peer] # one",
    "",
    "# [Peer]",
    "Address = 10.0.0.1/24",
    "MTU = 1420",
]
LINES += [
    "PublicKey = k",
    "AllowedIPs = 10.0.0.2/32",
    "AllowedIPs = 10.0.0.3/32, ",
    "MTU = x",
    "Colour = blue",
]
ends = st.sampled_from(["\n", "\n", "\n", "\r\n", "\r"])


@examples(500)
@given(st.lists(st.tuples(st.sampled_from(LINES), ends).map("".join), max_size=12).map("".join))
def test_read_in_pieces_a_text_is_the_same_or_one_of_them_says_that_it_is_not(text: str) -> None:
    try:
        whole = parse(text)
    except WgConfError:
        with suppress(WgConfError):
            assert in_pieces(text) is None
    else:
        assert in_pieces(text) in (whole, None)


@examples(100)
@given(rendered(), st.randoms(use_true_random=False))
def test_case_blanks_and_comments_do_not_matter(
    case: tuple[HostPlan, str, dict[str, str]], random: Random
) -> None:
    host, private, shared = case
    lines = []
    for line in render(host, private, shared).splitlines():
        if line.startswith("#"):  # of ours, read as it is written
            lines.append(line)
            continue
        name, equals, value = line.partition(" = ")
        if equals:
            name = random.choice([name, name.lower(), name.upper()])
            line = f"{random.choice(['', '  '])}{name}{random.choice(['=', ' =', '=  '])}{value}"
        lines.append(line + random.choice(["", "  ", " # a note"]))
        lines += random.choice([[], [""], ["# [Peer]"]])
    found = parse("\n".join(lines))
    found.other = {key.lower(): value for key, value in found.other.items()}
    planned = expected(host, private, shared)
    planned.other = {key.lower(): value for key, value in planned.other.items()}
    assert found == planned
