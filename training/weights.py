"""Weights as files: written, read whether quantized or not, and averaged.

    python -m training average RUN_A RUN_B --weights .4 .6 --out RUN_C

A run is a folder in training/runs with config.json, a tokenizer and, when it is finished, model.safetensors. The state
of an unfinished run of a text model (NAME.state.pt) can stand for it.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from training.config import write_json

COPIED = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
# mlx-lm stacks the experts of a phimoe and gives their matrices names of its own.
STACKED = re.compile(r"(.*)\.switch_mlp\.(gate|down|up)_proj\.weight")
OWN_NAMES = {"gate": "w1", "down": "w2", "up": "w3"}


def save(state: dict[str, torch.Tensor], folder: Path) -> None:
    """Write model.safetensors with plain fp32 weights."""
    from safetensors.torch import save_file

    unfinished = folder / "model.partial"
    save_file({k: v.contiguous().cpu() for k, v in state.items()}, unfinished, metadata={"format": "pt"})
    unfinished.replace(folder / "model.safetensors")


def read(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of a run, or of a published checkpoint of a text model with its 4 bits expanded, in fp32.

    Names are those of the real checkpoint: what `save` writes.

    Args:
        folder: of the run or the checkpoint, or the saved state of an unfinished run.
    """
    if folder.suffix == ".pt":
        return read_state(folder)
    import mlx.core as mx
    import numpy as np

    stored = mx.load(str(folder / "model.safetensors"))
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("quantization", {})
    found: dict[str, torch.Tensor] = {}
    for name, value in stored.items():
        base = name.removesuffix(".weight")
        if f"{base}.scales" in stored and name.endswith(".weight"):
            own = settings.get(base, settings)
            scales, biases = stored[f"{base}.scales"], stored[f"{base}.biases"]
            value = mx.dequantize(value, scales, biases, own["group_size"], own["bits"])
        if name.endswith((".scales", ".biases")):
            continue
        tensor = torch.from_numpy(np.array(value.astype(mx.float32)))
        if match := STACKED.fullmatch(name):
            base, which = match[1], OWN_NAMES[match[2]]
            found |= {f"{base}.experts.{i}.{which}.weight": matrix for i, matrix in enumerate(tensor)}
        else:
            found[name] = tensor
    return found


def read_state(file: Path) -> dict[str, torch.Tensor]:
    """The weights of an unfinished run of a text model, from its saved state."""
    state = torch.load(file, map_location="cpu", weights_only=True)["model"]
    if any(".experts." in name for name in state):
        from training.moe.model import Phimoe

        return Phimoe.published(state)
    return state


def load_into(model, folder: Path) -> None:
    """Give a text model the weights of a run or of a published checkpoint."""
    give(model, read(folder))


def give(model, state: dict[str, torch.Tensor]) -> None:
    """Give a text model weights that `read` or `mean` returned."""
    if hasattr(model, "from_published"):
        state = model.from_published(state)
    model.load_state_dict(state)


def mean(states: Sequence[dict[str, torch.Tensor]], shares: Sequence[float]) -> dict[str, torch.Tensor]:
    """The weighted mean of several states of one model (Wortsman et al. 2022, arXiv:2203.05482).

    Args:
        states: with the same names and shapes. shares: of each, 1 in all.

    Raises:
        ValueError: the states are not of one model, or the shares are not 1 in all.

    Example:
        >>> mean([{"w": torch.tensor([0.0])}, {"w": torch.tensor([10.0])}], [0.4, 0.6])
        {'w': tensor([6.])}
    """
    if len(states) != len(shares) or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"{len(states)} sets of weights need as many shares, 1 in all: not {list(shares)}")
    shapes = [{name: tuple(value.shape) for name, value in state.items()} for state in states]
    for other in shapes[1:]:
        if other != shapes[0]:
            differing = sorted({name for name, _ in shapes[0].items() ^ other.items()})
            raise ValueError(f"these are not weights of one model: they differ in {', '.join(differing[:3])}")
    return {
        name: sum(share * state[name].double() for share, state in zip(shares, states)).float() for name in states[0]
    }


def average(folders: Sequence[Path], shares: Sequence[float], out: Path) -> Path:
    """Write the weighted mean of several runs of one recipe as another run, `out`.

    Config and tokenizer are those of the first. Published checkpoints of text models may be among the folders, with
    their 4 bits expanded, and so may saved states of unfinished runs.

    Raises:
        ValueError: `out` is one of the folders, or `mean` refuses.
    """
    if out.resolve() in {folder.resolve() for folder in folders}:
        raise ValueError(f"{out} is one of the folders that are averaged: choose another")
    state = mean([read(folder) for folder in folders], shares)
    copy_files(folder_of(folders[0]), out)
    save(state, out)
    return out


def folder_of(run: Path) -> Path:
    """Where config and tokenizer of a run are: in the folder itself, or beside the saved state of an unfinished run."""
    return run.with_name(run.name.removesuffix(".state.pt")) if run.suffix == ".pt" else run


def copy_files(source: Path, out: Path) -> None:
    """Copy config and tokenizer into a folder for plain weights."""
    out.mkdir(parents=True, exist_ok=True)
    for file in COPIED:
        if (source / file).exists():
            shutil.copy(source / file, out)
    settings = json.loads((out / "config.json").read_text(encoding="utf-8"))
    for key in ("quantization", "quantization_config"):
        settings.pop(key, None)
    write_json(out / "config.json", settings)
