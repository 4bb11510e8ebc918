"""Measures a checkpoint on freshly made held-out conversations, through `labs_helper` itself (no torch needed).

    python -m training.evaluate data/checkpoints/instruct-tiny --seed 7 --n 200 --json
    python -m training.evaluate data/checkpoints/moe-tiny --people            # the questions of training/people

Phrasings, operand pairs, codes, ages, ranges and names are those that training never draws (training/corpus.py).
The seed decides which of them; take any. A seed that chose something (`chosen_by` in recipes.toml) flatters.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from labs_helper.agent import Trace, plan_schema, solve
from labs_helper.errors import CutOff, LabError
from training import people
from training.cases import Case
from training.grading import as_table, cell, right
from training.moe.offer import NEXT, PUBLISHED, Offer
from training.tasks import (
    LONGEST_ANSWER,
    MOE_TASKS,
    MORE_TASKS,
    NEXT_TASKS,
    TASKS,
    USUAL_ANSWER,
    VISION_TASKS,
    known_tasks,
    stream,
    tasks_of,
)
from training.vision import tasks as vision
from training.vision.paint import picture
from training.world import LANGUAGES

if TYPE_CHECKING:
    from labs_helper.models.answers import Answer
    from labs_helper.models.model import Model

# Characters of the longest argument of a constrained plan: two steps of them always fit the tokens that it has.
LONGEST_ARGUMENT = 100
CONTEXT = 1024
SHORTEST_ROOM = 24  # tokens kept for the answer about a code
ENGINES = ("mlx", "onnx")
WHOLE = ("agent", "refused", "honest")  # kinds of cases that a whole agent answers


def evaluate(
    checkpoint: str,
    seed: int,
    n: int = 200,
    tasks=None,
    languages=None,
    show: int = 0,
    progress: bool = True,
    engine: str = "mlx",
) -> dict:
    """Accuracy per task and language on held-out cases.

    Args:
        checkpoint: a checkpoint folder.
        seed: decides the cases; the same seed gives the same ones.
        n: cases a task ("facts": a task and language).
        tasks: some of `known_tasks(checkpoint)`; None means `tasks_of(checkpoint)`.
        languages: None means all five; models that see are asked in English.
        show: print this many wrong answers of each task and language.
        engine: one of ENGINES.

    Returns:
        {"checkpoint", "seed", "n", "tasks": {task: {"all": {"accuracy", "n", "right", "interval"}, language: {...}}},
        "tokens_per_second"}.
    """
    model = loaded(checkpoint, engine)
    name = Path(checkpoint).resolve().name.removesuffix("-16bit")  # a twin calls itself as the 4-bit weights do
    drawing = known_tasks(checkpoint)
    seeing = VISION_TASKS.keys() <= drawing.keys()
    languages = ("en",) if seeing else languages or LANGUAGES
    results: dict[str, dict] = {}
    spent: Counter = Counter()
    plan = [(task, lang) for task in tasks or tasks_of(checkpoint) for lang in languages]
    bar = tqdm(plan, desc="evaluate", disable=not progress, file=sys.stderr)
    for task, language in bar:
        bar.set_postfix_str(f"{task} {language}")
        count = n if task == "facts" or seeing else max(1, round(n / len(languages)))
        corpus = stream(task, language, seed, name, seeing)
        good, shown, refused = 0, 0, None
        for _ in range(count):
            case = next_case(model, corpus, drawing[task], language)
            text, answers, said_no = answer_to(model, case, task)
            refused = (refused or 0) + said_no if case.kind == "agent" else None
            spent["tokens"] += sum(answer.generated_tokens for answer in answers)
            spent["seconds"] += sum(answer.seconds for answer in answers)
            ok = (vision.right if seeing else right)(case, text)
            good += ok
            if not ok and shown < show:
                shown += 1
                print_wrong(task, case, text)
        results.setdefault(task, {})[language] = cell(good, count, refused)
    for by_language in results.values():
        by_language["all"] = added(list(by_language.values()))
    speed = round(spent["tokens"] / max(spent["seconds"], 1e-9), 1)
    return {"checkpoint": name, "seed": seed, "n": n, "tasks": results, "tokens_per_second": speed}


def loaded(checkpoint: str, engine: str) -> Model:
    """The model of a checkpoint, as an engine runs it: MLX reads the folder, ONNX Runtime an export of it."""
    import labs_helper

    if engine == "mlx":
        return labs_helper.load(checkpoint)
    from training.to_onnx import exported

    return labs_helper.load(str(exported(Path(checkpoint))))


def added(cells: list[dict]) -> dict:
    """Several figures as one."""
    refused = [each["refused"] for each in cells if "refused" in each]
    return cell(
        sum(each["right"] for each in cells), sum(each["n"] for each in cells), sum(refused) if refused else None
    )


def next_case(model: Model, corpus, draw, language: str) -> Case:
    """The next case of a stream; names of many pieces can make the longest texts too long, and these are left out."""
    while True:
        case = draw(corpus, language)
        if case.task != "needle" or len(model.prompt(case.prompt)) <= CONTEXT - SHORTEST_ROOM:
            return case


def answer_to(model: Model, case: Case, task: str) -> tuple[str, list[Answer], bool]:
    """What a model or its agent says to a case, its Answers, and whether the agent refused."""
    room = LONGEST_ANSWER.get(task, USUAL_ANSWER)
    if case.kind in WHOLE:
        return answer_of_agent(model, asked_of(case), room, NEXT if task in NEXT_TASKS else PUBLISHED)
    if case.task in ("needle", "count") and "pictures" not in case.details:
        room = min(room, CONTEXT - len(model.prompt(case.prompt)))
    pictures = [picture(scene) for scene in case.details.get("pictures", ())]
    schema = plan_schema(max_written=LONGEST_ARGUMENT) if "(constrained)" in task else None
    try:
        answers = [model.ask(case.prompt, images=pictures, max_tokens=room, schema=schema)]
    except CutOff:
        answers = [model.last]  # half a plan, and graded as one
    return answers[0].text, answers, False


def answer_of_agent(model: Model, question: str, room: int, offer: Offer) -> tuple[str, list[Answer], bool]:
    """What an agent says to a question, planned freely; its Answers; and whether it refused."""
    trace = solve(
        model,
        question,
        tools=offer.tools,
        max_steps=offer.max_steps,
        constrained=False,
        detailed=False,
        max_tokens=room,
    )
    return trace.answer or str(trace.error), trace.answers, refuses(trace)


def refuses(trace: Trace) -> bool:
    """Whether an agent said that it cannot, of all or of a part."""
    return bool(trace.plans) and '"none"' in trace.plans[-1]


def as_people_ask(checkpoint: str, show: int = 0, engine: str = "mlx") -> dict:
    """Accuracy on questions as people type them (training/people).

    They are asked of the model, and of its agent where it has one. Returns the same as `evaluate`, without a seed.
    """
    model, shown = loaded(checkpoint, engine), Counter()
    found: dict[str, dict[str, list[tuple[bool, bool | None]]]] = {}
    sets = ("agent", "hostile", "instruct") if "agent" in tasks_of(checkpoint) else ("instruct",)
    for name in sets:
        for case in tqdm(people.cases(name), desc=name, file=sys.stderr):
            text, said_no = answer_to_person(model, case)
            ok = right(case, text)
            for task in (f"{name}: {case.task}", f"{name}: all"):
                # What was right, and whether it was refused though it can be answered.
                told = (ok, said_no if case.kind == "agent" else None)
                found.setdefault(task, {}).setdefault(case.language, []).append(told)
            if not ok and shown[name, case.task] < show:
                shown[name, case.task] += 1
                print_wrong(f"{name} {case.task}", case, text)
    results: dict[str, dict] = {}
    for task, by_language in found.items():
        for language, answers in by_language.items():
            refused = [said_no for _, said_no in answers if said_no is not None]
            every = len(refused) == len(answers)
            results.setdefault(task, {})[language] = cell(
                sum(ok for ok, _ in answers), len(answers), sum(refused) if every else None
            )
        results[task]["all"] = added(list(results[task].values()))
    return {"checkpoint": Path(checkpoint).resolve().name, "tasks": results}


def answer_to_person(model: Model, case: Case) -> tuple[str, bool]:
    """What a model or its agent says to a person's question, and whether the agent refused."""
    longest = 400
    if case.kind in WHOLE:
        text, _answers, said_no = answer_of_agent(model, asked_of(case), longest, PUBLISHED)
        return text, said_no
    return model.ask(case.prompt, max_tokens=longest).text, False


