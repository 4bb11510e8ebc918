from __future__ import annotations

import pytest

from labs_helper import load
from labs_helper.engines.worker import WORKER
from labs_helper.tuning import talk

TALKS = [
    talk(f"Where is {city}?", f"{city} is a city in {country}.")
    for city, country in (("Lima", "Peru"), ("Osaka", "Japan"), ("Cairo", "Egypt"), ("Lyon", "France"))
]


@pytest.fixture(scope="session")
def model():
    plain = load("instruct", tier="tiny")
    WORKER.call(plain.engine.load)
    yield plain
    plain.release()


@pytest.fixture(scope="session")
def talks():
    return TALKS
