"""The loop that every model is trained by, and weights as files."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

from training import loop, weights
from training.__main__ import main
from training.config import write_json
from training.loop import Stage, descend, rate
from training.team import Team, together
from training.train import train

pytestmark = pytest.mark.training


class Small(nn.Module):
    """Two layers, with something for each of both optimizers."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2, 8)])
        self.out = nn.Linear(8, 1)

    def forward(self, x):
        return self.out(self.layers[0](x))[:, 0]


class Line(Stage):
    """Learns y = 3a - b from noisy points; the loss becomes infinite at step `breaks`."""

    parts = 4
    rates = (0.05, 0.05)
    seed = 7

    def __init__(self, team: Team | None = None, breaks: int | None = None):
        self.team, self.breaks = team or Team(device="cpu", workers=0), breaks
        torch.manual_seed(0)
        self.model = Small()
        self.begun = None

    def begin(self, done, steps):
        self.begun = done

    def part(self, step, number, steps):
        x = torch.randn(32, 2)
        y, said = 3 * x[:, 0] - x[:, 1], self.model(x)
        loss = (said - y - 0.01 * torch.randn(32)).square().mean()
        if step == self.breaks:
            loss = loss * math.inf
        return loss, {"points right": (said.detach() - y).abs().lt(0.1).sum(), "points": len(x)}


def state_of(folder, name="line"):
    return torch.load(folder / f"{name}.state.pt", weights_only=True)


def test_a_stage_learns_and_logs_losses_and_shares(tmp_path):
    stage = Line()
    assert descend("line", stage, 300, tmp_path)
    assert stage.model(torch.tensor([[1.0, 0.0], [0.0, 1.0]])).tolist() == pytest.approx([3, -1], abs=0.1)
    lines = [json.loads(line) for line in (tmp_path / "line.log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(25, 301, 25))
    assert lines[-1]["loss"] < 0.01 * lines[0]["loss"] and lines[-1]["points"] > 0.9 > lines[0]["points"]
    assert state_of(tmp_path)["step"] == 300


def test_a_run_that_is_stopped_ends_with_the_same_numbers(tmp_path):
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    for folder in (whole, pieces):
        folder.mkdir()
    descend("line", Line(), 60, whole)
    for stop in (10, 31):
        assert not descend("line", Line(), 60, pieces, stop_at=stop)
    last = Line()
    assert descend("line", last, 60, pieces) and last.begun == 31
    assert torch.equal(state_of(whole)["model"]["out.weight"], state_of(pieces)["model"]["out.weight"])


def test_a_run_of_another_length_is_not_gone_on_with(tmp_path):
    descend("line", Line(), 60, tmp_path, stop_at=10)
    with pytest.raises(ValueError, match="begun for 60 steps, not 80"):
        descend("line", Line(), 80, tmp_path)


def test_a_loss_that_is_no_number_ends_the_run_and_is_not_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0)
    with pytest.raises(FloatingPointError, match="before step 6"):
        descend("line", Line(breaks=5), 60, tmp_path)
    assert state_of(tmp_path)["step"] == 5 and state_of(tmp_path)["model"]["out.weight"].isfinite().all()


def in_a_team(rank, processes, folder):
    """`test_processes...` in one of its processes."""
    descend("line", Line(Team(rank, processes, "cpu", 0)), 40, folder)


def test_processes_that_train_together_end_as_one_would(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    descend("line", Line(), 40, one)
    together(in_a_team, 2, two)
    assert torch.allclose(state_of(one)["model"]["out.weight"], state_of(two)["model"]["out.weight"], atol=1e-5)
    losses = [json.loads((folder / "line.log.jsonl").read_text().splitlines()[-1])["loss"] for folder in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)  # the log is about the parts of both


def test_rates_rise_stay_and_fall_to_zero():
    rates = [rate(step, 1000) for step in range(1000)]
    assert rates[0] == 0.01 and rates[99] == 1 == rates[549] and rates[551] < 1
    assert rates[-1] == pytest.approx(1 / 450) and rates[550:] == sorted(rates[550:], reverse=True)


# -- weights ----------------------------------------------------------------------------------------------


def a_run(folder, value, **more):
    """A folder with two small weights."""
    folder.mkdir()
    write_json(folder / "config.json", {"model_type": "phi3"})
    (folder / "tokenizer.json").write_text("{}")
    weights.save({"a": torch.full((2, 2), value), "b": torch.tensor([value, 1.0]), **more}, folder)
    return folder


def test_the_mean_of_runs_is_weighted_and_is_a_run_itself(tmp_path, capsys):
    folders = [a_run(tmp_path / name, value) for name, value in (("x", 0.0), ("y", 10.0), ("z", 20.0))]
    out = tmp_path / "mean"
    main(["average", *map(str, folders), "--weights", ".2", ".3", ".5", "--out", str(out)])
    assert str(out) in capsys.readouterr().out
    found = weights.read(out)
    assert torch.allclose(found["a"], torch.full((2, 2), 13.0)) and torch.allclose(found["b"], torch.tensor([13.0, 1]))
    assert (out / "config.json").exists() and (out / "tokenizer.json").exists()
    assert found["a"].dtype == torch.float32


@pytest.mark.parametrize(
    ("shares", "words"),
    [(".5 .6", "1 in all"), ("1", "as many shares"), (".5 .5", "differ in c")],
    ids=["not one in all", "too few", "another model"],
)
def test_what_cannot_be_averaged_is_refused(tmp_path, capsys, shares, words):
    folders = [a_run(tmp_path / "x", 1.0), a_run(tmp_path / "y", 2.0, c=torch.zeros(1))]
    with pytest.raises(SystemExit):
        main(["average", *map(str, folders), "--weights", *shares.split(), "--out", str(tmp_path / "mean")])
    assert words in capsys.readouterr().err and not (tmp_path / "mean").exists()


def test_a_mean_does_not_replace_what_it_is_made_of(tmp_path, capsys):
    folder = a_run(tmp_path / "x", 1.0)
    with pytest.raises(SystemExit):
        main(["average", str(folder), "--weights", "1", "--out", str(folder)])
    assert "choose another" in capsys.readouterr().err


# -- the command ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("make nothing", "unknown checkpoint"),
        ("make --begin runs/x", "one model"),
        ("make moe-tiny --begin runs/x", "no model.safetensors"),
        ("make moe-tiny --profile gpu", "sees none"),
        ("card moe-tiny --seed 777", "has chosen weights"),
        ("make --seed 2026", "has chosen weights"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is_trained(arguments, words, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        main(arguments.split())
    assert words in capsys.readouterr().err


def test_a_gpu_changes_no_recipe_by_itself(monkeypatch, tmp_path):
    made = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("training.train.together", lambda *arguments: made.append(arguments))
    monkeypatch.setattr("training.train.tokenizer_folder", lambda name, runs: tmp_path)
    monkeypatch.setattr("training.train.Encoder", lambda folder: type("E", (), {"size": 2560}))
    for profile, tokens in ((None, None), ("gpu", 16384)):
        train("instruct-tiny", runs=tmp_path, profile=profile)
        assert made[-1][3].get("tokens") == tokens
