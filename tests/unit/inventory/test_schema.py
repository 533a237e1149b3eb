"""The keys an operator may write: what each takes, and that the contract's list is the whole list."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from wgcluster.inventory import schema
from wgcluster.prefixes import Address

CONTRACT = {
    "wg_name",
    "wg_interface",
    "wg_networks",
    "wg_topology",
    "wg_mtu",
    "wg_address",
    "wg_endpoint",
    "wg_port",
    "wg_site",
    "wg_site_endpoint",
    "wg_gateway",
    "wg_masquerade",
    "wg_masquerade_lan",
    "wg_subnets",
    "wg_links",
    "wg_degree",
    "wg_keepalive",
    "wg_preshared_keys",
    "wg_source",
    "wg_clients_from",
    "wg_expect",
    "wg_keep",
    "wg_keystore",
    "wg_hosts_file",
    "wg_dns",
    "firewall",
    "firewall_allow",
    "nginx_vpn_only",
}


def test_the_keys_are_those_of_the_contract() -> None:
    assert schema.SETTING_NAMES == CONTRACT


def test_no_key_is_both_shared_and_a_hosts() -> None:
    assert not schema.ClusterSettings.model_fields.keys() & schema.HostSettings.model_fields.keys()


def test_what_is_not_said_has_the_defaults_of_the_contract() -> None:
    shared = schema.ClusterSettings.model_validate({"wg_networks": "10.0.0.0/24"})
    assert shared.model_dump() == {
        "wg_interface": "wg",
        "wg_networks": (ip_network("10.0.0.0/24"),),
        "wg_topology": "mesh",
        "wg_degree": None,
        "wg_preshared_keys": False,
        "wg_expect": (),
        "wg_keystore": "keys.yml",
    }
    host = schema.HostSettings.model_validate({"wg_name": "a", "wg_address": "10.0.0.2"})
    assert (host.wg_port, host.wg_mtu, host.firewall) == (51820, 1420, "peers")
    assert (host.wg_keepalive, host.wg_endpoint, host.wg_site, host.wg_site_endpoint) == (None,) * 4
    assert (host.wg_gateway, host.wg_masquerade, host.wg_hosts_file, host.wg_dns) == (False, False, False, ())
    assert host.wg_masquerade_lan is False
    site = TypeAdapter(schema.GuardedSite).validate_python({"file": "/a", "server_name": "b"})
    assert (site.locations, site.public, site.scope, site.acme_root) == (("/",), (), "location", None)


def test_one_value_may_stand_for_a_list_of_one() -> None:
    host = schema.HostSettings.model_validate({"wg_name": "a", "wg_address": "10.0.0.2", "wg_links": "b"})
    assert (host.wg_address, host.wg_links) == ((ip_address("10.0.0.2"),), ("b",))


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("10.0.0.50", ip_network("10.0.0.50")),
        ("fd00::50/128", ip_network("fd00::50")),
        ("192.168.9.0/24", ip_network("192.168.9.0/24")),
        ("proto bird", "proto bird"),
        ("proto  186", "proto bgp"),
        ("proto 250", "proto 250"),
        *(
            (text, None)
            for text in ("bird", "proto", "proto boot", "proto 2", "proto 256", "proto A", "10.0.0.50/24")
        ),
    ],
)
def test_what_of_others_is_kept(value: str, read: object) -> None:
    adapter: TypeAdapter[object] = TypeAdapter(schema.KeptField)
    if read is None:
        with pytest.raises(ValidationError, match=r"proto NAME|host bits"):
            adapter.validate_python(value)
    else:
        assert adapter.validate_python(value) == read


@settings(deadline=None)
@given(st.ip_addresses())
def test_every_address_is_one(address: object) -> None:
    assert TypeAdapter(schema.AddressField).validate_python(str(address)) == address


dialable = (
    st.ip_addresses(v=4).filter(lambda a: int(a) >> 24 not in (0, 127) and int(a) >> 29 != 7)
    | st.ip_addresses(network="2000::/3")
    | st.ip_addresses(network="fc00::/7")
)


@settings(deadline=None)
@given(dialable, st.none() | st.integers(1, 65535))
def test_every_address_with_or_without_a_port_is_an_endpoint(address: Address, port: int | None) -> None:
    host = f"[{address}]" if address.version == 6 else f"{address}"
    text = host if port is None else f"{host}:{port}"
    assert TypeAdapter(schema.EndpointField).validate_python(text) == (address, port)


@pytest.mark.parametrize("text", ["0.0.0.0", "127.0.0.1:51820", "[::1]", "[::]:1", "224.0.0.1", "[ff02::1]"])
def test_an_address_that_nobody_else_can_dial_is_no_endpoint(text: str) -> None:
    with pytest.raises(ValidationError, match=r"type=endpoint\.not-dialable"):
        TypeAdapter(schema.EndpointField).validate_python(text)


labels = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


@settings(deadline=None)
@given(st.lists(labels, min_size=1, max_size=5).map(".".join), st.integers(1, 65535))
def test_every_dns_name_is_an_endpoint(name: str, port: int) -> None:
    assert TypeAdapter(schema.EndpointField).validate_python(f"{name}:{port}") == (name, port)


@settings(deadline=None)
@given(st.integers().filter(lambda port: not 1 <= port <= 65535))
def test_no_other_number_is_a_port(port: int) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(schema.PortField).validate_python(port)


@settings(deadline=None)
@given(st.text(max_size=20))
def test_a_name_is_safe_wherever_it_is_written(text: str) -> None:
    """In a comment of a config, as a file's name, in a link's name, in a shell."""
    try:
        name = TypeAdapter(schema.NameField).validate_python(text)
    except ValidationError:
        return
    assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
    assert name not in {".", ".."}
    assert not name.startswith("-")


@pytest.mark.parametrize("path", ["a", "/a b", '/a"b', "/a;b", "/a{b", "/a\nb", "", None, "/a'b", "/a\\b"])
def test_a_path_that_would_break_a_config_is_refused(path: object) -> None:
    with pytest.raises(ValidationError, match=r"type=path\.invalid"):
        TypeAdapter(schema.PathField).validate_python(path)


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        (("wg_port",), "wg_port"),
        (("wg_address", 0), "wg_address[0]"),
        (("firewall_allow", 1, "from", 0), "firewall_allow[1].from[0]"),
        ((), ""),
    ],
)
def test_a_place_is_shown_as_it_is_written_in_python(location: tuple[int | str, ...], shown: str) -> None:
    assert schema.path(location) == shown
