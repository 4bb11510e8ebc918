"""A `Model`: ask it, stream from it, stop it, look at its prompts and tokens, give its memory back."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Unpack

from labs_helper.catalog import ModelCard
from labs_helper.common import settings
from labs_helper.common.markup import printable
from labs_helper.common.shell import running_shell
from labs_helper.common.translate import _
from labs_helper.engines.base import Engine, Prepared, Prompt, Report, Request, Token
from labs_helper.engines.worker import WORKER, Job
from labs_helper.errors import BadRequest, CutOff, EndpointFailed
from labs_helper.models.answers import Answer, answer_of
from labs_helper.models.live import LIVE
from labs_helper.models.requests import Options, Prompting, complete, make_request, takes_options

if TYPE_CHECKING:
    from labs_helper.models.conversation import Conversation
    from labs_helper.reference.model import Reference
    from labs_helper.reference.record import Attention


@dataclass(frozen=True)
class Question:
    """A checked request, with the schema as the caller wrote it, and the reference that will read the answer."""

    request: Request
    schema: Any = None
    reference: Reference | None = None


@dataclass(frozen=True)
class Loading:
    """The model is being loaded (`seconds` is None), or it is loaded now."""

    name: str
    seconds: float | None = None

    def show(self) -> None:
        """Print it: in a notebook on stdout, in a script on stderr, where it does not mix with results."""
        out = sys.stdout if _in_notebook() else sys.stderr
        if self.seconds is None:
            print(_("Loading {name} ...").format(name=self.name), end="", flush=True, file=out)
        else:
            print(f" {self.seconds:.1f} s", flush=True, file=out)


class Model:
    """A model you can ask. Get one from `load`; the weights are read with the first question.

    Attributes:
        card: what the catalog knows about it.
        path: its folder; None for a model on a server.
        reason: why this model was chosen.
        adapter: the name of the adapter that it answers with; empty without one.
        last: the newest Answer; also what there is of one that was interrupted or broke off.
        takes_images: whether it takes pictures.
        has_experts: whether it has experts, and its engine reports which ones were chosen.

    Example:
        model = load("instruct")
        print(model.ask("What is 47 + 38?"))
    """

    def __init__(
        self, card: ModelCard, engine: Engine, path: Path | None = None, reason: str = "", adapter: str = ""
    ) -> None:
        self.card, self.path, self.reason, self.adapter = card, path, reason, adapter
        self.last: Answer | None = None
        # A server may take pictures or not; only its answer can tell.
        self.takes_images = card.architecture == "phi3_v" or card.format == "endpoint"
        self.has_experts = card.architecture == "phimoe" and card.format == "mlx"
        self._engine = engine
        self._jobs: set[Job[Answer]] = set()
        self._streams: set[Job[Answer]] = set()  # being read, also when the worker has finished them
        self._answering = 0  # requests that are being computed: more than one if a callback asks again
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Its name in the catalog, or that of its folder; with its adapter's."""
        return f"{self.card.name} + {self.adapter}" if self.adapter else self.card.name

    @property
    def role(self) -> str:
        """What it is for: "instruct", "instruct-previous", ... or "custom"."""
        return self.card.role

    @property
    def tier(self) -> str:
        """ "tiny" (bundled), "real", "custom", or "endpoint" (on a server)."""
        return self.card.tier

    @property
    def loaded(self) -> bool:
        """Whether its weights are in memory."""
        return self._engine.loaded

    @property
    def answering(self) -> bool:
        """Whether it is computing an answer."""
        return self._answering > 0

    @property
    def engine(self) -> Engine:
        """What runs it. For experiments; use it in the worker's thread only (labs_helper.engines.worker)."""
        return self._engine

    def __repr__(self) -> str:
        if self.card.format == "endpoint":
            return printable(f"Model({self.name}, endpoint)")
        state = _("loaded") if self.loaded else _("not loaded yet")
        # A folder may name itself and its kind as it likes.
        return printable(f"Model({self.name}, {self.card.architecture}, {self.tier}, {state})")

    # -- asking -------------------------------------------------------------------------------------

    @takes_options
    def ask(
        self, prompt: Prompting, *, on_token: Callable[[Token], None] | None = None, **options: Unpack[Options]
    ) -> Answer:
        """Ask a question and wait for the whole answer.

        Interrupting the kernel stops at the next token; `model.last` then holds what there was.

        Args:
            prompt: a question, or a conversation as a list of {"role": ..., "content": ...}, the newest message last.
                A user message may carry "images".
            on_token: called with each Token as it comes, in the caller's thread.
            **options: see `labs_helper.models.requests.Options`: images, num_crops, system, max_tokens, temperature,
                top_p, seed, top_logprobs, schema, record_experts, without_experts, record_attention.

        Raises:
            BadRequest, BadImage: the question makes no sense as it is.
            CutOff: max_tokens was reached before the JSON of a schema was complete.
            ModelNotHere, CheckpointRefused, NotEnoughMemory: the model cannot be loaded.
            EndpointFailed: the server did not answer as it should.

        Example:
            model.ask("Where is Changsha?", max_tokens=40).text
        """
        answers: list[Answer] = []
        with closing(self._tokens(self._question(prompt, options), answers.append)) as tokens:
            for token in tokens:
                if on_token is not None:
                    on_token(token)
        return answers[0]

    @takes_options
    def stream(self, prompt: Prompting, **options: Unpack[Options]) -> Generator[Token, None, None]:
        """Ask a question and get the answer token by token. Arguments and errors as for `ask`.

        Leaving the loop early stops the generation. When the loop has ended, `model.last` is the Answer.

        Example:
            for token in model.stream("Count from 1 to 40."):
                print(token.text, end="", flush=True)
        """
        return self._tokens(self._question(prompt, options), lambda answer: None)

    @takes_options
    def submit(
        self,
        prompt: Prompting,
        *,
        on_token: Callable[[Token], None] | None = None,
        on_done: Callable[[Answer], None] | None = None,
        on_error: Callable[[BaseException], None] | None = None,
        on_loading: Callable[[float | None], None] | None = None,
        **options: Unpack[Options],
    ) -> Job[Answer]:
        """Ask a question and return at once with a Job (stop, wait, done). For widgets. Options as for `ask`.

        A request that is stopped before it starts ends with an empty "cancelled" Answer.

        Args:
            prompt: as for `ask`.
            on_token, on_done, on_error: called in the worker's thread, so they must be quick.
            on_loading: called with None when the model starts to load and with the seconds when it is loaded.

        Raises:
            BadRequest, BadImage: at once; every other error goes to `on_error` and `Job.wait`.

        Example:
            job = model.submit("Hello", on_token=lambda token: print(token.text))
            job.wait(timeout=60).text
        """

        def report(item: Token | Loading) -> None:
            if isinstance(item, Loading):
                if on_loading is not None:
                    on_loading(item.seconds)
            elif on_token is not None:
                on_token(item)

        return self._submit(self._question(prompt, options), report, on_done, on_error)

    def conversation(self, *, system: str | None = None) -> Conversation:
        """A conversation that remembers: each question is asked with all that was said before.

        Example:
            talk = model.conversation(system="Answer in one word.")
            talk.ask("Where is Changsha?")
            talk.ask("And Paris?")
        """
        from labs_helper.models.conversation import Conversation

        return Conversation(self, system=system)

    def stop(self) -> None:
        """Stop this model's requests: the running one at its next token, waiting ones before they start."""
        with self._lock:
            jobs = self._jobs | self._streams
        for job in jobs:
            job.stop()

    # -- prompts and tokens -------------------------------------------------------------------------

    @takes_options
    def prompt(self, prompt: Prompting, **options: Unpack[Options]) -> Prompt:
        """The exact text and token ids that the model would get, without generating. Arguments as for `ask`.

        With an endpoint: the messages as they would be sent, in JSON, and no ids. The server makes the prompt.

        Example:
            print(model.prompt("Hi").text)
        """
        question = self._question(prompt, options)
        self._need_tokenizer()
        return self._engine.render(question.request)

    def answered(self, prompt: Prompting, answer: str) -> tuple[tuple[int, ...], int]:
        """A question with an answer to it as token ids, `<|end|>` included, and the place of the answer's first token.

        Raises:
            BadRequest: the model is on a server, which keeps its tokenizer.

        Example:
            ids, start = model.answered("Where is Lima?", "Lima is a city in Peru.")
        """
        question = self._question(prompt, {})
        self._need_tokenizer()
        if (cut := getattr(self._engine, "answered", None)) is None:
            raise BadRequest(
                _("The tokenizer of {name} is on its server.").format(name=self.name),
                _('Use load("instruct", tier="tiny").'),
            )
        found: tuple[tuple[int, ...], int] = cut(question.request, answer)
        return found

    def tokenize(self, text: str) -> Prompt:
        """A text cut into tokens, without the chat template.

        The text is normalised (NFC) as messages are. A control token in it is one: this is no message.

        Raises:
            BadRequest: not a string, or the model is on a server, which keeps its tokenizer.

        Example:
            model.tokenize("안녕하세요").pieces
        """
        if not isinstance(text, str):
            raise BadRequest(_("A text is a string, not {kind}.").format(kind=type(text).__name__), _("Give a string."))
        self._need_tokenizer()
        return self._engine.encode(text)

    def count_tokens(self, text: str) -> int:
        """How many tokens a text takes, without the chat template.

        Example:
            model.count_tokens("Where is Changsha?")
        """
        return len(self.tokenize(text))

    def _need_tokenizer(self) -> None:
        if not self._engine.tokenizer_ready:
            WORKER.call(self._engine.load_tokenizer)

    # -- memory -------------------------------------------------------------------------------------

    def release(self) -> None:
        """Give the memory back. The next question loads the model again.

        Example:
            model.release()
        """
        self.stop()
        WORKER.call(self._engine.close)

    # -- the way of one question --------------------------------------------------------------------

    def _question(self, prompt: Prompting, options: Options) -> Question:
        whole = complete(options)
        request = make_request(prompt, whole, takes_images=self.takes_images, name=self.name)
        if not self.has_experts and (request.record_experts or request.without_experts):
            if self.card.architecture == "phimoe":
                what = _("The engine that runs {name} does not report which experts it chose.")
            else:
                what = _("{name} is a dense model: every token goes through all of it, and nothing is chosen.")
            raise BadRequest(what.format(name=self.name), _('Use a model with experts that MLX runs: load("moe").'))
        # Read at once: what the reference cannot do is refused before anything is generated.
        return Question(request, whole["schema"], _reference(self) if whole["record_attention"] else None)

    def _submit(
        self,
        question: Question,
        report: Callable[[Token | Loading], None],
        on_done: Callable[[Answer], None] | None = None,
        on_error: Callable[[BaseException], None] | None = None,
    ) -> Job[Answer]:
        """Queue a question; `report` is called in the worker's thread."""
        empty = Report(sampling=question.request.sampling)

        def done(answer: Answer) -> None:
            self._jobs.discard(job)
            self.last = answer
            if on_done is not None:
                on_done(answer)

        def failed(error: BaseException) -> None:
            self._jobs.discard(job)
            if on_error is not None:
                on_error(error)

        ready = threading.Event()  # the job may run before its name below exists

        def work(job: Job[Answer]) -> Answer:
            ready.wait()
            return self._generate(question, job.cancelled, report)

        job = WORKER.submit(work, when_stopped=lambda: answer_of(self.name, [], empty), on_done=done, on_error=failed)
        with self._lock:
            self._jobs.add(job)
        ready.set()
        return job

    def _generate(
        self, question: Question, cancelled: Callable[[], bool], report: Callable[[Token | Loading], None]
    ) -> Answer:
        """Load if needed and generate. Runs in the worker's thread."""
        engine, request, tokens = self._engine, question.request, list[Token]()
        self._answering += 1
        try:
            if engine.loaded:
                prepared = engine.prepare(request)
            else:
                start = time.perf_counter()
                report(Loading(self.name))
                try:
                    _release_others(self)
                    prepared = engine.prepare(request)
                finally:
                    report(Loading(self.name, time.perf_counter() - start))
            if question.reference is not None:
                question.reference.refuse_record(prepared.total_tokens, prepared.total_tokens)
            with closing(engine.stream(prepared, cancelled)) as stream:
                for token in stream:
                    tokens.append(token)
                    report(token)
        except EndpointFailed:
            if tokens:  # a server broke off: what it had said is not lost
                self.last = answer_of(self.name, tokens, engine.report, question.schema)
            raise
        finally:
            self._answering -= 1
        answer = answer_of(self.name, tokens, engine.report, question.schema)
        if question.reference is not None:
            answer = replace(answer, looked=_looked(question.reference, prepared, tokens))
        if request.schema is not None and answer.finish_reason == "length":
            self.last = answer
            raise CutOff(
                _("The answer was cut off at max_tokens={count}, before its JSON was complete.").format(
                    count=request.max_tokens
                ),
                _("Raise max_tokens. `model.last` has the part that arrived."),
            )
        return answer

    def _tokens(self, question: Question, keep: Callable[[Answer], None]) -> Generator[Token, None, None]:
        """The tokens of a question for the calling thread; the Answer goes to `keep` and `last`."""
        if WORKER.is_current():
            yield from self._tokens_inside(question, keep)
            return
        box: SimpleQueue[Token | Loading | Answer | BaseException] = SimpleQueue()
        job = self._submit(question, box.put, box.put, box.put)
        with self._lock:
            self._streams.add(job)
        taken = 0
        ahead = complete = False
        try:
            while True:
                item = box.get()
                if isinstance(item, Token) and job.cancelled():
                    ahead = True  # a fast model may be far ahead of its reader, who wants no more
                elif isinstance(item, Token):
                    taken += 1
                    yield item
                elif isinstance(item, Loading):
                    item.show()
                elif isinstance(item, Answer):
                    complete = True
                    item = item.shortened(taken) if ahead else item
                    keep(item)
                    self.last = item
                    return
                else:
                    complete = True
                    raise item
        finally:
            self._streams.discard(job)
            if not complete:
                # Interrupted, or the loop was left: stop, and wait for the token that is being computed.
                job.stop()
                job.settle(timeout=10)
                if job.done and job.error is None:
                    self.last = job.wait().shortened(taken)

    def _tokens_inside(self, question: Question, keep: Callable[[Answer], None]) -> Generator[Token, None, None]:
        """A callback of a running request asks another question: waiting for the queue would never end."""
        items: list[Token | Loading] = []
        answer = self._generate(question, lambda: False, items.append)
        keep(answer)
        self.last = answer
        yield from (item for item in items if isinstance(item, Token))


def _release_others(loading: Model) -> None:
    """Give back the other large models before one is loaded. Runs in the worker's thread.

    The bundled models are small and stay. So does a model that is answering: its callback asked this one.
    """
    if loading.tier == "tiny" or settings.KEEP_MODELS.get():
        return
    for other in list(LIVE.values()):
        if other is not loading and other.tier not in ("tiny", "endpoint") and other.loaded and not other.answering:
            other.engine.close()


def _reference(model: Model) -> Reference:
    from labs_helper.reference.reading import read  # NumPy is imported for those who ask

    return read(model)


def _looked(reference: Reference, prepared: Prepared, tokens: list[Token]) -> Attention:
    from labs_helper.reference.record import record

    crops = prepared.pictures[0].num_crops if prepared.pictures else 1
    return record(reference, prepared, tokens, crops)


def _in_notebook() -> bool:
    return hasattr(running_shell(), "kernel")
