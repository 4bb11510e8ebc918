"""The training loop that every model goes through: steps, learning rates, the log, and states to resume from."""

from __future__ import annotations

import json
import math
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from training.muon import Muon
from training.quantization import plain_state, start_rounding
from training.team import Team, precision

WARM_UP, DECAY_FROM = 100, 0.55  # steps; share of the steps after which the learning rate falls
MUON_RATE, ADAM_RATE = 5e-3, 4e-3  # of text models; the stages of vision-tiny have theirs in recipes.toml
ROUND_FROM = 0.8  # share of the steps after which the weights are seen rounded to 4 bits
LOG_EVERY, SHOW_EVERY = 25, 400  # steps
SAVE_SECONDS = 120  # between two saved states, at least


class Stage:
    """What `descend` trains. A subclass says what one part of a step is.

    Every step has the same parts for any number of processes; each process computes its share of them.

    Attributes:
        model: holds all that is trained, and no more.
        seed: of what is drawn at random.
        parts: of a step.
        rates: of Muon and AdamW at their highest.
        inside: a matrix whose name holds one of these gets Muon.
        round_from: share of the steps after which `rounded` is seen as rounded to 4 bits; above 1, never.
    """

    model: nn.Module
    team: Team
    seed: int
    parts: int = 1
    rates: tuple[float, float] = (MUON_RATE, ADAM_RATE)
    inside: tuple[str, ...] = ("layers.",)
    round_from: float = 2.0

    @property
    def rounded(self) -> nn.Module:
        """The weights that end in 4 bits."""
        return self.model

    def begin(self, done: int, steps: int) -> None:
        """Called once, when an earlier state is loaded and `done` of the steps lie behind."""

    def draw(self, step: int, steps: int) -> None:
        """Called before the parts of a step."""

    def part(self, step: int, number: int, steps: int) -> tuple[torch.Tensor, dict[str, float]]:
        """The loss of one part, and numbers to sum up for the log."""
        raise NotImplementedError

    def settle(self) -> None:
        """Called when rounding begins."""

    def summary(self, sums: dict[str, float]) -> dict[str, object]:
        """A line of the log from the sums since the last one: the mean loss, and a share for each `NAME right`."""
        return {"loss": round(sums["loss"] / sums["parts"], 4), **ratios(sums)}


def ratios(sums: dict[str, float]) -> dict[str, float]:
    """Shares from sums.

    >>> ratios({"glyphs right": 3, "glyphs": 4})
    {'glyphs': 0.75}
    """
    names = [key.removesuffix(" right") for key in sums if key.endswith(" right")]
    return {name: round(sums[f"{name} right"] / max(1, sums[name]), 4) for name in names}


def rate(step: int, steps: int) -> float:
    """Warm up, stay, then fall to zero in a straight line (WSD)."""
    if step < WARM_UP:
        return (step + 1) / WARM_UP
    return min(1.0, (steps - step) / (steps * (1 - DECAY_FROM)))


def set_rates(both, bases: tuple[float, float], share: float) -> None:
    """Learning rates of Muon and AdamW for the next step."""
    for optimizer, base in zip(both, bases):
        for group in optimizer.param_groups:
            group["lr"] = base * share * group.get("scale", 1.0)


def optimizers(model, inside: tuple[str, ...] = ("layers.",)) -> tuple[Muon, torch.optim.AdamW]:
    """Muon (Jordan et al. 2024) for the matrices inside the layers, AdamW for embeddings, head and norms.

    Args:
        inside: a matrix whose name holds one of these gets Muon. A model that keeps its experts as stacks of matrices
            names them itself, and leaves the routers to AdamW.
    """
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    shapes, inside = ((2, 3), model.inside) if hasattr(model, "inside") else ((2,), inside)
    inner = [p for n, p in named if p.ndim in shapes and any(part in n for part in inside)]
    outer = [p for n, p in named if not (p.ndim in shapes and any(part in n for part in inside))]
    if hasattr(model, "inside"):
        routers = {id(router.weight) for router in model.routers}
        outer = [
            {"params": [p for p in outer if id(p) not in routers]},
            {"params": [p for p in outer if id(p) in routers], "scale": model.ROUTER_RATE},
        ]
    return (
        Muon(inner, lr=MUON_RATE, weight_decay=0.05),
        torch.optim.AdamW(outer, lr=ADAM_RATE, betas=(0.9, 0.95), weight_decay=0.0),
    )


