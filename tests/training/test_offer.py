"""The agent that cases are about: evaluation asks what is published, training prepares what comes next."""

from __future__ import annotations

from labs_helper.agent import MAX_STEPS, TOOLS
from training.moe.corpus import MoeCorpus
from training.moe.offer import NEXT, PUBLISHED


def test_the_evaluation_asks_what_is_published_and_the_training_prepares_the_next():
    assert PUBLISHED.tools is TOOLS and PUBLISHED.max_steps == MAX_STEPS
    assert {MoeCorpus("eval", 4).plan("en").prompt[0]["content"]} == {PUBLISHED.prompt()}
    stream = MoeCorpus("train", 4)
    assert NEXT.prompt() in {stream.plan("en").prompt[0]["content"] for _ in range(30)}
