"""What a checkpoint is measured on: the tasks, how a case of each is drawn, and which of them a checkpoint can do."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from training.cases import Case
from training.corpus import Corpus
from training.moe.corpus import MoeCorpus
from training.moe.offer import NEXT
from training.vision import tasks as vision

Tasks = Mapping[str, Callable[..., Case]]


def draw_identity(corpus: Corpus, language: str) -> Case:
    """Only the "who are you" kind of small talk has an answer to check."""
    while (case := corpus.chatter(language)).task != "identity":
        pass
    return case


def draw_copied(corpus: MoeCorpus, language: str) -> Case:
    """A plan that holds a text of the question, letter by letter."""
    case = corpus.asked(corpus.text_count, language)
    text = NEXT.read(case.messages[2]["content"])[0].arguments["text"]
    return replace(case, messages=case.messages[:3], kind="copied", expect=text)


# Each task of the text models: how to draw one case in a language. "facts" is asked --n times in every language, the
# others --n times over all of them.
TASKS: Tasks = {
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
    "identity": draw_identity,
    "unknown": lambda c, lang: c.unknown(lang),
    "repeat": lambda c, lang: c.repetition(lang),
    "count": lambda c, lang: c.counting(lang),
}
# What instruct-previous-tiny is never asked: it is trained without.
MORE_TASKS: Tasks = {
    "two by one": lambda c, lang: c.arithmetic(lang, "two by one"),
    "two by two": lambda c, lang: c.arithmetic(lang, "two by two"),
    "yes or no": lambda c, lang: c.yes_or_no(lang),
    "which of these": lambda c, lang: c.which_of_these(lang),
    "unknown place": lambda c, lang: c.unknown_place(lang),
}
# For long products an agent has its calculator.
LONG_PRODUCTS = ("two by one", "two by two")
# Of models that see: in English, on pictures drawn for the case.
VISION_TASKS: Tasks = {task: lambda c, lang, task=task: vision.draw_case(c, task) for task in vision.TASKS}
# What a phimoe can do besides. "plan": a valid plan whose steps give the right results; "plan valid": a valid one,
# right or not; "plan valid (constrained)": the same while the schema of plans leaves only tokens that fit it; "agent":
# two steps, planned without that help (repaired once at most), run and answered.
MOE_TASKS: Tasks = {
    "python": lambda c, lang: c.python(lang),
    "plan": lambda c, lang: c.plan(lang),
    "plan valid": lambda c, lang: replace(c.plan(lang), kind="valid plan"),
    "plan valid (constrained)": lambda c, lang: replace(c.plan(lang), kind="valid plan"),
    "repair": lambda c, lang: c.repair(lang),
    "agent": lambda c, lang: replace(c.plan(lang, steps=2), kind="agent"),
}
# What the next agent must do besides (moe/offer.py), as whole conversations. "calculator": division, percent, powers
# and three numbers; "copied text": a plan with 20 to 120 characters of the question, letter by letter; "refusal": what
# no tool answers; "in part": two requests, one of them without an answer; "lure": a question among words that want
# something else.
NEXT_TASKS: Tasks = {
    "calculator": lambda c, lang: c.asked(c.exact_sum, lang),
    "three steps": lambda c, lang: c.asked(c.three_steps, lang),
    "word count": lambda c, lang: c.asked(c.text_count, lang),
    "copied text": draw_copied,
    "refusal": lambda c, lang: replace(c.refusal(lang), kind="refused"),
    "in part": lambda c, lang: replace(c.in_part(lang), kind="refused"),
    "lure": lambda c, lang: c.lured(lang),
}
# Tokens; the others fit 112.
LONGEST_ANSWER = {
    "count": 330,
    "two by two": 200,
    "which of these": 200,
    "plan": 200,
    "plan valid": 200,
    "plan valid (constrained)": 800,
    "repair": 200,
    "agent": 200,
    **dict.fromkeys(NEXT_TASKS, 400),
}
USUAL_ANSWER = 112


def tasks_of(checkpoint: str | Path) -> Tasks:
    """The tasks that a checkpoint is measured on, by its config.json."""
    file = Path(checkpoint) / "config.json"
    architecture = json.loads(file.read_text(encoding="utf-8")).get("model_type") if file.is_file() else None
    if architecture == "phi3" and Path(checkpoint).resolve().name != "instruct-previous-tiny":
        return {**TASKS, **MORE_TASKS}
    if architecture == "phimoe":
        return {**TASKS, **{task: draw for task, draw in MORE_TASKS.items() if task not in LONG_PRODUCTS}, **MOE_TASKS}
    return VISION_TASKS if architecture == "phi3_v" else TASKS


def known_tasks(checkpoint: str | Path) -> Tasks:
    """The tasks of `tasks_of`, and those that only the next weights of the checkpoint are meant to do."""
    tasks = tasks_of(checkpoint)
    return {**tasks, **NEXT_TASKS} if "agent" in tasks else tasks


def stream(task: str, language: str, seed: int, name: str, seeing: bool = False) -> Corpus | vision.Album:
    """The held-out cases of a task: one stream for each task and language, so that choosing fewer changes no case.

    Args:
        seeing: the task is one of VISION_TASKS. Some of them have the name of another task.
    """
    if seeing:
        return vision.Album("eval", f"{seed}-{task}")
    return (MoeCorpus if task in {**MOE_TASKS, **NEXT_TASKS} else Corpus)("eval", f"{seed}-{task}-{language}", name)