def descend(
    name: str,
    stage: Stage,
    steps: int,
    folder: Path,
    show: Callable[[int], dict] | None = None,
    stop_at: int | None = None,
) -> bool:
    """Train a stage to its end, or from where it was stopped; returns whether it is finished.

    Args:
        name: of the files in `folder`: NAME.state.pt to resume from, NAME.log.jsonl with the losses.
        show: called with a step now and then in the first process; gives a dictionary for the log.
        stop_at: leave after this step as an interruption would; for tests.

    Raises:
        FloatingPointError: the loss is no longer a number.
        ValueError: the run was begun with another number of steps, so its learning rates were others.
    """
    team, both = stage.team, optimizers(stage.model, stage.inside)
    state_file, log_file = folder / f"{name}.state.pt", folder / f"{name}.log.jsonl"
    done = load_state(state_file, stage.model, both, team.device, steps)
    team.wait()  # nobody saves before everybody has loaded
    stage.begin(done, steps)
    trained = [p for p in stage.model.parameters() if p.requires_grad]
    sums: dict[str, float] = {}
    saved = time.monotonic()
    bar = tqdm(
        range(done, steps), initial=done, total=steps, desc=name, mininterval=5, disable=team.rank > 0
    )  # fmt: skip
    for step in bar:
        if step >= stage.round_from * steps:
            start_rounding(stage.rounded)
            stage.settle()
        set_rates(both, stage.rates, rate(step, steps))
        one_step(stage, step, steps, sums)
        update(both, trained, team)
        last = step + 1 in (steps, stop_at)
        if last or (step + 1) % LOG_EVERY == 0:
            # Not at every step: a GPU would have to be waited for.
            sums = team.totals({key: float(value) for key, value in sums.items()})
            if not math.isfinite(sums["loss"]):
                raise FloatingPointError(f"{name}: the loss became {sums['loss']} before step {step + 1}")
            if team.rank == 0:
                line = {"step": step + 1, "seconds": round(time.time()), **stage.summary(sums)}
                if show and (last or (step + 1) % SHOW_EVERY == 0):
                    line |= show(step + 1)
                bar.set_postfix({key: value for key, value in line.items() if isinstance(value, float)})
                append_line(log_file, line)
                if last or time.monotonic() - saved > SAVE_SECONDS:
                    save_state(state_file, step + 1, steps, stage.model, both)
                    saved = time.monotonic()
            sums = {}
        if step + 1 == stop_at:
            break
    team.wait()
    return not stop_at or stop_at >= steps


def one_step(stage: Stage, step: int, steps: int, sums: dict[str, float]) -> None:
    """Gradients of this process's parts of a step; what they count is added to `sums`."""
    stage.draw(step, steps)
    for number in stage.team.share(stage.parts):
        # What is drawn while a part is computed, such as noise, follows from the step: a resumed run ends the same.
        torch.manual_seed(zlib.crc32(f"{stage.seed} {step} {number}".encode()))
        with precision(stage.team.device):
            loss, seen = stage.part(step, number, steps)
        (loss / stage.parts).backward()
        for key, value in {"loss": loss.detach(), "parts": 1, **seen}.items():
            sums[key] = sums.get(key, 0) + value


def update(both, trained: list[nn.Parameter], team: Team) -> None:
    """One step of the optimizers with the gradients of all processes."""
    team.add_gradients(trained)
    nn.utils.clip_grad_norm_(trained, 1.0)
    for optimizer in both:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def append_line(file: Path, line: dict) -> None:
    """Add one JSON line to a log."""
    with file.open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")


def save_state(path: Path, step: int, steps: int, model: nn.Module, both) -> None:
    """Write all that a run needs to go on."""
    unfinished = path.with_suffix(".partial")
    state = {"step": step, "steps": steps, "model": plain_state(model), "optimizers": [o.state_dict() for o in both]}
    torch.save(state, unfinished)
    unfinished.replace(path)


def load_state(path: Path, model: nn.Module, both, device: str, steps: int) -> int:
    """Go on from `save_state`; returns the steps done, 0 where there is no such file."""
    if not path.exists():
        return 0
    state = torch.load(path, map_location=device, weights_only=True)
    if state.get("steps", steps) != steps:
        raise ValueError(
            f"{path} was begun for {state['steps']} steps, not {steps}: its learning rates were others. "
            "Train with the same number and profile, or delete the file."
        )
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(both, state["optimizers"]):
        optimizer.load_state_dict(saved)
    return state["step"]
