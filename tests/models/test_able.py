"""`able`: a model that can do what the cells of a lab need."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fake_endpoint import FakeEndpoint

from labs_helper.errors import BadRequest
from labs_helper.models.able import able
from labs_helper.models.load import load


def as_format(model, form, architecture="phi3"):
    """The same model with another card."""
    model.card = replace(model.card, format=form, architecture=architecture)
    return model


@pytest.fixture
def other(tiny_checkpoint, tmp_path):
    """A model beside the bundled one, whose card a test may change."""
    import shutil

    return load(str(shutil.copytree(tiny_checkpoint, tmp_path / "other")))


@pytest.mark.parametrize("need", ["mlx", "tokens"])
def test_a_model_in_mlxs_format_is_taken_as_it_is(need, capsys):
    bundled = load("instruct", tier="tiny")
    assert able(bundled, "instruct", need) is bundled and capsys.readouterr().out == ""


@pytest.mark.parametrize("form", ["gguf", "onnx"])
def test_the_plain_package_reads_no_other_format(other, form, capsys):
    taken = able(as_format(other, form), "instruct", "mlx")
    assert taken.name == "instruct-tiny"
    said = capsys.readouterr().out
    assert f"is in another ({form.upper()})" in said and "instruct-tiny takes its place" in said
    assert able(other, "instruct", "tokens") is other, "its tokenizer is here"


def test_a_dense_model_has_no_experts(other, capsys):
    assert able(other, "moe", "experts").name == "moe-tiny"
    assert "does not report which experts" in capsys.readouterr().out


def test_a_server_keeps_its_tokenizer_and_may_take_no_pictures(monkeypatch, capsys):
    def no_pictures(handler, body):
        handler.send_error(400, "image input is not supported")

    with FakeEndpoint(no_pictures) as fake:
        monkeypatch.setenv("LABS_ENDPOINT", fake.url)
        model = load("endpoint")
        for need, role, name in (
            ("mlx", "instruct", "instruct-tiny"),
            ("tokens", "instruct", "instruct-tiny"),
            ("pictures", "vision", "vision-tiny"),
            ("experts", "moe", "moe-tiny"),
        ):
            assert able(model, role, need).name == name
    assert "keeps its tokenizer" in capsys.readouterr().out


def test_a_server_that_takes_pictures_stays(monkeypatch):
    with FakeEndpoint() as fake:
        monkeypatch.setenv("LABS_ENDPOINT", fake.url)
        model = load("endpoint")
        assert able(model, "vision", "pictures") is model


def test_an_unknown_need():
    with pytest.raises(BadRequest, match="mlx, tokens, pictures, experts"):
        able(load("instruct", tier="tiny"), "instruct", "wings")
