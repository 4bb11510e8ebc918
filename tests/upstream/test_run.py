"""The weekly comparison with upstream's own tests notices what it should, tried with small tests of ours."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest
import run

GONE = {"A::phi": "Shapes"}


@pytest.mark.parametrize(
    ("plain", "corrected", "expected", "words"),
    [
        ({"A::phi": ""}, {"A::phi": ""}, {}, None),
        ({"A::phi": ""}, {"A::phi": "ValueError: Shapes"}, GONE, None),
        ({"B::phi": "their fault"}, {"B::phi": "their fault"}, {}, None),
        ({"B::phi": "their fault"}, {"B::phi": ""}, {}, None),
        ({"A::phi": ""}, {"A::phi": "ValueError"}, {}, "fails with them"),
        ({"A::phi": "", "B::phi": ""}, {"A::phi": "Shapes", "B::phi": "x"}, GONE, "B::phi passes without"),
        ({"A::phi": ""}, {"A::phi": ""}, GONE, "take it out"),
        ({"A::phi": ""}, {"A::phi": "KeyError"}, GONE, "fails with 'KeyError'"),
        ({"A::phi": "Shapes"}, {"A::phi": "Shapes"}, GONE, "fails without them as well"),
        ({"B::phi": ""}, {"B::phi": ""}, GONE, "is gone"),
        ({"A::phi": "", "B::phi": ""}, {"A::phi": ""}, {}, "one side only"),
        ({}, {}, {}, "No test"),
        ({"A::phi": ""}, {}, {}, "No test"),
    ],
)
def test_what_somebody_has_to_look_at(plain, corrected, expected, words):
    found = run.compare(plain, corrected, expected)
    assert bool(found) == bool(words) and (words or "") in " ".join(found)


SUITE = """
import unittest

class TestModels(unittest.TestCase):
    def test_phi3_v_of_upstream(self):
        from mlx_vlm.models.phi3_v import phi3_v
        self.assertTrue(phi3_v.VisionModel.__module__.startswith("mlx_vlm"), "Shapes differ")

    def test_phi3_settings(self):
        from mlx_lm.models import phi3
        sizes = dict(hidden_size=8, num_hidden_layers=32, intermediate_size=8, num_attention_heads=1)
        named = {"model_type": "phi3", "rms_norm_eps": 1e-5, "vocab_size": 8, **sizes}
        self.assertEqual(phi3.ModelArgs.from_dict(named).num_hidden_layers, 2)

    def test_helpers_of_phi_tests(self):
        from mlx_vlm.tests.helper import VALUE
        self.assertEqual(VALUE, 7)

    def test_of_another_model(self):
        self.fail("not asked for")
"""


@pytest.mark.slow
def test_both_sides_run_with_and_without_the_corrections(tmp_path):
    folder = tmp_path / "mlx_vlm/tests"
    folder.mkdir(parents=True)
    (folder / "test_models.py").write_text(SUITE)
    (folder / "test_others.py").write_text("import not_there  # phi")
    (folder / "helper.py").write_text("VALUE = 7")
    plain, corrected = run.outcomes(folder, "plain"), run.outcomes(folder, "corrected")
    assert plain == {f"TestModels::{name}": "" for name in NAMES}
    assert corrected.pop("TestModels::test_phi3_v_of_upstream").endswith("Shapes differ")
    assert set(corrected.values()) == {""} and len(corrected) == 2


NAMES = [
    node.name
    for node in ast.walk(ast.parse(SUITE))
    if isinstance(node, ast.FunctionDef) and not node.name.endswith("another_model")
]


def test_the_sources_are_those_of_the_installed_version(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(subprocess, "run", lambda command, **options: asked.append(command))
    monkeypatch.setattr(run.importlib.metadata, "version", lambda package: "1.2.3")
    for suite in run.SUITES:
        assert run.fetched(suite, tmp_path) == tmp_path / suite.package
    assert all("v1.2.3" in command and command[:2] == ["git", "clone"] for command in asked)


def test_every_expected_difference_has_its_reason_in_the_known_issues():
    page = (Path(__file__).resolve().parents[2] / "docs/known-issues.md").read_text("utf-8")
    names = [name for of_package in run.EXPECTED.values() for name in of_package]
    assert names and all(name in page for name in names)
