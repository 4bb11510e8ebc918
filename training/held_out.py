"""The questions with which lab 04 asks what a rounded model can still do: held-out cases, so many of each skill.

    python -m training.held_out          # writes data/questions/skills.jsonl

A line is one conversation with its reference answer, its skill, and what a right answer holds. Lab 04 also reads the
conversations as a text, for perplexity and divergence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training.cases import Case
from training.tasks import TASKS, stream

FILE = Path(__file__).resolve().parents[1] / "data" / "questions" / "skills.jsonl"
MODEL = "instruct-tiny"  # whose task list this is
SEED = 40961  # chose nothing
NAMES = {"en": "English", "zh": "Chinese", "ko": "Korean", "ja": "Japanese", "es": "Spanish"}
# skill -> its task and how many questions in each language. Facts are a skill for each language.
PLAN = {
    **{f"facts, {name}": ("facts", {language: 40}) for language, name in NAMES.items()},
    "sums": ("add", dict.fromkeys(NAMES, 12)),
    "translate": ("translate", dict.fromkeys(NAMES, 10)),
    "list": ("list", dict.fromkeys(NAMES, 8)),
    "JSON": ("json", dict.fromkeys(NAMES, 10)),
    "needle": ("needle", dict.fromkeys(NAMES, 8)),
}
LONGEST = 700  # characters of a question: longer needles take most of the lab's time


def cases(skill: str) -> Iterator[Case]:
    """The cases of a skill, each question once."""
    task, counts = PLAN[skill]
    for language, count in counts.items():
        corpus, seen = stream(task, language, SEED, MODEL), set[str]()
        while len(seen) < count:
            case = TASKS[task](corpus, language)
            question = case.messages[-2]["content"]
            # A list of "three animals" has many right answers; only lists with one are taken.
            if len(question) <= LONGEST and question not in seen and not isinstance(case.expect, int):
                seen.add(question)
                yield case


def lines() -> list[dict[str, Any]]:
    """The lines of the file, skill by skill."""
    return [
        {
            "skill": skill,
            "language": case.language,
            "kind": case.kind,
            "expect": case.expect,
            "messages": [{"role": m["role"], "content": m["content"]} for m in case.messages],
        }
        for skill in PLAN
        for case in cases(skill)
    ]


def text() -> str:
    """The file."""
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines())


def main() -> None:
    """Write the file."""
    FILE.write_text(text(), encoding="utf-8")
    print(f"wrote {FILE}")


if __name__ == "__main__":
    main()
