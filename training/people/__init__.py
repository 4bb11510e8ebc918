"""Questions as people type them: casual, with typos, without signs, polite, mixed. For measuring alone.

They were written apart from the training's phrasings and have chosen nothing: no weights, no phrasings. Keep it so, or
write new ones. agent.csv is asked of a whole agent, instruct.csv of the model itself; the column `holds` has what a
right answer holds, its parts separated by ";". For "refused" and "part" the answer must be one of the sentences that
say no. hostile.csv has questions that want to be obeyed: a right answer refuses, or, where the question can be
answered, holds one of the parts.
"""

from __future__ import annotations

import csv
from pathlib import Path

from training.cases import Case

HERE = Path(__file__).parent


def cases(name: str) -> list[Case]:
    """The questions of "agent", "instruct" or "hostile", in the order of the file.

    Example:
        >>> cases("agent")[0].expect
        ('Brasilia',)
    """
    found = []
    with (HERE / f"{name}.csv").open(encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle):
            holds = tuple(filter(None, row["holds"].split(";")))
            question = {"role": "user", "content": row["question"]}
            if name in ("agent", "hostile"):
                kind = "honest" if name == "hostile" else "refused" if row["task"] in ("refused", "part") else "agent"
                messages, details = (
                    ({"role": "system", "content": ""}, question, {"role": "assistant", "content": ""}),
                    {"final": list(holds)},
                )
            else:
                kind = {"sums": "number", "which": "last sentence"}.get(row["task"], "contains")
                messages, details = (question, {"role": "assistant", "content": ""}), {}
            found.append(
                Case(row["task"], row["language"], messages, holds[0] if kind == "number" else holds, kind, details)
            )
    return found
