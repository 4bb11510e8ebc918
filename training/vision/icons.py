"""Outlines of shapes, and steps that paint icons, in a square from -1 to 1."""

from __future__ import annotations

import math


def _star(points: int = 5, inner: float = 0.42) -> list[tuple[float, float]]:
    turns = [(math.pi * i / points - math.pi / 2, 1.0 if i % 2 == 0 else inner) for i in range(2 * points)]
    return [(r * math.cos(a), r * math.sin(a)) for a, r in turns]


OUTLINES = {
    "square": [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)],
    "triangle": [(0, -0.9), (0.95, 0.8), (-0.95, 0.8)],
    "star": _star(),
    "diamond": [(0, -1), (0.75, 0), (0, 1), (-0.75, 0)],
    "cross": [
        (-0.3, -0.9),
        (0.3, -0.9),
        (0.3, -0.3),
        (0.9, -0.3),
        (0.9, 0.3),
        (0.3, 0.3),
        (0.3, 0.9),
        (-0.3, 0.9),
        (-0.3, 0.3),
        (-0.9, 0.3),
        (-0.9, -0.3),
        (-0.3, -0.3),
    ],
}
BROWN, GLASS, DARK = (110, 74, 44), (200, 228, 244), (40, 40, 44)
# Each icon: steps of (what, coordinates, fill), where fill None is the icon's own colour.
ICON_STEPS = {
    "house": [
        ("polygon", [(-0.7, -0.05), (0.7, -0.05), (0.7, 0.9), (-0.7, 0.9)], (232, 214, 178)),
        ("polygon", [(-0.95, 0), (0, -0.9), (0.95, 0)], None),
        ("polygon", [(-0.18, 0.35), (0.18, 0.35), (0.18, 0.9), (-0.18, 0.9)], BROWN),
    ],
    "tree": [
        ("polygon", [(-0.14, 0.2), (0.14, 0.2), (0.14, 0.95), (-0.14, 0.95)], BROWN),
        ("ellipse", [(-0.7, -0.95), (0.7, 0.4)], None),
    ],
    "sun": [("polygon", _star(10, 0.72), None), ("ellipse", [(-0.55, -0.55), (0.55, 0.55)], (255, 226, 110))],
    "car": [
        ("polygon", [(-0.5, -0.1), (-0.3, -0.5), (0.35, -0.5), (0.6, -0.1)], GLASS),
        ("polygon", [(-0.95, -0.1), (0.95, -0.1), (0.95, 0.4), (-0.95, 0.4)], None),
        ("ellipse", [(-0.7, 0.2), (-0.26, 0.64)], DARK),
        ("ellipse", [(0.26, 0.2), (0.7, 0.64)], DARK),
    ],
    "cloud": [
        ("ellipse", [(-0.95, -0.2), (-0.1, 0.5)], None),
        ("ellipse", [(-0.5, -0.6), (0.4, 0.45)], None),
        ("ellipse", [(0, -0.3), (0.95, 0.5)], None),
    ],
    "boat": [
        ("polygon", [(0.05, -0.95), (0.05, 0.2), (0.75, 0.2)], (236, 236, 226)),
        ("polygon", [(-0.04, -0.95), (0.05, -0.95), (0.05, 0.3), (-0.04, 0.3)], BROWN),
        ("polygon", [(-0.9, 0.3), (0.9, 0.3), (0.55, 0.8), (-0.55, 0.8)], None),
    ],
    "flower": [
        ("polygon", [(-0.06, 0), (0.06, 0), (0.06, 0.95), (-0.06, 0.95)], (44, 130, 60)),
        *[
            (
                "ellipse",
                [
                    (0.42 * math.cos(a) - 0.3, -0.35 + 0.42 * math.sin(a) - 0.3),
                    (0.42 * math.cos(a) + 0.3, -0.35 + 0.42 * math.sin(a) + 0.3),
                ],
                None,
            )
            for a in (0.3, 1.56, 2.8, 4.07, 5.34)
        ],
        ("ellipse", [(-0.22, -0.57), (0.22, -0.13)], (250, 220, 90)),
    ],
    "fish": [
        ("polygon", [(0.4, 0), (0.95, -0.45), (0.95, 0.45)], None),
        ("ellipse", [(-0.95, -0.45), (0.6, 0.45)], None),
        ("ellipse", [(-0.7, -0.18), (-0.52, 0)], DARK),
    ],
    "cup": [
        ("ellipse", [(0.25, -0.35), (0.9, 0.35)], None),
        ("ellipse", [(0.42, -0.18), (0.73, 0.18)], (246, 246, 246)),
        ("polygon", [(-0.7, -0.6), (0.6, -0.6), (0.4, 0.7), (-0.5, 0.7)], None),
    ],
    "moon": [("crescent", [(-0.8, -0.8), (0.8, 0.8)], None)],
}
ICON_COLOURS = {
    "house": ("red", "brown", "blue", "purple"),
    "tree": ("green",),
    "sun": ("orange", "yellow"),
    "cloud": ("gray",),
    "moon": ("yellow", "gray"),
    "car": ("red", "blue", "green", "black"),
    "boat": ("brown", "red", "blue"),
    "flower": ("red", "pink", "purple", "orange"),
    "fish": ("orange", "blue", "gray"),
    "cup": ("red", "blue", "green", "brown"),
}