def asked_of(case: Case) -> str:
    """The question of a case."""
    return case.messages[1 if case.kind in WHOLE else -2]["content"]


def print_wrong(task: str, case: Case, text: str) -> None:
    """Show a wrong answer beside its question."""
    asked = asked_of(case)[-160:]
    print(f"[{task} {case.language}] {asked!r}\n   wanted {case.expect!r}\n   got    {text!r}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", help="a checkpoint folder, e.g. data/checkpoints/instruct-tiny")
    parser.add_argument("--seed", type=int, help="any whole number: decides the cases")
    parser.add_argument(
        "--people", action="store_true", help="instead of drawn cases, the questions of training/people"
    )
    parser.add_argument("--n", type=int, default=200, help="cases a task (facts: a task and language); default 200")
    every = {**TASKS, **MORE_TASKS}
    parser.add_argument(
        "--tasks",
        nargs="*",
        choices=[*every, *MOE_TASKS, *NEXT_TASKS, *VISION_TASKS],
        metavar="TASK",
        help=f"{', '.join(every)}; with experts also {', '.join(MOE_TASKS)}, and, only if named, "
        f"{', '.join(NEXT_TASKS)}; of pictures {', '.join(VISION_TASKS)}",
    )
    parser.add_argument("--languages", nargs="*", choices=LANGUAGES, help="default: all")
    parser.add_argument("--show", type=int, default=0, help="print so many wrong answers of each task and language")
    parser.add_argument("--engine", choices=ENGINES, default="mlx", help="what runs the model; onnx: an export of it")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    if options.n < 1:
        parser.error("--n must be at least 1")
    if (options.seed is None) != options.people:
        parser.error("give either --seed or --people")
    try:
        if wrong := set(options.tasks or ()) - known_tasks(options.checkpoint).keys():
            parser.error(f"this checkpoint is not made for {', '.join(sorted(wrong))}")
        if options.people:
            result = as_people_ask(options.checkpoint, options.show, options.engine)
        else:
            result = evaluate(
                options.checkpoint,
                options.seed,
                options.n,
                options.tasks,
                options.languages,
                options.show,
                engine=options.engine,
            )
    except LabError as error:
        parser.exit(2, f"{error}\n")
    print(json.dumps(result, ensure_ascii=False, indent=1) if options.json else as_table(result))


if __name__ == "__main__":
    main()
