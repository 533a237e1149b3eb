"""Positions: hosts around their area, areas around the picture. All lengths are in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, cos, hypot, pi, sin

GAP = 14.0  # between two boxes
MARGIN = 30.0  # around areas
ON_A_CIRCLE = 6  # boxes; more are placed along a rectangle


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle by its centre and size."""

    x: float
    y: float
    width: float
    height: float

    def moved(self, x: float, y: float) -> Box:
        return Box(self.x + x, self.y + y, self.width, self.height)

    def overlaps(self, other: Box, gap: float) -> bool:
        return (
            abs(self.x - other.x) < (self.width + other.width) / 2 + gap
            and abs(self.y - other.y) < (self.height + other.height) / 2 + gap
        )


def around(count: int, width: float, height: float) -> list[Box]:
    """Equal boxes along the border of a rectangle about (0, 0), clockwise from the top left.

    Lines between them pass through the middle and touch no box.
    """
    if count == 1:
        return [Box(0, 0, width, height)]
    if count <= ON_A_CIRCLE:
        return _circle([(width, height)] * count, 3 * GAP)
    # the border is about as high as wide
    across = max(2, ceil(count * (height + GAP) / (width + height + 2 * GAP) / 1.6))
    sides = count - 2 * across
    left, right = sides // 2, sides - sides // 2
    if sides < 0:
        across, left, right = count // 2, 0, 0
    rows = max(right, 3)
    step_x, step_y = width + GAP, height + GAP
    wide = max(across - 1, 2) * step_x / 2 + (step_x / 2 if sides > 0 else 0)
    high = (rows + 1) * step_y / 2
    bottom = count - across - left - right
    boxes = [Box(x, -high, width, height) for x in _spread(across, wide - step_x / 2)]
    boxes += [Box(wide, y, width, height) for y in _spread(right, high - step_y)]
    boxes += [Box(x, high, width, height) for x in reversed(_spread(bottom, wide - step_x / 2))]
    boxes += [Box(-wide, y, width, height) for y in reversed(_spread(left, high - step_y))]
    return boxes


def in_rows(count: int, width: float, height: float, a_row: int) -> list[Box]:
    """Equal boxes about (0, 0) from the top left, ``a_row`` per row."""
    rows = ceil(count / a_row)
    boxes = []
    for i in range(count):
        row, column = divmod(i, a_row)
        in_row = min(a_row, count - row * a_row)
        x = (column - (in_row - 1) / 2) * (width + GAP)
        boxes.append(Box(x, (row - (rows - 1) / 2) * (height + GAP), width, height))
    return boxes


def square(count: int, width: float, height: float) -> list[Box]:
    """Equal boxes in rows that are together about as high as wide."""
    return in_rows(count, width, height, ceil((count * (height + GAP) * 1.6 / (width + GAP)) ** 0.5))


def extent(boxes: Sequence[Box]) -> tuple[float, float]:
    """Width and height of the smallest rectangle about (0, 0) around all boxes."""
    return (
        2 * max(abs(box.x) + box.width / 2 for box in boxes),
        2 * max(abs(box.y) + box.height / 2 for box in boxes),
    )


def _spread(count: int, reach: float) -> list[float]:
    """``count`` positions from -reach to reach."""
    if count == 1:
        return [0.0]
    return [-reach + 2 * reach * i / (count - 1) for i in range(count)]


def _circle(sizes: Sequence[tuple[float, float]], gap: float) -> list[Box]:
    """Boxes on the smallest oval about (0, 0) on which none touch, the first on top."""
    count = len(sizes)
    if count == 1:
        return [Box(0, 0, *sizes[0])]
    for step in range(1, 1000):
        radius = 20.0 * step
        boxes = [
            Box(1.5 * radius * sin(2 * pi * i / count), -radius * cos(2 * pi * i / count), *size)
            for i, size in enumerate(sizes)
        ]
        if count == 2:  # side by side
            boxes = [Box(side * radius, 0, *size) for side, size in zip((-1, 1), sizes, strict=True)]
        if not any(a.overlaps(b, gap) for i, a in enumerate(boxes) for b in boxes[:i]):
            break
    return boxes


def areas_around(sizes: Sequence[tuple[float, float]]) -> list[Box]:
    """Areas around the middle of the picture, far enough apart for the links between them."""
    return _circle(sizes, 2 * MARGIN)


def towards(boxes: Sequence[Box], x: float, y: float) -> list[int]:
    """The indices of the boxes, the nearest to (x, y) first."""
    return sorted(range(len(boxes)), key=lambda i: hypot(boxes[i].x - x, boxes[i].y - y))
