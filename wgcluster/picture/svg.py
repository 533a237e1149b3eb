"""The picture as SVG, without scripts and embedded fonts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from math import copysign

from wgcluster.picture.layout import (
    GAP,
    MARGIN,
    ON_A_CIRCLE,
    Box,
    areas_around,
    around,
    extent,
    in_rows,
    square,
    towards,
)
from wgcluster.picture.scene import Scene, heading, scene
from wgcluster.plan.plan import ClientPlan, HostPlan, Plan

_LETTER = 7.8  # average width of a lower-case letter at 13 px, on the safe side
_WIDE = {**dict.fromkeys("ABCDEFGHIJKLNOPQRSTUVXYZ", 10.5), **dict.fromkeys("mwMW", 14.5)}  # in bold
_LINE = 16.0
_TITLE = 26.0
_MOST_DETAILED = 24  # hosts; with more of them addresses are left out

_Point = tuple[float, float]

_STYLE = """\
text { font: 13px system-ui, "DejaVu Sans", sans-serif; text-anchor: middle; fill: #123; }
.heading { font-size: 17px; font-weight: 600; text-anchor: start; }
.small { font-size: 11px; fill: #456; }
.sign { text-anchor: start; }
.area { fill: #f4f7fa; stroke: #c3d0da; }
.site { font-weight: 600; fill: #456; paint-order: stroke; stroke: #f4f7fa; stroke-width: 4; }
.host { fill: #fff; stroke: #456; }
.undialled { stroke-dasharray: 4 3; }
.forwards { fill: #1f5f8b; stroke: #0d3a57; stroke-width: 2.5; }
.on { fill: #fff; font-weight: 600; }
.small.on { fill: #dcebf5; font-weight: 400; }
.client { fill: #fdf3e1; stroke: #b9770e; }
path { fill: none; }
.link { stroke: #7f97a8; stroke-opacity: .55; }
.between { stroke: #1f5f8b; stroke-width: 2; stroke-opacity: .7; }
.dial { stroke: #b9770e; stroke-dasharray: 5 4; }
"""


def svg(plan: Plan) -> str:
    """An SVG document of the whole plan."""
    shown = scene(plan)
    places = _place(plan, shown)
    areas, hosts = places.areas, places.hosts
    area_of = {host.name: areas[name] for name, members in shown.areas.items() for host in members}
    drawn = [_rect("area", box, 10) for box in areas.values()]
    many = {h.name: len(members) > ON_A_CIRCLE for members in shown.areas.values() for h in members}
    drawn += [_within(area_of[a], hosts[a], hosts[b], many[a]) for a, b in shown.inside]
    kind = "link" if plan.topology == "partial" else "between"
    drawn += [
        _curve(kind, (hosts[a].x, hosts[a].y), (hosts[b].x, hosts[b].y), (0, 0)) for a, b in shown.between
    ]
    drawn += [
        f'<path class="dial" d="M{box.x:.0f} {box.y:.0f} L{to.x:.0f} {to.y:.0f}"/>'
        for client in plan.clients
        for box, to in ((places.clients[client.name], hosts[client.gateway.name]),)
    ]
    for name, box in areas.items():  # above the links, for readable names
        drawn += _site(name, box, shown)
    for host in plan.hosts:
        drawn += _host(shown, host, hosts[host.name])
    for client in plan.clients:
        drawn += _labelled("client", places.clients[client.name], _client_lines(client), "", radius=14)
    return _page(plan, [*areas.values(), *places.clients.values()], drawn, bool(shown.undialled))


@dataclass(frozen=True, slots=True)
class _Places:
    areas: dict[str, Box]
    hosts: dict[str, Box]
    clients: dict[str, Box]


def _place(plan: Plan, shown: Scene) -> _Places:
    """Areas around the middle; their gateways face it, their road warriors are at the back."""
    short = len(plan.hosts) > _MOST_DETAILED
    everyone = [host for hosts in shown.areas.values() for host in hosts]
    width = max(_width(line) for host in everyone for line in _lines(host, short)) + 20
    height = max(len(_lines(host, short)) for host in everyone) * _LINE + 10
    slots = {
        name: (square if name in shown.full else around)(len(hosts), width, height)
        for name, hosts in shown.areas.items()
    }
    guests = {
        name: [c for c in plan.clients if c.gateway.name in {host.name for host in hosts}]
        for name, hosts in shown.areas.items()
    }
    seats = _seats(guests, {name: extent(boxes)[0] for name, boxes in slots.items()})
    inner, blocks = [], []
    for name, boxes in slots.items():
        across, down = extent(boxes)
        words = _width(": ".join([name, *filter(None, [shown.full.get(name)])]))
        size = max(across + 2 * GAP, words + 20), down + 2 * GAP + _TITLE
        inner.append(size)
        wide, high = extent(seats[name]) if seats[name] else (0.0, -MARGIN)
        blocks.append((max(size[0], wide), size[1] + MARGIN + high))
    areas, hosts, clients = {}, {}, {}
    for (name, boxes), (across, down), block in zip(slots.items(), inner, areas_around(blocks), strict=True):
        back = -1 if block.y < 0 else 1
        areas[name] = Box(block.x, block.y - back * (block.height - down) / 2, across, down)
        below = block.y + back * (block.height - (block.height - down - MARGIN)) / 2
        for client, seat in zip(guests[name], seats[name], strict=True):
            clients[client.name] = seat.moved(block.x, below)
        placed = [box.moved(block.x, areas[name].y + _TITLE / 2) for box in boxes]
        for host, box in zip(_seated(shown.areas[name], placed, len(slots) > 1), placed, strict=True):
            hosts[host.name] = box
    return _Places(areas, hosts, clients)


def _seats(guests: dict[str, list[ClientPlan]], across: dict[str, float]) -> dict[str, list[Box]]:
    """Rows of road warriors for each area, about as wide as the area."""
    lines = [line for clients in guests.values() for client in clients for line in _client_lines(client)]
    width, height = max(map(_width, lines), default=0) + 30, 2 * _LINE + 10
    return {
        name: in_rows(len(clients), width, height, max(4, int((across[name] + GAP) // (width + GAP))))
        for name, clients in guests.items()
    }


def _seated(hosts: Sequence[HostPlan], slots: Sequence[Box], facing: bool) -> list[HostPlan]:
    """The hosts in the order of their slots: by name, but gateways nearest to the middle."""
    gateways = [host for host in hosts if host.gateway and facing]
    others = iter([host for host in hosts if not (host.gateway and facing)])
    near = dict(zip(towards(slots, 0, 0), gateways, strict=False))
    return [near[i] if i in near else next(others) for i in range(len(slots))]


def _client_lines(client: ClientPlan) -> list[str]:
    return [client.name, ", ".join(str(address.ip) for address in client.addresses)]


def _lines(host: HostPlan, short: bool) -> list[str]:
    if short:
        return [host.name]
    return [host.name, *(str(a.ip) for a in host.addresses), *map(str, host.subnets)]


def _width(text: str) -> float:
    return sum(_WIDE.get(letter, _LETTER) for letter in text)


def _site(name: str, box: Box, shown: Scene) -> Iterator[str]:
    words = [name] if name else []
    if name in shown.full:
        words.append(shown.full[name])
    if words:
        y = box.y - box.height / 2 + 20
        yield f'<text class="site" x="{box.x:.0f}" y="{y:.0f}">{escape(": ".join(words))}</text>'


def _host(shown: Scene, host: HostPlan, box: Box) -> Iterator[str]:
    kind = "host"
    if host.forwards:
        kind += " forwards"
    if host.name in shown.undialled:
        kind += " undialled"
    short = box.height < 2 * _LINE
    yield from _labelled(kind, box, _lines(host, short), f"{host.name}: {shown.details(host)}")


def _labelled(kind: str, box: Box, lines: list[str], title: str, radius: float = 5) -> Iterator[str]:
    on = " on" if "forwards" in kind else ""
    yield "<g>"
    if title:
        yield f"<title>{escape(title)}</title>"
    yield _rect(kind, box, radius)
    top = box.y - (len(lines) - 1) * _LINE / 2 + 4.5
    for i, line in enumerate(lines):
        small = f' class="small{on}"' if i else f' class="{on.strip()}"' if on else ""
        yield f'<text{small} x="{box.x:.0f}" y="{top + i * _LINE:.0f}">{escape(line)}</text>'
    yield "</g>"


def _rect(kind: str, box: Box, radius: float) -> str:
    return (
        f'<rect class="{kind}" x="{box.x - box.width / 2:.0f}" y="{box.y - box.height / 2:.0f}"'
        f' width="{box.width:.0f}" height="{box.height:.0f}" rx="{radius:.0f}"/>'
    )


def _within(area: Box, one: Box, other: Box, many: bool) -> str:
    """A link inside an area; among many boxes, from the edges that face its middle."""
    middle = area.x, area.y + _TITLE / 2

    def edge(box: Box) -> tuple[float, float]:
        x, y = middle[0] - box.x, middle[1] - box.y
        if not many:
            return box.x, box.y
        if abs(x) / area.width > abs(y) / (area.height - _TITLE):
            return box.x + copysign(box.width / 2, x), box.y
        return box.x, box.y + copysign(box.height / 2, y)

    return _curve("link", edge(one), edge(other), middle)


def _curve(kind: str, one: _Point, other: _Point, middle: _Point) -> str:
    """A line bent towards the middle, which crosses no box between its ends."""
    x = (one[0] + other[0]) / 4 + middle[0] / 2
    y = (one[1] + other[1]) / 4 + middle[1] / 2
    begin, bend, end = (f"{px:.0f} {py:.0f}" for px, py in (one, (x, y), other))
    return f'<path class="{kind}" d="M{begin} Q{bend} {end}"/>'


def _page(plan: Plan, boxes: list[Box], drawn: list[str], undialled: bool) -> str:
    left = min(box.x - box.width / 2 for box in boxes) - MARGIN
    right = max(box.x + box.width / 2 for box in boxes) + MARGIN
    top = min(box.y - box.height / 2 for box in boxes) - MARGIN - 30
    bottom = max(box.y + box.height / 2 for box in boxes) + MARGIN + 40
    title = heading(plan)
    signs = [("host forwards", "forwards for others")] if any(host.forwards for host in plan.hosts) else []
    signs += [("host undialled", "nobody dials it")] if undialled else []
    signs += [("client", "road warrior")] if plan.clients else []
    right = max(right, left + 2 * MARGIN + 10 * len(title), left + MARGIN + 190 * len(signs))
    legend = []
    for i, (kind, text) in enumerate(signs):
        x, y = left + MARGIN + 190 * i, bottom - 26
        legend.append(_rect(kind, Box(x + 15, y, 30, 16), 4))
        legend.append(
            f'<text class="small" x="{x + 40:.0f}" y="{y + 4:.0f}" style="text-anchor: start">{text}</text>'
        )
    size = f"{right - left:.0f} {bottom - top:.0f}"
    width, height = size.split()
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{left:.0f} {top:.0f} {size}"'
            f' width="{width}" height="{height}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>\n{_STYLE}</style>",
            f'<rect x="{left:.0f}" y="{top:.0f}" width="{width}" height="{height}" fill="#fff"/>',
            f'<text class="heading" x="{left + MARGIN:.0f}" y="{top + 34:.0f}">{escape(title)}</text>',
            *drawn,
            *legend,
            "</svg>",
            "",
        ]
    )
