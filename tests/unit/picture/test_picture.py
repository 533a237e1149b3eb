"""The picture shows every host, road warrior and link once, and no box hides another."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import ip_address, ip_network
from itertools import combinations
from xml.etree import ElementTree

import pytest

from tests.support.small_clusters import article, client, cluster, host, planned, two_sites
from wgcluster.inventory.cluster import Cluster
from wgcluster.picture.layout import Box, around, square
from wgcluster.picture.mermaid import mermaid
from wgcluster.picture.svg import svg
from wgcluster.plan.plan import Plan

SVG = "{http://www.w3.org/2000/svg}"


def many(count: int, sites: int = 0, degree: int | None = None, behind_nat: int = 0) -> Cluster:
    """``count`` hosts, the first of each site its gateway; of a mesh with NAT too."""
    hosts = []
    for i in range(count):
        site = f"site-{i % sites}" if sites else None
        gateway = i < max(sites, min(behind_nat, 1))
        one = host(f"server-{i:02}", i % 250 + 1, i < count - behind_nat, site=site, gateway=gateway)
        hosts.append(replace(one, addresses=(ip_address("10.0.0.0") + 1 + i,)))
    topology = "partial" if degree else "sites" if sites else "mesh"
    return replace(cluster(*hosts, topology=topology, degree=degree), networks=(ip_network("10.0.0.0/16"),))


CLUSTERS = {
    "article": article(),
    "masquerade": article(masquerade=True),
    "alone": cluster(host("a", 1)),
    "two": cluster(host("a", 1), host("b", 2)),
    "two sites": two_sites(),
    "clients": replace(two_sites(), clients=tuple(client(f"laptop{i}", 100 + i) for i in range(7))),
    "mesh of 7": many(7),
    "mesh of 13": many(13),
    "mesh of 60": many(60),
    "mesh of 60, 9 behind NAT": many(60, behind_nat=9),
    "mesh of 14, 13 behind NAT": many(14, behind_nat=13),
    "partial of 60": many(60, degree=4),
    "6 sites of 10": many(60, sites=6),
    "20 sites of 3": many(60, sites=20),
    "2 sites of 30": many(60, sites=2),
}


@pytest.fixture(params=CLUSTERS, scope="module")
def plan(request: pytest.FixtureRequest) -> Plan:
    return planned(CLUSTERS[request.param])


def boxes(plan: Plan) -> dict[str, list[tuple[str, Box]]]:
    """What is drawn as a box, by its first class: its first text and where it stands."""
    found: dict[str, list[tuple[str, Box]]] = {}
    for group in ElementTree.fromstring(svg(plan)).iter(f"{SVG}g"):
        rect, text = group.find(f"{SVG}rect"), group.find(f"{SVG}text")
        assert rect is not None
        assert text is not None
        found.setdefault(rect.attrib["class"].split()[0], []).append((text.text or "", box_of(rect)))
    return found


def box_of(rect: ElementTree.Element) -> Box:
    x, y, width, height = (float(rect.attrib[key]) for key in ("x", "y", "width", "height"))
    return Box(x + width / 2, y + height / 2, width, height)


def test_every_host_and_client_is_shown_once(plan: Plan) -> None:
    found = boxes(plan)
    assert sorted(name for name, _ in found["host"]) == [one.name for one in plan.hosts]
    assert [name for name, _ in found.get("client", [])] == [one.name for one in plan.clients]


def test_no_box_hides_another_or_leaves_the_page(plan: Plan) -> None:
    page = ElementTree.fromstring(svg(plan))
    left, top, width, height = map(float, page.attrib["viewBox"].split())
    all_boxes = [box for some in boxes(plan).values() for _, box in some]
    for one, other in combinations(all_boxes, 2):
        assert not one.overlaps(other, 4)
    for box in all_boxes:
        assert left <= box.x - box.width / 2
        assert box.x + box.width / 2 <= left + width
        assert top <= box.y - box.height / 2
        assert box.y + box.height / 2 <= top + height


def test_a_name_fits_its_box(plan: Plan) -> None:
    """A letter of a bold sans-serif at 13 px is 7.5 px wide on average."""
    for some in boxes(plan).values():
        for name, box in some:
            assert len(name) * 7.5 < box.width


def test_a_name_of_wide_letters_fits_its_box() -> None:
    """In DejaVu Sans Bold at 13 px a w or an m is 12 to 14.4 px wide, a capital some 9.6."""
    names = {"www.mmwwmm.com": 6 * 7.5 + 8 * 13, "GATEWAY-FRANKFURT": 17 * 9.6}
    found = boxes(planned(cluster(*(host(name, i, gateway=True) for i, name in enumerate(names, 1)))))
    for name, box in found["host"]:
        assert names[name] < box.width


def test_areas_are_the_sites_and_apart(plan: Plan) -> None:
    page = ElementTree.fromstring(svg(plan))
    areas = [box_of(rect) for rect in page.iter(f"{SVG}rect") if rect.attrib.get("class") == "area"]
    titles = {text.text for text in page.iter(f"{SVG}text") if text.attrib.get("class") == "site"}
    sites = {one.site for one in plan.hosts}
    assert len(areas) == len(sites)
    assert all(any((title or "").startswith(site) for title in titles) for site in sites if site)
    assert not any(one.overlaps(other, 10) for one, other in combinations(areas, 2))
    for _, box in boxes(plan)["host"]:
        inside = [a for a in areas if a.overlaps(box, 0)]
        assert len(inside) == 1


def test_what_forwards_stands_out(plan: Plan) -> None:
    page = ElementTree.fromstring(svg(plan))
    strong = [
        (group.find(f"{SVG}text").text, group.find(f"{SVG}title").text)  # type: ignore[union-attr]
        for group in page.iter(f"{SVG}g")
        if "forwards" in group.find(f"{SVG}rect").attrib["class"]  # type: ignore[union-attr]
    ]
    assert sorted(name or "" for name, _ in strong) == [one.name for one in plan.hosts if one.forwards]
    assert all("forwards" in (title or "") for _, title in strong)


def pairs(count: int) -> int:
    return count * (count - 1) // 2


def links(plan: Plan) -> int:
    return sum(not peer.is_client for one in plan.hosts for peer in one.peers) // 2


def test_every_link_is_drawn_or_said(plan: Plan) -> None:
    """A mesh of more than a dozen is said in words: its lines would hide everything."""
    text = svg(plan)
    drawn = len(re.findall(r'<path class="(?:link|between)"', text))
    said = [int(n) for n in re.findall(r"all (\d+) linked to each other", text)]
    missing = pairs(text.count('"host undialled"') - 1) if "save pairs that nobody dials" in text else 0
    assert drawn + sum(map(pairs, said)) - missing == links(plan)
    assert all(n > 12 for n in said)
    assert text.count('<path class="dial"') == len(plan.clients)


def test_mermaid_has_every_node_and_link_once(plan: Plan) -> None:
    text = mermaid(plan)
    lines = [line.strip() for line in text.splitlines()]
    assert lines[3] == "flowchart TB"
    named = re.findall(r'^\s*h\d+\["([^<"]+)<br/>', text, re.MULTILINE)
    assert sorted(named) == [one.name for one in plan.hosts]
    assert sum(line.startswith("subgraph") for line in lines) == sum(line == "end" for line in lines)
    said = [int(n) for n in re.findall(r"all (\d+)<br/>linked", text)]
    missing = pairs(text.count(":::undialled")) if "that nobody<br/>dials" in text else 0
    drawn = [line for line in lines if re.fullmatch(r"h\d+ (---|===) h\d+", line)]
    assert len(set(drawn)) == len(drawn)
    assert len(drawn) + sum(map(pairs, said)) - missing == links(plan)
    assert len([line for line in lines if " --- m" in line]) == sum(said)
    assert len([line for line in lines if "-.->" in line]) == len(plan.clients)
    assert text.count(":::forwards") == sum(bool(one.forwards) for one in plan.hosts)
    assert len(drawn) + sum(said) <= 500  # Mermaid draws no more by itself


def test_no_line_is_drawn_over_a_name(plan: Plan) -> None:
    kinds = [
        "line" if one.tag == f"{SVG}path" else "name"
        for one in ElementTree.fromstring(svg(plan)).iter()
        if one.tag == f"{SVG}path" or (one.tag == f"{SVG}text" and one.attrib.get("class") != "heading")
    ]
    assert kinds == sorted(kinds)


def test_pictures_are_the_same_every_time() -> None:
    assert svg(planned(article())) == svg(planned(article()))
    assert mermaid(planned(two_sites())) == mermaid(planned(two_sites()))


def test_who_cannot_be_dialled_is_marked() -> None:
    text = svg(planned(article()))
    assert "backup: 10.0.0.4; nobody dials it" in text
    assert 'class="host undialled"' in text
    assert "cloud: 10.0.0.3<" in text


@pytest.mark.parametrize("count", range(1, 130))
def test_boxes_stand_apart(count: int) -> None:
    for placed in (around(count, 90, 26), square(count, 90, 26), around(count, 130, 70)):
        assert len(placed) == count
        assert not any(one.overlaps(other, 8) for one, other in combinations(placed, 2))
