"""A conversation with a model: every question is asked with all that was said before."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Unpack

from labs_helper.common.markup import escape, printable
from labs_helper.common.translate import _
from labs_helper.engines.base import Token
from labs_helper.engines.worker import Job
from labs_helper.errors import BadRequest, LabError
from labs_helper.models.answers import Answer
from labs_helper.models.requests import Options, sources, takes_options

if TYPE_CHECKING:
    from labs_helper.models.model import Model


class Conversation:
    """Questions and answers with one model. Get one from `model.conversation()`.

    A question that fails, or is stopped before its first token, leaves no trace in the history: roles must alternate.

    Attributes:
        model: the model that answers.
        system: instructions before the conversation; may be changed at any time.
        messages: the history, as {"role": ..., "content": ...}, user messages with "images" where they showed some.
            A plain list: read it, edit it, delete from it. What it holds is what the model gets.

    Example:
        talk = load("instruct").conversation(system="Answer in one word.")
        talk.ask("Where is Changsha?")
        talk.ask("And Paris?").text
        talk.messages
    """

    def __init__(
        self, model: Model, *, system: str | None = None, messages: list[dict[str, Any]] | None = None
    ) -> None:
        self.model, self.system = model, system
        self.messages: list[dict[str, Any]] = list(messages or ())

    @takes_options
    def ask(
        self, question: str, *, on_token: Callable[[Token], None] | None = None, **options: Unpack[Options]
    ) -> Answer:
        """Ask the next question and wait for the answer. Options and errors as for `Model.ask`.

        Example:
            talk.ask("What is in the picture?", images="street.png")
        """
        prompt, asked = self._next(question, options)
        return self._add(asked, self.model.ask(prompt, on_token=on_token, **options))

    @takes_options
    def stream(self, question: str, **options: Unpack[Options]) -> Generator[Token, None, None]:
        """Ask the next question and get the answer token by token. Leaving the loop stops the generation.

        Example:
            for token in talk.stream("Count from 1 to 40."):
                print(token.text, end="", flush=True)
        """
        prompt, asked = self._next(question, options)
        return self._streamed(prompt, asked, options)

    @takes_options
    def submit(
        self,
        question: str,
        *,
        on_token: Callable[[Token], None] | None = None,
        on_done: Callable[[Answer], None] | None = None,
        on_error: Callable[[BaseException], None] | None = None,
        on_loading: Callable[[float | None], None] | None = None,
        **options: Unpack[Options],
    ) -> Job[Answer]:
        """Ask the next question and return at once with a Job; for widgets. See `Model.submit`.

        Example:
            talk.submit("Hello", on_done=print).wait(timeout=60)
        """
        prompt, asked = self._next(question, options)

        def done(answer: Answer) -> None:
            self._add(asked, answer)
            if on_done is not None:
                on_done(answer)

        return self.model.submit(
            prompt, on_token=on_token, on_done=done, on_error=on_error, on_loading=on_loading, **options
        )

    def clear(self) -> None:
        """Forget all messages; the system prompt stays."""
        self.messages.clear()

    @property
    def last(self) -> str:
        """The newest reply; empty before the first."""
        return next((message["content"] for message in reversed(self.messages) if message["role"] == "assistant"), "")

    def __len__(self) -> int:
        return len(self.messages)

    def __str__(self) -> str:
        return "\n".join(f"{_speaker(message)}: {printable(message['content'])}" for message in self._shown())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return "".join(
            f'<p style="white-space:pre-wrap"><strong>{escape(_speaker(message))}:</strong> '
            f"{escape(message['content'])}</p>"
            for message in self._shown()
        )

    def _shown(self) -> list[dict[str, Any]]:
        return ([{"role": "system", "content": self.system}] if self.system else []) + self.messages

    def _next(self, question: str, options: Options) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """The prompt with the next question, and the question as a message. Takes `images` out of the options."""
        if "system" in options:
            raise BadRequest(
                _("A conversation has its own system prompt."), _("Set it with `talk.system = ...` instead.")
            )
        asked: dict[str, Any] = {"role": "user", "content": question}
        if images := sources(options.pop("images", ())):
            asked["images"] = images
        before = [{"role": "system", "content": self.system}] if self.system else []
        return [*before, *self.messages, asked], asked

    def _streamed(
        self, prompt: list[dict[str, Any]], asked: dict[str, Any], options: Options
    ) -> Generator[Token, None, None]:
        failed = False
        try:
            yield from self.model.stream(prompt, **options)
        except LabError:
            failed = True
            raise
        finally:
            # Also after the loop was left: what was said so far belongs to the history.
            if not failed and self.model.last is not None and self.model.last.prompt.text:
                self._add(asked, self.model.last)

    def _add(self, asked: dict[str, Any], answer: Answer) -> Answer:
        if answer.text:
            self.messages += [asked, {"role": "assistant", "content": answer.text}]
        return answer


def _speaker(message: dict[str, Any]) -> str:
    return {"user": _("You"), "system": _("System prompt")}.get(message["role"], _("Model"))
