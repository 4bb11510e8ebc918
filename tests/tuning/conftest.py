from __future__ import annotations

import pytest

from labs_helper import load
from labs_helper.engines.worker import WORKER


@pytest.fixture(scope="session")
def model():
    plain = load("instruct", tier="tiny")
    WORKER.call(plain.engine.load)
    yield plain
    plain.release()


@pytest.fixture
def models_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LABS_MODELS_DIR", str(tmp_path / "models"))
    return tmp_path / "models"
