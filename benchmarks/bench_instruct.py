"""What the helper costs, and what it saves, against the plain mlx-lm calls on the same checkpoint.

    python -m benchmarks instruct [CHECKPOINT] [--runs 15] [--tokens 128] [--json FILE] [--plot FILE]

In one run, with runs of both sides taken in turn. The ratios compare the best runs: whatever else the machine
does can only slow a run down. The medians are shown beside them; where they differ much, the machine was busy.
  decode speed          tokens per second through Model.stream, over mlx_lm.stream_generate (aim: at least 0.97)
  time to first token   from the question as text, chat template included (aim: at most 1.05 of the plain call)
  second turn           prompt tokens that go through the model again, over the tokens of the whole conversation
each with the weights as they are in the file and, on a Linux CPU, expanded to fp32 (corrections/dequantize.py).
Stop tokens are switched off on both sides, so that both generate the same number of tokens.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from labs_helper import doctor
from labs_helper.engines.mlx_text import MLXText, import_mlx_lm
from labs_helper.engines.worker import WORKER
from labs_helper.models.load import load
from labs_helper.models.model import Model

QUESTION = "Count from 1 to 40."
FOLLOW_UP = "And backwards?"
FILLER = "The sea is blue and the grass is green. "


def long_question(tokens: int, count) -> str:
    """A question of about so many tokens. `count` counts the tokens of a text."""
    repeats = max(1, tokens // max(1, count(FILLER)))
    return FILLER * repeats + QUESTION


class Plain:
    """The calls that mlx-lm's own documentation shows, in this thread."""

    name = "mlx_lm.stream_generate"

    def __init__(self, path: Path):
        mlx_lm = import_mlx_lm()
        self._generate = mlx_lm.stream_generate
        self.model, self.tokenizer = mlx_lm.load(str(path))
        self.tokenizer.eos_token_ids = set()

    def times(self, question: str, tokens: int) -> list[float]:
        """When the question was asked and when each token came, in seconds."""
        marks = [time.perf_counter()]
        prompt = self.tokenizer.apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True)
        answer = self._generate(self.model, self.tokenizer, prompt, max_tokens=tokens)
        marks.extend(time.perf_counter() for _part in answer)
        return marks


class Ours:
    """The same question through Model.stream."""

    def __init__(self, model: Model, name: str):
        self.model, self.name = model, name
        model.ask("Hello", max_tokens=1)
        self.forget()
        model.engine.stop_ids = frozenset()

    def forget(self) -> None:
        """Drop the prompt cache: the plain call has none either."""
        self.model.engine.prompt_cache.clear()

    def times(self, question: str, tokens: int) -> list[float]:
        """When the question was asked and when each token came, in seconds."""
        self.forget()
        marks = [time.perf_counter()]
        marks.extend(time.perf_counter() for _token in self.model.stream(question, max_tokens=tokens))
        return marks


def measure(sides, question: str, tokens: int, runs: int) -> dict[str, dict]:
    """Median speed and time to the first token of each side, runs taken in turn."""
    seen = {side.name: {"speed": [], "first": []} for side in sides}
    for run in range(runs + 1):
        for side in sides:
            marks = side.times(question, tokens)
            if run:  # the first round warms up
                seen[side.name]["speed"].append((len(marks) - 2) / (marks[-1] - marks[1]))
                seen[side.name]["first"].append(marks[1] - marks[0])
    return {
        name: {
            "tokens_per_second": statistics.median(values["speed"]),
            "tokens_per_second_best": max(values["speed"]),
            "seconds_to_first_token": statistics.median(values["first"]),
            "seconds_to_first_token_best": min(values["first"]),
        }
        for name, values in seen.items()
    }


def second_turn(model: Model, tokens: int) -> dict[str, float]:
    """How much of a conversation is computed again when its second question comes."""
    model.engine.prompt_cache.clear()
    first = model.ask(QUESTION, max_tokens=tokens)
    conversation = [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": first.text},
        {"role": "user", "content": FOLLOW_UP},
    ]
    second = model.ask(conversation, max_tokens=8)
    return {
        "prefilled_tokens": second.prefilled_tokens,
        "conversation_tokens": second.prompt_tokens,
        "share": second.prefilled_tokens / second.prompt_tokens,
        "rope_tables": [first.rope_table, second.rope_table],
    }


