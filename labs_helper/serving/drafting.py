"""How often a small model guesses what a larger one writes (speculative decoding): a server does not say."""

from __future__ import annotations

from collections.abc import Sequence

from labs_helper.common.translate import _
from labs_helper.engines.mlx_base import import_mlx_lm
from labs_helper.engines.refusing import quiet_transformers
from labs_helper.engines.worker import WORKER
from labs_helper.errors import BadRequest
from labs_helper.models.selection import choose


def guessed(
    name: str, draft: str, questions: Sequence[str], *, drafted: int = 3, max_tokens: int = 48, tier: str | None = None
) -> float:
    """The share of the tokens of an answer that the draft model guessed.

    Args:
        name: of the model that answers, as in `load`.
        draft: of the one that guesses. Both must have the same tokenizer.
        questions: what to ask.
        drafted: tokens that are guessed before the larger model looks.
        max_tokens: of each answer.
        tier: as in `load`.

    Raises:
        BadRequest: a model is on a server, or there is no question.

    Example:
        guessed("moe", "instruct-tiny", ["Where is Lima?"], tier="tiny")      # 0.6
    """
    paths = [choose(each, tier).path for each in (name, draft)]
    if None in paths or not questions:
        raise BadRequest(
            _("Two models on this machine and a question are needed."), _("Name bundled models, such as instruct-tiny.")
        )
    return WORKER.call(_share, [str(path) for path in paths], list(questions), drafted, max_tokens)


def _share(paths: list[str], questions: list[str], drafted: int, max_tokens: int) -> float:
    mlx_lm = import_mlx_lm()
    with quiet_transformers():
        (model, tokenizer), (small, _tokenizer) = (mlx_lm.load(path) for path in paths)
    from_draft = total = 0
    for question in questions:
        prompt = tokenizer.apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True)
        for piece in mlx_lm.stream_generate(
            model, tokenizer, prompt, max_tokens=max_tokens, draft_model=small, num_draft_tokens=drafted
        ):
            from_draft += bool(piece.from_draft)
            total += 1
    return from_draft / total
