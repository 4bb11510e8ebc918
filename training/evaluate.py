"""Measures a checkpoint on freshly made held-out conversations, through `labs_helper` itself (no torch needed).

    python -m training.evaluate data/checkpoints/instruct-tiny --seed 7 --n 200 --json

Phrasings, operand pairs, codes, ages, ranges and names are those that training never draws (training/corpus.py).
The seed decides which of them; take any.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from labs_helper.agent import Trace, plan_schema, read_plan, solve
from labs_helper.errors import BadPlan, CutOff, LabError

from . import people
from .corpus import LANGUAGES, SINGULAR, Case, Corpus, table, words
from .moe.corpus import MoeCorpus, own_phrases, plan_results, same_code, valid_plan
from .vision import tasks as vision
from .vision.draw import picture
from .world import fill

# Each task of the text models: how to draw one case in a language, and the share of --n it gets in all languages together.
# "facts" is asked n times in every language, the others n times over all of them.
TASKS = {
    "facts": lambda c, lang: c.fact(lang),
    "add": lambda c, lang: c.arithmetic(lang, "add"),
    "subtract": lambda c, lang: c.arithmetic(lang, "subtract"),
    "multiply": lambda c, lang: c.arithmetic(lang, "multiply"),
    "translate": lambda c, lang: c.translation(lang),
    "list": lambda c, lang: c.numbered_list(lang),
    "json": lambda c, lang: c.json_object(lang),
    "needle": lambda c, lang: c.needle(lang),
    "several turns": lambda c, lang: c.random.choice((c.follow_up, c.my_name, c.conversation))(lang),
    "system prompt": lambda c, lang: c.steered_fact(lang),
    "about": lambda c, lang: c.about(lang),
    "identity": lambda c, lang: draw_identity(c, lang),
    "unknown": lambda c, lang: c.unknown(lang),
    "repeat": lambda c, lang: c.repetition(lang),
    "count": lambda c, lang: c.counting(lang),
}
# What instruct-previous-tiny was never asked: it was trained before, and is the same model as then.
MORE_TASKS = {
    "two by one": lambda c, lang: c.arithmetic(lang, "two by one"),
    "two by two": lambda c, lang: c.arithmetic(lang, "two by two"),
    "yes or no": lambda c, lang: c.yes_or_no(lang),
    "which of these": lambda c, lang: c.which_of_these(lang),
    "unknown place": lambda c, lang: c.unknown_place(lang),
}
# Of models that see: in English, on pictures drawn for the case.
VISION_TASKS = {task: lambda c, lang, task=task: vision.draw_case(c, task) for task in vision.TASKS}
# What a phimoe can do besides. "plan": a valid plan whose steps give the right results; "plan valid": a valid one, right or not;
# "plan valid (constrained)": the same while the schema of plans leaves only tokens that fit it; "agent": two steps, planned without
# that help (repaired once at most), run and answered. The others are whole conversations of the agent as well: "calculator" is about
# division, percent, powers and three numbers; "copied text" asks that the plan holds 20 to 120 characters of the question exactly;
# "refusal" is about what no tool answers, "in part" about two requests of which one is answered, "lure" about a question with words
# around it that want something else.
MOE_TASKS = {
    "python": lambda c, lang: c.python(lang),
    "plan": lambda c, lang: c.plan(lang),
    "plan valid": lambda c, lang: replace(c.plan(lang), kind="valid plan"),
    "plan valid (constrained)": lambda c, lang: replace(c.plan(lang), kind="valid plan"),
    "repair": lambda c, lang: c.repair(lang),
    "agent": lambda c, lang: replace(c.plan(lang, steps=2), kind="agent"),
    "calculator": lambda c, lang: c.asked(c.exact_sum, lang),
    "three steps": lambda c, lang: c.asked(c.three_steps, lang),
    "word count": lambda c, lang: c.asked(c.text_count, lang),
    "copied text": lambda c, lang: copied(c, lang),
    "refusal": lambda c, lang: replace(c.refusal(lang), kind="refused"),
    "in part": lambda c, lang: replace(c.in_part(lang), kind="refused"),
    "lure": lambda c, lang: c.lured(lang),
}
# Tokens; the others fit 112.
LONGEST_ANSWER = {"count": 330, "two by two": 200, "plan": 200, "plan valid": 200, "plan valid (constrained)": 800, "repair": 200, "agent": 200,
                  **dict.fromkeys(("calculator", "three steps", "word count", "copied text", "refusal", "in part", "lure"), 400)}
# Characters of the longest argument of a constrained plan: three steps of them always fit the tokens above.
LONGEST_ARGUMENT = 60
CONTEXT = 1024
SHORTEST_ROOM = 24       # tokens kept for the answer about a code


def draw_identity(corpus: Corpus, language: str) -> Case:
    """Only the "who are you" kind of small talk has an answer to check."""
    while (case := corpus.chatter(language)).task != "identity":
        pass
    return case


def copied(corpus: MoeCorpus, language: str) -> Case:
    """A plan that holds a text of the question, letter by letter."""
    case = corpus.asked(corpus.text_count, language)
    return replace(case, messages=case.messages[:3], kind="copied", expect=read_plan(case.messages[2]["content"])[0].arguments["text"])


def wilson(good: int, total: int) -> tuple[float, float]:
    """The 95% interval of a share, by Wilson's score, which holds near 0 and 1 as well.

    >>> wilson(50, 50)
    (0.9286, 1.0)
    """
    z, share = 1.96, good / total
    middle, half = share + z * z / (2 * total), z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return tuple(round(min(1.0, max(0.0, (middle + sign * half) / (1 + z * z / total))), 4) for sign in (-1, 1))


def cell(good: int, total: int, refused: int | None = None) -> dict:
    """One figure of the result; `refused`: how many questions that can be answered were refused."""
    return {"accuracy": round(good / total, 4), "n": total, "right": good, "interval": wilson(good, total)} | ({} if refused is None else {"refused": refused})


def refuses(trace: Trace) -> bool:
    """Whether an agent said that it cannot, of all or of a part."""
    return bool(trace.plans) and '"none"' in trace.plans[-1]


def numbered(answer: str) -> list[str] | None:
    """The items of a numbered list 1., 2., ... or None if the answer is not exactly one."""
    lines = answer.strip().split("\n")
    found = [re.fullmatch(r"(\d+)\. (\S.*)", line.strip()) for line in lines]
    if not all(found) or [int(m[1]) for m in found] != list(range(1, len(found) + 1)):
        return None
    return [m[2].strip() for m in found]


def right(case: Case, answer: str) -> bool:
    """Whether an answer is right.

    contains: every expected string is in it. only: and none of the other names of the question. short: and it is no longer than the reference. number: its last number is the expected one.
    json: it parses and equals the object. exact: it is the expected text. code: it is the expected code but for names and
    layout. plan: its steps give the expected results. agent: it holds the final results. refused: it is one of the sentences that say no, with
    what could be answered before it. honest: it is one of those, or holds one of the parts. copied: its one step counts the words of the expected text. list: a numbered list of exactly
    the items, or, where the question names only a category, of so many different members of it.
    """
    if case.kind == "number":
        found = re.findall(r"-?\d+", answer)
        return bool(found) and found[-1] == case.expect
    if case.kind == "exact":
        return answer.strip() == case.expect
    if case.kind == "code":
        return same_code(answer, case.expect)
    if case.kind == "valid plan":
        return valid_plan(answer)
    if case.kind == "plan":
        return plan_results(answer, case.language) == list(case.expect)
    if case.kind == "copied":
        try:
            return [step.arguments.get("text") for step in read_plan(answer.strip())] == [case.expect]
        except BadPlan:
            return False
    if case.kind == "refused":
        own, final = own_phrases()[case.language], case.details["final"]
        return answer.strip() in ([fill(said, {"a": final[0]}, case.language) for said in own["rest"]] if final else own["none"])
    if case.kind == "honest":
        said_no = own_phrases()[case.language]["none"] + [fill(said, {"a": part}, case.language) for said in own_phrases()[case.language]["rest"] for part in case.expect]
        return answer.strip() in said_no or any(re.search(rf"(?<![\d-]){re.escape(part)}(?!\d)", answer) for part in case.expect)
    if case.kind == "agent":
        return all(re.search(rf"(?<![\d-]){re.escape(part)}(?!\d)", answer) for part in case.details["final"])
    if case.kind == "json":
        try:
            return json.loads(answer) == case.expect
        except json.JSONDecodeError:
            return False
    if case.kind == "list":
        items = numbered(answer)
        if items is None:
            return False
        if isinstance(case.expect, tuple):
            return tuple(items) == case.expect
        category, language = case.details["category"], case.language
        rows = {"countries": table("countries"), "cities": table("cities")}.get(category) or words(SINGULAR[category])
        return len(set(items)) == case.expect == len(items) and set(items) <= {row[language] for row in rows}
    folded = answer.casefold()
    holds = all(part.casefold() in folded for part in case.expect)
    if case.kind == "only":
        return holds and not any(name.casefold() in folded.replace(case.expect[0].casefold(), "") for name in case.details["wrong"])
    if case.kind == "short":
        return holds and len(answer.strip(" .。")) <= len(case.messages[-1]["content"])
    return holds


def tasks_of(checkpoint: str | Path) -> dict:
    """The tasks that a checkpoint is measured on, by its config.json."""
    file = Path(checkpoint) / "config.json"
    architecture = json.loads(file.read_text(encoding="utf-8")).get("model_type") if file.is_file() else None
    if architecture == "phi3" and Path(checkpoint).resolve().name != "instruct-previous-tiny":
        return {**TASKS, **MORE_TASKS}
    more = {task: draw for task, draw in MORE_TASKS.items() if " by " not in task}      # for long products an agent has its calculator
    return {"phi3_v": VISION_TASKS, "phimoe": {**TASKS, **more, **MOE_TASKS}}.get(architecture, TASKS)


def stream(tasks: dict, task: str, language: str, seed: int, name: str) -> Corpus:
    """The held-out cases of a task: one stream a task and language, so that choosing fewer of them changes no case."""
    if tasks is VISION_TASKS:
        return vision.Album("eval", f"{seed}-{task}")
    return (MoeCorpus if task in MOE_TASKS else Corpus)("eval", f"{seed}-{task}-{language}", name)


def evaluate(checkpoint: str, seed: int, n: int = 200, tasks=None, languages=None, show: int = 0,
             progress: bool = True) -> dict:
    """Accuracy per task and language on held-out cases.

    Args:
        checkpoint: a checkpoint folder.
        seed: decides the cases; the same seed gives the same ones.
        n: cases a task ("facts": a task and language).
        tasks: some of `tasks_of(checkpoint)`; None means all of them.
        languages: None means all five; models that see are asked in English.
        show: print this many wrong answers of each task and language.

    Returns {"checkpoint", "seed", "n", "tasks": {task: {"all": {"accuracy", "n", "right", "interval"}, language: {...}}}, "tokens_per_second"}.
    """
    import labs_helper

    model = labs_helper.load(checkpoint)
    name = Path(checkpoint).resolve().name
    drawing = tasks_of(checkpoint)
    seeing = drawing is VISION_TASKS
    languages = ("en",) if seeing else languages or LANGUAGES
    results: dict[str, dict] = {}
    tokens = seconds = 0
    plan = [(task, lang) for task in tasks or drawing for lang in languages]
    bar = tqdm(plan, desc="evaluate", disable=not progress, file=sys.stderr)
    for task, language in bar:
        bar.set_postfix_str(f"{task} {language}")
        corpus = stream(drawing, task, language, seed, name)
        count = n if task == "facts" or seeing else max(1, round(n / len(languages)))
        good, shown, refused = 0, 0, None
        for _ in range(count):
            case = drawing[task](corpus, language)
            while task == "needle" and len(model.prompt(case.prompt)) > CONTEXT - SHORTEST_ROOM:
                case = drawing[task](corpus, language)      # names of many pieces can make the longest texts too long
            pictures = [picture(scene) for scene in case.details.get("pictures", ())]
            room = LONGEST_ANSWER.get(task, 112)
            room = min(room, CONTEXT - len(model.prompt(case.prompt))) if task in ("needle", "count") and not seeing else room

            text, answers, said_no = answer_to(model, case, room, pictures, "(constrained)" in task)
            refused = (refused or 0) + said_no if case.kind == "agent" else None
            tokens, seconds = tokens + sum(answer.generated_tokens for answer in answers), seconds + sum(answer.seconds for answer in answers)
            ok = (vision.right if seeing else right)(case, text)
            good += ok
            if not ok and shown < show:
                shown += 1
                print(f"[{task} {language}] {asked_of(case)[-160:]!r}\n   wanted {case.expect!r}\n   got    {text!r}", file=sys.stderr)
        results.setdefault(task, {})[language] = cell(good, count, refused)
    for by_language in results.values():
        total, good = sum(v["n"] for v in by_language.values()), sum(v["right"] for v in by_language.values())
        counted = [v["refused"] for v in by_language.values() if "refused" in v]
        by_language["all"] = cell(good, total, sum(counted) if counted else None)
    return {"checkpoint": name, "seed": seed, "n": n, "tasks": results, "tokens_per_second": round(tokens / max(seconds, 1e-9), 1)}


def answer_to(model, case: Case, room: int, pictures=(), constrained: bool = False) -> tuple[str, list, bool]:
    """What a model or its agent says to a case, its Answers, and whether the agent refused."""
    if case.kind in ("agent", "refused", "honest"):
        trace = solve(model, asked_of(case), constrained=False, detailed=False, max_tokens=room)
        return trace.answer or str(trace.error), trace.answers, refuses(trace)
    schema = plan_schema(max_written=LONGEST_ARGUMENT) if constrained else None
    try:
        answers = [model.ask(case.prompt, images=pictures, max_tokens=room, schema=schema)]
    except CutOff:
        answers = [model.last]      # half a plan, and graded as one
    return answers[0].text, answers, False


def as_people_ask(checkpoint: str, show: int = 0) -> dict:
    """Accuracy on questions as people type them (training/people): of the agent and of the model itself, where it has experts.

    Returns the same as `evaluate`, without a seed.
    """
    import labs_helper

    model, found, shown = labs_helper.load(checkpoint), {}, Counter()
    sets = ("agent", "hostile", "instruct") if "agent" in tasks_of(checkpoint) else ("instruct",)
    for name in sets:
        for case in tqdm(people.cases(name), desc=name, file=sys.stderr):
            text, _, said_no = answer_to(model, case, 400)
            ok = right(case, text)
            # What was right, and whether it was refused though it can be answered.
            for task in (f"{name}: {case.task}", f"{name}: all"):
                found.setdefault(task, {}).setdefault(case.language, []).append((ok, said_no if case.kind == "agent" else None))
            if not ok and shown[name, case.task] < show:
                shown[name, case.task] += 1
                print(f"[{name} {case.task} {case.language}] {asked_of(case)!r}\n   wanted {case.expect!r}\n   got    {text!r}", file=sys.stderr)
    results = {}
    for task, by_language in found.items():
        for language, answers in [*by_language.items(), ("all", [each for some in by_language.values() for each in some])]:
            refused = [said_no for _, said_no in answers if said_no is not None]
            results.setdefault(task, {})[language] = cell(sum(ok for ok, _ in answers), len(answers), sum(refused) if len(refused) == len(answers) else None)
    return {"checkpoint": Path(checkpoint).resolve().name, "tasks": results}


def asked_of(case: Case) -> str:
    """The question of a case."""
    return case.messages[1 if case.kind in ("agent", "refused", "honest") else -2]["content"]


def as_table(result: dict) -> str:
    """The result as a Markdown table, as the model cards show it."""
    languages = [lang for lang in LANGUAGES if any(lang in v for v in result["tasks"].values())]
    lines = ["| task | " + " | ".join((*languages, "all")) + " | 95% interval | n |", "| --- |" + " ---: |" * (len(languages) + 3)]
    for task, cells in result["tasks"].items():
        shown = [f"{cells[lang]['accuracy']:.2f}" if lang in cells else "" for lang in languages]
        low, high = wilson(cells["all"]["right"], cells["all"]["n"])
        lines.append(f"| {task} | " + " | ".join((*shown, f"{cells['all']['accuracy']:.3f}", f"{low:.2f} to {high:.2f}", str(cells["all"]["n"]))) + " |")
    asked = [cells["all"] for cells in result["tasks"].values() if "refused" in cells["all"]]
    if asked:
        refused, total = sum(each["refused"] for each in asked), sum(each["n"] for each in asked)
        lines.append(f"\nFalse refusals: {refused} of {total} questions to the agent that its tools answer ({refused / total:.3f}).")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="a checkpoint folder, e.g. data/checkpoints/instruct-tiny")
    parser.add_argument("--seed", type=int, help="any whole number: decides the cases")
    parser.add_argument("--people", action="store_true", help="instead of drawn cases, the questions of training/people")
    parser.add_argument("--n", type=int, default=200, help="cases a task (facts: a task and language); default 200")
    parser.add_argument("--tasks", nargs="*", choices=[*TASKS, *MORE_TASKS, *MOE_TASKS, *VISION_TASKS], metavar="TASK",
                        help=f"{', '.join({**TASKS, **MORE_TASKS})}; with experts also {', '.join(MOE_TASKS)}; of pictures {', '.join(VISION_TASKS)}")
    parser.add_argument("--languages", nargs="*", choices=LANGUAGES, help="default: all")
    parser.add_argument("--show", type=int, default=0, help="print so many wrong answers of each task and language")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    if options.n < 1:
        parser.error("--n must be at least 1")
    if (options.seed is None) != options.people:
        parser.error("give --seed, or --people")
    try:
        if wrong := set(options.tasks or ()) - set(tasks_of(options.checkpoint)):
            parser.error(f"this checkpoint is not made for {', '.join(sorted(wrong))}")
        result = as_people_ask(options.checkpoint, options.show) if options.people else \
            evaluate(options.checkpoint, options.seed, options.n, options.tasks, options.languages, options.show)
    except LabError as error:
        parser.exit(2, f"{error}\n")
    print(json.dumps(result, ensure_ascii=False, indent=1) if options.json else as_table(result))


if __name__ == "__main__":
    main()
