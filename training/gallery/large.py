"""Pictures for people with the real model: papers, signs, plans, charts, pages, scenes and clips."""

from __future__ import annotations

from collections.abc import Iterator

from training.gallery.base import Picture
from training.gallery.charts import dashboard, pages, temperatures, timetable
from training.gallery.looking import floor_plan, gauge, kitchen, poster, street, town_map, traffic_light
from training.gallery.reading import note, nutrition, receipt, sign_chinese, sign_korean
from training.gallery.several import plants, slides, traffic, village


def pictures() -> Iterator[Picture]:
    """All of them, in the order of the list."""
    yield from (poster(), street(), traffic_light(), gauge(), kitchen(), floor_plan(), town_map())
    yield from (receipt(), note(), sign_korean(), sign_chinese(), nutrition())
    yield from (dashboard(), temperatures(), timetable())
    yield from pages()
    yield from village()
    yield from plants()
    yield from (traffic(), slides())