def load_as(path: str, dequantize: str) -> Model:
    """A model of its own, loaded with or without expanding its weights."""
    os.environ["LABS_DEQUANTIZE"] = dequantize
    shared = load(path)
    model = Model(shared.card, MLXText(shared.path, ships_code=shared.card.ships_code), shared.path)
    model.ask("Hello", max_tokens=1)
    return model


def main() -> None:
    """Measure, print a table, and write files if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", nargs="?", default="instruct-tiny", help="a catalog name or a folder")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--tokens", type=int, default=128, help="generated tokens in each run")
    parser.add_argument("--prompt-tokens", type=int, default=200, help="length of the prompt for the first token")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="a bar chart, .png or .svg")
    chosen = parser.parse_args()
    as_stored = load_as(chosen.checkpoint, "0")
    turns = second_turn(as_stored, min(chosen.tokens, 48))
    expanded = load_as(chosen.checkpoint, "1")
    sides = [Plain(as_stored.path), Ours(as_stored, "Model.stream"), Ours(expanded, "Model.stream, expanded")]
    question = long_question(chosen.prompt_tokens, as_stored.count_tokens)
    decode = measure(sides, QUESTION, chosen.tokens, chosen.runs)
    first = measure(sides, question, 2, chosen.runs)
    prompt_tokens = len(as_stored.prompt(question))
    plain, ours, fp32 = (side.name for side in sides)
    ratios = {
        "decode speed over plain (aim >= 0.97)": ratio(decode, ours, plain, "tokens_per_second_best"),
        "decode speed over plain, expanded": ratio(decode, fp32, plain, "tokens_per_second_best"),
        "time to first token over plain (aim <= 1.05)": ratio(first, ours, plain, "seconds_to_first_token_best"),
        "time to first token over plain, expanded": ratio(first, fp32, plain, "seconds_to_first_token_best"),
        "second turn: prefilled over conversation tokens": turns["share"],
    }
    report = {
        "checkpoint": as_stored.name,
        "machine": doctor.versions(),
        "blas": doctor.blas_row().detail,
        "runs": chosen.runs,
        "tokens": chosen.tokens,
        "prompt_tokens": prompt_tokens,
        "decode": decode,
        "first_token": first,
        "second_turn": turns,
        "ratios": ratios,
        "bytes": {ours: as_stored.engine.weight_bytes, fp32: expanded.engine.weight_bytes},
        "system": platform.platform(terse=True),
    }
    show(report)
    if chosen.json:
        chosen.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if chosen.plot:
        plot(report, chosen.plot)
    for model in (as_stored, expanded):
        WORKER.call(model.engine.close)


def ratio(table: dict, one: str, other: str, key: str) -> float:
    return table[one][key] / table[other][key]


def show(report: dict) -> None:
    print(f"{report['checkpoint']}   {report['machine']}   BLAS: {report['blas']}")
    print(f"{'':<26}{'tokens/s':>10}{'best':>8}{'first token, ms':>18}{'best':>8}")
    for name, decode in report["decode"].items():
        first = report["first_token"][name]
        print(
            f"{name:<26}{decode['tokens_per_second']:>10.0f}{decode['tokens_per_second_best']:>8.0f}"
            f"{first['seconds_to_first_token'] * 1e3:>18.1f}{first['seconds_to_first_token_best'] * 1e3:>8.1f}"
        )
    print(
        f"(median and best of {report['runs']}; {report['tokens']} tokens; first token after "
        f"{report['prompt_tokens']} prompt tokens)"
    )
    for name, value in report["ratios"].items():
        print(f"{name:<50}{value:>8.3f}")
    turns = report["second_turn"]
    print(f"   {turns['prefilled_tokens']} of {turns['conversation_tokens']} tokens")


def plot(report: dict, file: Path) -> None:
    """Two bar charts side by side: decode speed, and time to the first token."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(report["decode"])
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 3), layout="constrained")
    speed = [report["decode"][name]["tokens_per_second_best"] for name in names]
    first = [report["first_token"][name]["seconds_to_first_token_best"] * 1e3 for name in names]
    for axis, values, title in zip(
        axes, (speed, first), ("Decode speed, tokens per second", "Time to the first token, milliseconds"), strict=True
    ):
        axis.bar_label(axis.barh(names, values, color="#4c72b0"), fmt="%.0f", padding=3)
        axis.invert_yaxis()
        axis.set_title(title)
        axis.margins(x=0.15)
    axes[1].set_yticklabels([])
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main()
