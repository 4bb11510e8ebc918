"""Whether an answer to a case is right, and how sure a share of right answers is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from labs_helper.common import numbers
from labs_helper.errors import BadPlan
from training.cases import Case
from training.moe.code import same_code
from training.moe.offer import NEXT
from training.moe.phrasing import own_phrases
from training.moe.plans import plan_results, valid_plan
from training.rewriting import SINGULAR
from training.world import LANGUAGES, fill, table, words


def wilson(good: int, total: int) -> tuple[float, float]:
    """The 95% interval of a share, as results are written: four decimals.

    >>> wilson(50, 50)
    (0.9286, 1.0)
    """
    low, high = numbers.wilson(good, total)
    return round(low, 4), round(high, 4)


def cell(good: int, total: int, refused: int | None = None) -> dict:
    """One figure of a result.

    Args:
        refused: how many of the questions, which can all be answered, an agent refused.
    """
    found = {"accuracy": round(good / total, 4), "n": total, "right": good, "interval": wilson(good, total)}
    return found if refused is None else {**found, "refused": refused}


def as_table(result: dict) -> str:
    """A result as a Markdown table, as the model cards show it."""
    languages = [lang for lang in LANGUAGES if any(lang in v for v in result["tasks"].values())]
    lines = [
        "| task | " + " | ".join((*languages, "all")) + " | 95% interval | n |",
        "| --- |" + " ---: |" * (len(languages) + 3),
    ]
    for task, cells in result["tasks"].items():
        shown = [f"{cells[lang]['accuracy']:.2f}" if lang in cells else "" for lang in languages]
        every = cells["all"]
        low, high = wilson(every["right"], every["n"])
        row = (*shown, f"{every['accuracy']:.3f}", f"{low:.2f} to {high:.2f}", str(every["n"]))
        lines.append(f"| {task} | " + " | ".join(row) + " |")
    asked = [cells["all"] for cells in result["tasks"].values() if cells["all"].get("refused") is not None]
    if asked:
        refused, total = sum(each["refused"] for each in asked), sum(each["n"] for each in asked)
        share = f"{refused} of {total} questions to the agent that its tools answer ({refused / total:.3f})"
        lines.append(f"\nFalse refusals: {share}.")
    return "\n".join(lines)


def numbered(answer: str) -> list[str] | None:
    """The items of a numbered list 1., 2., ... or None if the answer is not exactly one."""
    lines = answer.strip().split("\n")
    found = [re.fullmatch(r"(\d+)\. (\S.*)", line.strip()) for line in lines]
    if not all(found) or [int(m[1]) for m in found] != list(range(1, len(found) + 1)):
        return None
    return [m[2].strip() for m in found]


def right(case: Case, answer: str) -> bool:
    """Whether an answer is right; what that means is a matter of the case's kind (`GRADERS`)."""
    return GRADERS[case.kind](case, answer)


def _contains(case: Case, answer: str) -> bool:
    """Every expected string is in it."""
    folded = answer.casefold()
    return all(part.casefold() in folded for part in case.expect)


def _concluded(case: Case, answer: str) -> bool:
    """It ends in the right conclusion, which names one thing."""
    return answer.strip().casefold().endswith(case.details["conclusion"].casefold())


def _last_sentence(case: Case, answer: str) -> bool:
    """Every expected string is in its last sentence: the names before it are those of the question."""
    *_, last = re.split(r"[.。!?！？]\s*", answer.strip().rstrip(".。!?！？"))
    return _contains(case, last)


def _short(case: Case, answer: str) -> bool:
    """As "contains", and it is no longer than the reference."""
    return _contains(case, answer) and len(answer.strip(" .。")) <= len(case.messages[-1]["content"])


def _number(case: Case, answer: str) -> bool:
    """Its last number is the expected one."""
    found = re.findall(r"-?\d+", answer)
    return bool(found) and found[-1] == case.expect


def _json(case: Case, answer: str) -> bool:
    """It parses and equals the object."""
    try:
        return json.loads(answer) == case.expect
    except json.JSONDecodeError:
        return False


def _list(case: Case, answer: str) -> bool:
    """A numbered list of exactly the items, or, where the question names a category, of that many of its members."""
    items = numbered(answer)
    if items is None:
        return False
    if isinstance(case.expect, tuple):
        return tuple(items) == case.expect
    category, language = case.details["category"], case.language
    rows = {"countries": table("countries"), "cities": table("cities")}.get(category) or words(SINGULAR[category])
    return len(set(items)) == case.expect == len(items) and set(items) <= {row[language] for row in rows}


def _holds(answer: str, parts: Iterable[str]) -> list[bool]:
    return [bool(re.search(rf"(?<![\d-]){re.escape(part)}(?!\d)", answer)) for part in parts]


def _agent(case: Case, answer: str) -> bool:
    """It holds the final results."""
    return all(_holds(answer, case.details["final"]))


def _copied(case: Case, answer: str) -> bool:
    """A plan whose one step counts the words of the expected text."""
    try:
        return [step.arguments.get("text") for step in NEXT.read(answer.strip())] == [case.expect]
    except BadPlan:
        return False


def _refused(case: Case, answer: str) -> bool:
    """One of the sentences that say no, behind what could be answered."""
    own, final = own_phrases()[case.language], case.details["final"]
    said = [fill(rest, {"a": final[0]}, case.language) for rest in own["rest"]] if final else own["none"]
    return answer.strip() in said


def _honest(case: Case, answer: str) -> bool:
    """One of the sentences that say no, or it holds one of the parts."""
    own = own_phrases()[case.language]
    said = [*own["none"], *(fill(rest, {"a": part}, case.language) for rest in own["rest"] for part in case.expect)]
    return answer.strip() in said or any(_holds(answer, case.expect))


# What makes an answer right, by the kind of its case. "exact": the expected text. "code": the expected code but for
# names and layout. "plan": its steps give the expected results. "valid plan": a plan, right or not.
GRADERS = {
    "contains": _contains,
    "concluded": _concluded,
    "last sentence": _last_sentence,
    "short": _short,
    "number": _number,
    "json": _json,
    "list": _list,
    "exact": lambda case, answer: answer.strip() == case.expect,
    "code": lambda case, answer: same_code(answer, case.expect),
    "plan": lambda case, answer: plan_results(answer, case.language) == list(case.expect),
    "valid plan": lambda case, answer: valid_plan(answer),
    "agent": _agent,
    "copied": _copied,
    "refused": _refused,
    "honest": _honest,
}
