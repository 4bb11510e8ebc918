"""What recording the experts costs.

    python -m benchmarks moe [CHECKPOINT] [--runs 7] [--tokens 96] [--json FILE]

Sides take turns within one run, so that whatever else the machine does falls on all of them. Stop tokens are switched
off: every answer has the same length. Decode is the tokens a second after the first one.
  plain       as a lab asks
  recorded    with record_experts=True (aim: at least 0.90 of plain)
The tokens of both must be the same, or the benchmark fails.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from labs_helper import doctor
from labs_helper.models.load import load

QUESTION = "Where is Changsha?"


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", nargs="?", default="moe", help="a role, a catalog name or a folder")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=96, help="generated tokens in each run")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model = load(options.checkpoint)
    model.ask("Hello", max_tokens=1)
    model.engine.stop_ids = frozenset()
    speeds: dict[str, list[float]] = {"plain": [], "recorded": []}
    tokens = set()
    for run in range(options.runs + 1):
        for side, seen in speeds.items():
            answer = model.ask(QUESTION, max_tokens=options.tokens, record_experts=side == "recorded")
            tokens.add(tuple(token.id for token in answer.tokens))
            if run:  # the first round warms up
                seen.append((answer.generated_tokens - 1) / (answer.seconds - answer.seconds_to_first_token))
    if len(tokens) != 1:
        raise SystemExit("Recording changed the tokens.")
    decode = {side: statistics.median(seen) for side, seen in speeds.items()}
    # Of each round by itself: rounds differ more than sides do.
    ratio = statistics.median(recorded / plain for plain, recorded in zip(speeds["plain"], speeds["recorded"]))
    result = {"checkpoint": model.name, "machine": doctor.versions(), "decode": decode, "recorded over plain": ratio}
    print(f"\n{model.name}   {result['machine']}")
    for side, speed in decode.items():
        print(f"{side:<12}{speed:8.1f} tokens/s")
    print(f"recorded over plain: {ratio:.3f} (the tokens are the same)")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
