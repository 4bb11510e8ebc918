"""The questions with which notebook 03 asks what the experts have learned: held-out cases, so many of each topic.

    python -m training.moe.questions          # writes data/questions/moe.csv

A row is one question: its topic, the system prompt (plans only), the question, and what a right answer holds.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

from training.moe.corpus import TOPICS, MoeCorpus, topic

FILE = Path(__file__).resolve().parents[2] / "data" / "questions" / "moe.csv"
EACH, SEED = 6, "lab"
COLUMNS = ("topic", "system", "question", "expect")


def part_of(case) -> str | None:
    """What a right answer holds, as one piece of text; None for cases that one piece does not settle."""
    last = case.messages[-1]["content"]
    match case.task:
        case "facts":
            return case.expect[0] if len(case.expect) == 1 else None
        case "add" | "subtract":
            return f"= {case.expect}"
        case "python":
            return last.splitlines()[-1].strip() if case.kind == "code" else None
        case "plan":
            plan = json.loads(last)
            return (
                json.dumps(plan["steps"][0], ensure_ascii=False) if isinstance(plan, dict) and "steps" in plan else None
            )
    return None


def rows() -> list[dict[str, str]]:
    """The rows of the file, topic by topic."""
    corpus, found = MoeCorpus("eval", SEED), {name: [] for name in TOPICS}
    while min(map(len, found.values())) < EACH:
        case = corpus.sample()
        *before, question, _ = case.messages
        expect, own = part_of(case), found[TOPICS[topic(case)]]
        if (
            expect is None
            or len(own) == EACH
            or any(m["role"] != "system" for m in before)
            or (before and case.task != "plan")
        ):
            continue
        row = {
            "topic": TOPICS[topic(case)],
            "system": before[0]["content"] if before else "",
            "question": question["content"],
            "expect": expect,
        }
        if row not in own:
            own.append(row)
    return [row for name in TOPICS for row in found[name]]


def main() -> None:
    """Write the file."""
    FILE.parent.mkdir(parents=True, exist_ok=True)
    with FILE.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, COLUMNS)
        writer.writeheader()
        writer.writerows(rows())


if __name__ == "__main__":
    main()
