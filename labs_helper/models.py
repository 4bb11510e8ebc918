"""`load` a model, ask it, and look at the answer."""

from __future__ import annotations

import html
import math
import operator
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from labs_helper import corrections, endpoints, machine
from labs_helper.catalog import ModelCard
from labs_helper.corrections import vision
from labs_helper.engines import constrained
from labs_helper.engines.base import Alternative, Engine, Prompt, Report, Request, Sampling, Token
from labs_helper.engines.llama_cpp import LlamaCpp
from labs_helper.engines.mlx_text import MLXText
from labs_helper.engines.mlx_vision import MLXVision
from labs_helper.engines.openai_api import OpenAIApi
from labs_helper.errors import BadRequest, CutOff
from labs_helper.images import checked_crops, open_image
from labs_helper.worker import WORKER, Job

if TYPE_CHECKING:
    import pandas

    from labs_helper.engines.experts import Routing

__all__ = ["Alternative", "Answer", "Model", "Prompt", "Request", "Sampling", "Token", "load", "memory"]

ROLES = ("system", "user", "assistant")
MOST_ALTERNATIVES = 50


# -- answers ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """A finished answer and everything that is known about how it came about.

    text: the answer; stop tokens are never part of it.
    finish_reason: "stop" (the model ended it), "length" (max_tokens reached) or "cancelled"; an endpoint may have
        others.
    tokens: the generated tokens, a stop token included; of an endpoint, the pieces of text as they came.
    prompt_tokens, cached_tokens: tokens of the prompt, and how many of them were still in the prompt cache.
    seconds_to_first_token, seconds: from the start of the work; waiting in the queue and loading are not counted.
    tokens_per_second: speed after the first token; None for fewer than two tokens.
    peak_memory: the most memory MLX used during this answer, in bytes; with llama.cpp, what the whole process held at
        its end; 0 for an endpoint.
    rope_table: LongRoPE's table for this request, "short" or "long"; None for models without LongRoPE.
    sampling: as used, with the seed that was drawn if none was given.
    images: tokens of each picture, in order; they are part of prompt_tokens.
    experts: what the routers did with each token, as arrays; None unless `record_experts` asked for it.

    Example:
        answer = load("instruct").ask("What is the capital of France?")
        answer.text, answer.finish_reason
    """

    text: str
    finish_reason: str
    model: str
    prompt: Prompt
    tokens: tuple[Token, ...]
    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int
    seconds_to_first_token: float
    seconds: float
    tokens_per_second: float | None
    peak_memory: int
    rope_table: str | None
    sampling: Sampling
    images: tuple[int, ...] = ()
    experts: Routing | None = field(default=None, repr=False, compare=False)

    @cached_property
    def routing(self) -> pandas.DataFrame:
        """Which experts each token went to: a row for each token of prompt and answer, layer and rank.

        Columns: position (from 0), token, part ("prompt" or "answer"), layer, expert, rank (1 is the better), weight
        (what the expert's output is multiplied with; the two of a token need not sum to 1) and gate (the router's
        value for this expert; `experts.gates` has those of all experts). The last token of the answer is here too:
        it went through the model, though nothing came after it.
        Raises BadRequest if the routers were not recorded.

        Example:
            answer = load("moe").ask("What is 47 + 38?", record_experts=True)
            answer.routing.query("layer == 0 and rank == 1")
        """
        import numpy as np
        import pandas

        if self.experts is None:
            raise BadRequest("The experts of this answer were not recorded.", "Ask with record_experts=True.")
        chosen = self.experts.experts
        position, layer, rank = np.indices(chosen.shape).reshape(3, -1)
        pieces = np.array([*self.prompt.pieces, *(token.piece for token in self.tokens)], dtype=object)
        return pandas.DataFrame(
            {
                "position": position,
                "token": pieces[position],
                "part": np.where(position < self.prompt_tokens, "prompt", "answer"),
                "layer": layer,
                "expert": chosen.ravel(),
                "rank": rank + 1,
                "weight": self.experts.weights.ravel(),
                "gate": np.take_along_axis(self.experts.gates, chosen, axis=-1).ravel(),
            }
        )

    @property
    def prefilled_tokens(self) -> int:
        """Prompt tokens that had to go through the model: those that were not in the prompt cache."""
        return self.prompt_tokens - self.cached_tokens

    def statistics(self) -> dict[str, str | int]:
        """The numbers of this answer, readable and in a good order.

        Example:
            answer.statistics()["generated tokens"]
        """
        speed = "too short to say" if self.tokens_per_second is None else f"{self.tokens_per_second:.1f}"
        numbers = {
            "model": self.model,
            "finish reason": self.finish_reason,
            "prompt tokens": self.prompt_tokens,
            **({"of these for pictures": " + ".join(map(str, self.images))} if self.images else {}),
            "of these from the cache": self.cached_tokens,
            "generated tokens": self.generated_tokens,
            "seconds to the first token": f"{self.seconds_to_first_token:.3f}",
            "seconds": f"{self.seconds:.3f}",
            "tokens per second": speed,
        }
        if self.peak_memory:
            numbers["peak memory"] = machine.size(self.peak_memory)
        if self.rope_table:
            numbers["LongRoPE table"] = self.rope_table
        if self.sampling.temperature > 0:
            numbers["sampling"] = (
                f"temperature {self.sampling.temperature:g}, top-p {self.sampling.top_p:g}, seed {self.sampling.seed}"
            )
        return numbers

    @property
    def statistics_line(self) -> str:
        """The most useful numbers in one line."""
        speed = "" if self.tokens_per_second is None else f", {self.tokens_per_second:.0f} tokens/s"
        cached = f" ({self.cached_tokens} from the cache)" if self.cached_tokens else ""
        return (
            f"{self.model}: {self.prompt_tokens} prompt tokens{cached}, {self.generated_tokens} generated, first "
            f"after {self.seconds_to_first_token:.2f} s{speed}, {self.finish_reason}"
        )

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"{self.text}\n[{self.statistics_line}]"

    def _repr_html_(self) -> str:
        return (
            f'<div style="white-space:pre-wrap">{html.escape(self.text)}</div>'
            f"<p><small>{html.escape(self.statistics_line)}</small></p>"
        )


def _answer(model: str, tokens: list[Token], report: Report) -> Answer:
    generated = len(tokens) if report.generated_tokens is None else report.generated_tokens
    after = report.seconds - report.prefill_seconds
    return Answer(
        text="".join(token.text for token in tokens),
        finish_reason=report.finish_reason,
        model=model,
        prompt=report.prompt,
        tokens=tuple(tokens),
        prompt_tokens=report.prompt_tokens,
        cached_tokens=report.cached_tokens,
        generated_tokens=generated,
        seconds_to_first_token=report.prefill_seconds,
        seconds=report.seconds,
        tokens_per_second=(generated - 1) / after if generated > 1 and after > 0 else None,
        peak_memory=report.peak_memory,
        rope_table=report.rope_table,
        sampling=report.sampling,
        images=report.images,
        experts=report.routing,
    )


# -- models -----------------------------------------------------------------------------------------------


class _Loading:
    """News for whoever waits: the model is being loaded (seconds is None), or it is loaded now."""

    def __init__(self, name: str, seconds: float | None = None):
        self.name, self.seconds = name, seconds

    def show(self) -> None:
        # In a notebook on stdout, where it is not painted as an error; in a script on stderr, so that a program
        # may print its results to stdout.
        out = sys.stdout if _in_notebook() else sys.stderr
        if self.seconds is None:
            print(f"Loading {self.name} ...", end="", flush=True, file=out)
        else:
            print(f" {self.seconds:.1f} s", flush=True, file=out)


def _in_notebook() -> bool:
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return get_ipython is not None and hasattr(get_ipython(), "kernel")


class Model:
    """A model you can ask. Get one from `load`; the weights are read with the first question.

    sees: whether it takes pictures.
    routes: whether it has experts and routers that choose among them.

    Example:
        model = load("instruct")
        print(model.ask("What is 47 + 38?"))
    """

    def __init__(self, card: ModelCard, path: Path | None, reason: str):
        self.card, self.path, self.reason = card, path, reason
        self.last: Answer | None = None
        # An endpoint may see or not; only it can say.
        self.sees = card.architecture == "phi3_v" or card.format == "endpoint"
        # Other engines do not tell what the routers do.
        self.routes = card.architecture == "phimoe" and card.format == "mlx"
        self._engine: Engine = _engine(card, path)
        self._jobs: set[Job] = set()
        self._answering = 0  # requests that are being computed: more than one if a callback asks again
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Its name in the catalog, or of its folder."""
        return self.card.name

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
    def engine(self) -> Engine:
        """What runs it. For experiments; use it in the worker's thread only (labs_helper.worker)."""
        return self._engine

    def __repr__(self) -> str:
        if self.card.format == "endpoint":
            return f"Model({self.name}, endpoint)"
        state = "loaded" if self.loaded else "not loaded yet"
        return f"Model({self.name}, {self.card.architecture}, {self.tier}, {state})"

    # -- asking -------------------------------------------------------------------------------------

    def ask(
        self, prompt, *, images=(), num_crops: int | None = None, system: str | None = None, max_tokens: int = 128,
        temperature: float = 0.0, top_p: float = 1.0, seed: int | None = None, alternatives: int = 0,
        record_experts: bool = False, without_experts=(), schema=None,
        on_token: Callable[[Token], None] | None = None,
    ) -> Answer:  # fmt: skip
        """Ask a question and wait for the whole answer.

        prompt: a question, or a conversation as a list of {"role": ..., "content": ...}, the newest last. A user
            message may carry "images".
        images: pictures of the newest message, in order: paths, bytes, Pillow images, arrays (see
            `labs_helper.images.open_image`), or one alone. Tags such as <|image_1|> are written before the question,
            unless the question has them. For models that see, load("vision").
        num_crops: tiles a picture is cut into at most; more show more detail and cost more tokens and time. None
            takes the checkpoint's own number.
        system: instructions that stand before the conversation.
        max_tokens: the longest answer, in tokens.
        temperature, top_p, seed: see `Sampling`. Temperature 0 always gives the same answer.
        alternatives: how many of the most likely tokens to record at each place.
        record_experts: keep which experts every token of prompt and answer went to, for `Answer.routing`. The answer
            is the same. The prompt cache is not used, since what is read from it passes no router.
        without_experts: (layer, expert) pairs, counted from 0, that no router may choose: to see what they are good
            for. Both are for models with experts, load("moe").
        on_token: called with each Token as it comes, in the caller's thread.
        schema: a JSON schema (dict) or pydantic class. The model then writes nothing but JSON that fits it: a token
            that would break it is ruled out before one is picked. What the JSON says may still be wrong. Raises CutOff
            if max_tokens is reached before it is complete, EndpointFailed if a server answers without JSON.
        Interrupting the kernel stops at the next token; `model.last` then holds what there was.
        Raises BadRequest, BadImage, ModelNotHere, CheckpointRefused or NotEnoughMemory.

        Example:
            model.ask("Where is Changsha?", max_tokens=40).text
        """
        request = self._request(
            prompt, images, num_crops, system, max_tokens, temperature, top_p, seed, alternatives, record_experts,
            without_experts, schema,
        )  # fmt: skip
        outcome: list[Answer] = []
        with closing(self._tokens(request, outcome)) as tokens:
            for token in tokens:
                if on_token is not None:
                    on_token(token)
        return outcome[0]

    def stream(
        self, prompt, *, images=(), num_crops: int | None = None, system: str | None = None, max_tokens: int = 128,
        temperature: float = 0.0, top_p: float = 1.0, seed: int | None = None, alternatives: int = 0,
        record_experts: bool = False, without_experts=(), schema=None,
    ) -> Iterator[Token]:  # fmt: skip
        """Ask a question and get the answer token by token. Arguments and errors as for `ask`.

        Leaving the loop early stops the generation. When the loop has ended, `model.last` is the Answer.

        Example:
            for token in model.stream("Count from 1 to 40."):
                print(token.text, end="", flush=True)
        """
        request = self._request(
            prompt, images, num_crops, system, max_tokens, temperature, top_p, seed, alternatives, record_experts,
            without_experts, schema,
        )  # fmt: skip
        return self._tokens(request, [])

    def submit(
        self, prompt, *, on_token: Callable[[Token], None] | None = None,
        on_done: Callable[[Answer], None] | None = None, on_error: Callable[[BaseException], None] | None = None,
        on_loading: Callable[[float | None], None] | None = None, images=(), num_crops: int | None = None,
        system: str | None = None, max_tokens: int = 128, temperature: float = 0.0, top_p: float = 1.0,
        seed: int | None = None, alternatives: int = 0, record_experts: bool = False, without_experts=(), schema=None,
    ) -> Job:  # fmt: skip
        """Ask a question and return at once with a Job (stop, wait, done). For widgets.

        on_token, on_done, on_error: called in the worker's thread, so they must be quick. A request that is
            stopped before it starts ends with an empty "cancelled" Answer.
        on_loading: called with None when the model starts to load and with the seconds when it is loaded.
        The rest as for `ask`. A request that makes no sense raises BadRequest or BadImage here.

        Example:
            job = model.submit("Hello", on_token=lambda token: print(token.text))
            job.wait(timeout=60).text
        """
        request = self._request(
            prompt, images, num_crops, system, max_tokens, temperature, top_p, seed, alternatives, record_experts,
            without_experts, schema,
        )  # fmt: skip

        def news(item) -> None:
            if isinstance(item, _Loading):
                if on_loading is not None:
                    on_loading(item.seconds)
            elif on_token is not None:
                on_token(item)

        return self._start(request, news, on_done, on_error)

    def stop(self) -> None:
        """Stop this model's requests: the running one at its next token, waiting ones before they start."""
        with self._lock:
            jobs = list(self._jobs)
        for job in jobs:
            job.stop()

    # -- prompts and tokens -------------------------------------------------------------------------

    def prompt(self, prompt, *, images=(), num_crops: int | None = None, system: str | None = None) -> Prompt:
        """The exact text and token ids that the model would get, without generating. Arguments as for `ask`.

        With an endpoint, the messages as they would be sent, in JSON, and no ids: the server makes the prompt.

        Example:
            print(model.prompt("Hi").text)
        """
        request = self._request(prompt, images, num_crops, system, 1)
        self._need_tokenizer()
        return self._engine.render(request)

    def tokenize(self, text: str) -> Prompt:
        """A text cut into tokens as it is, without the chat template. Raises BadRequest with an endpoint.

        Example:
            model.tokenize("안녕하세요").pieces
        """
        if not isinstance(text, str):
            raise BadRequest(f"A text is a string, not {type(text).__name__}.", "Give a string.")
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

    # -- inside -------------------------------------------------------------------------------------

    def _request(
        self, prompt, images, num_crops, system, max_tokens, temperature=0.0, top_p=1.0, seed=None, alternatives=0,
        record_experts=False, without_experts=(), schema=None,
    ) -> Request:  # fmt: skip
        messages = _messages(prompt, system)
        messages[-1]["images"] += _sources(images)
        shown = any(message["images"] for message in messages)
        if not self.sees and (shown or num_crops is not None):
            raise BadRequest(
                f"{self.name} is a text model and takes no pictures.", 'Take a model that sees: load("vision").'
            )
        without = _pairs(without_experts)
        if not self.routes and (record_experts or without):
            raise BadRequest(
                f"What runs {self.name} does not tell which experts it chose."
                if self.card.architecture == "phimoe" else
                f"{self.name} is a dense model: every token goes through all of it, and nothing is chosen.",
                'Take a model with experts that MLX runs: load("moe").',
            )  # fmt: skip
        if num_crops is not None:
            num_crops = checked_crops(num_crops)
        messages, pictures = _with_tags(messages) if self.sees else (messages, ())
        return Request(
            messages=tuple({"role": message["role"], "content": message["content"]} for message in messages),
            images=pictures,
            num_crops=num_crops,
            sampling=Sampling(
                _number("temperature", temperature, 0, 100),
                _number("top_p", top_p, 0, 1, above=True),
                None if seed is None else _whole("seed", seed, 0, 2**32 - 1),
            ),
            max_tokens=_whole("max_tokens", max_tokens, 1, 2**31),
            alternatives=_whole("alternatives", alternatives, 0, MOST_ALTERNATIVES),
            schema=constrained.schema_text(schema),
            record_experts=bool(record_experts),
            without_experts=without,
        )

    def _start(self, request: Request, news, on_done=None, on_error=None) -> Job:
        """Queue a request; `news` gets _Loading and Token, in the worker's thread."""
        empty = Report(sampling=request.sampling)

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

        def work(job: Job) -> Answer:
            ready.wait()
            return self._generate(request, job.cancelled, news)

        job = WORKER.submit(
            work, when_stopped=lambda: _answer(self.name, [], empty), on_done=done, on_error=failed
        )
        with self._lock:
            self._jobs.add(job)
        ready.set()
        return job

    def _generate(self, request: Request, cancelled: Callable[[], bool], news) -> Answer:
        """Load if needed and generate. Runs in the worker's thread."""
        engine, tokens = self._engine, []
        self._answering += 1
        try:
            if not engine.loaded:
                start = time.perf_counter()
                news(_Loading(self.name))
                try:
                    _make_room(self)
                    engine.prepare(request)
                finally:
                    news(_Loading(self.name, time.perf_counter() - start))
            with closing(engine.stream(request, cancelled)) as stream:
                for token in stream:
                    tokens.append(token)
                    news(token)
        finally:
            self._answering -= 1
        answer = _answer(self.name, tokens, engine.report)
        if request.schema is not None and answer.finish_reason == "length":
            self.last = answer
            raise CutOff(
                f"The answer was cut off at max_tokens={request.max_tokens}, before its JSON was complete.",
                "Raise max_tokens. The part that there is: `model.last`.",
            )
        return answer

    def _tokens(self, request: Request, outcome: list[Answer]) -> Iterator[Token]:
        """The tokens of a request for the calling thread; the Answer goes to `outcome` and `last`."""
        if WORKER.is_current():
            # A callback of a running request asks another question: waiting for the queue would never end.
            items: list = []
            answer = self._generate(request, lambda: False, items.append)
            outcome.append(answer)
            self.last = answer
            yield from (item for item in items if isinstance(item, Token))
            return
        box: SimpleQueue = SimpleQueue()
        job = self._start(request, box.put, box.put, box.put)
        taken = 0
        complete = False
        try:
            while True:
                item = box.get()
                if isinstance(item, Token):
                    taken += 1
                    yield item
                elif isinstance(item, _Loading):
                    item.show()
                elif isinstance(item, Answer):
                    complete = True
                    outcome.append(item)
                    self.last = item
                    return
                else:
                    complete = True
                    raise item
        finally:
            if not complete:
                # Interrupted, or the loop was left: stop, and wait for the token that is being computed.
                job.stop()
                job.settle(timeout=10)
                if job.done and job.error is None:
                    self.last = _shortened(job.wait(), taken)


def _engine(card: ModelCard, path: Path | None) -> Engine:
    """What runs a model: MLX, llama.cpp, or a server."""
    if card.format == "endpoint":
        return OpenAIApi(endpoints.from_environment())
    kinds = {"gguf": LlamaCpp, "mlx": MLXVision if card.architecture == "phi3_v" else MLXText}
    return kinds[card.format](path, ships_code=card.ships_code)


def _make_room(coming: Model) -> None:
    """Give back the other large models before one is loaded. Runs in the worker's thread.

    The bundled models are small and stay. So does a model that is answering: its callback asked this one.
    """
    if coming.tier == "tiny" or os.environ.get("LABS_KEEP_MODELS", "0") not in ("", "0"):
        return
    for other in list(_live.values()):
        if other is not coming and other.tier not in ("tiny", "endpoint") and other.loaded and not other._answering:
            other.engine.close()


def _shortened(answer: Answer, taken: int) -> Answer:
    """The answer as far as somebody has seen it; the worker may have been some tokens ahead."""
    tokens = answer.tokens[:taken]
    return replace(
        answer, tokens=tokens, text="".join(token.text for token in tokens), generated_tokens=len(tokens),
        finish_reason="cancelled",
        experts=answer.experts and answer.experts.first(answer.prompt_tokens + taken),
    )  # fmt: skip


def _sources(images) -> tuple:
    """Pictures as a tuple of sources; one alone and None are accepted."""
    return () if images is None else tuple(images) if isinstance(images, (list, tuple)) else (images,)


def _with_tags(messages: list[dict]) -> tuple[list[dict], tuple]:
    """The messages with a tag for each picture, numbered through, and the opened pictures."""
    tagged, pictures = [], []
    for message in messages:
        sources, content = message["images"], message["content"]
        if not vision.TAG.search(content):
            content = vision.image_prompt(content, len(sources), first=len(pictures) + 1)
        pictures += [open_image(source) for source in sources]
        tagged.append({**message, "content": content})
    said = [int(tag) for message in tagged for tag in vision.TAG.findall(message["content"])]
    vision.check_tags(said, len(pictures))
    return tagged, tuple(pictures)


def _messages(prompt, system: str | None) -> list[dict]:
    if isinstance(prompt, str):
        prompt = [{"role": "user", "content": prompt}]
    if not isinstance(prompt, (list, tuple)):
        raise BadRequest(
            f"A prompt is a string or a list of messages, not {type(prompt).__name__}.",
            'Write model.ask("...") or model.ask([{"role": "user", "content": "..."}]).',
        )
    messages = []
    for message in prompt:
        if not isinstance(message, dict) or not isinstance(message.get("content"), str):
            raise BadRequest(f"This is not a message: {message!r}.", 'Use {"role": "user", "content": "..."}.')
        if message.get("role") not in ROLES:
            raise BadRequest(
                f"There is no role {message.get('role')!r} in a conversation.", f"Use one of: {', '.join(ROLES)}."
            )
        shown = _sources(message.get("images"))
        if shown and message["role"] != "user":
            raise BadRequest("Only messages of the user can show pictures.", "Move them to a user message.")
        messages.append({"role": message["role"], "content": message["content"], "images": shown})
    if not messages or messages[-1]["role"] != "user" or not messages[-1]["content"].strip():
        raise BadRequest(
            "The prompt is empty." if not messages or messages[-1]["role"] == "user" else
            "The last message of the conversation is not from the user.",
            "Write a question, or a conversation that ends with one.",
        )  # fmt: skip
    if system is not None and not isinstance(system, str):
        raise BadRequest(f"A system prompt is a string, not {type(system).__name__}.", "Give a string or None.")
    if system:
        if messages[0]["role"] == "system":
            raise BadRequest("There are two system prompts.", "Give it as `system` or as the first message.")
        messages.insert(0, {"role": "system", "content": system, "images": ()})
    return messages


def _number(name: str, value, low: float, high: float, above: bool = False) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, (bool, str)) or not low <= number <= high or (above and number == low):
        least = f"above {low}" if above else f"at least {low}"
        raise BadRequest(f"{name} is {value!r}.", f"Use a number that is {least} and at most {high}.")
    return number


def _whole(name: str, value, low: int, high: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = low - 1
    if isinstance(value, bool) or not low <= number <= high:
        raise BadRequest(f"{name} is {value!r}.", f"Use a whole number from {low} to {high:,}.")
    return number


def _pairs(value) -> tuple[tuple[int, int], ...]:
    """(layer, expert) pairs from a list of them, or from one alone."""
    if value is None:
        return ()
    try:
        given = list(value)
        pairs = [tuple(pair) for pair in ([given] if given and not hasattr(given[0], "__len__") else given)]
    except TypeError:
        pairs = [(value,)]
    if any(len(pair) != 2 for pair in pairs):
        raise BadRequest(
            f"without_experts is {value!r}.", "Give pairs of (layer, expert), such as [(0, 3), (1, 7)]."
        )
    return tuple((_whole("a layer", layer, 0, 2**31), _whole("an expert", expert, 0, 2**31)) for layer, expert in pairs)


# -- public functions -------------------------------------------------------------------------------------

# Weak, so that `del model` is enough to give a model up.
_live: weakref.WeakValueDictionary[object, Model] = weakref.WeakValueDictionary()


def load(name: str = "instruct", tier: str | None = None) -> Model:
    """A model by its role. Returns at once; the weights are read with the first question.

    name: a role ("instruct", "instruct-previous"), a catalog name ("instruct-tiny"), a checkpoint folder, or "endpoint"
        for the server that LABS_ENDPOINT names.
    tier: "auto", "tiny", "real" or "endpoint"; the default comes from LABS_MODELS, else "auto", which takes the real
        model if it is here and can run well, and the bundled one otherwise. `model.reason` says why.
    The same model asked for twice is the same object. Nothing is downloaded. Loading one that is not bundled first
    gives back the others that are not, unless LABS_KEEP_MODELS=1.
    Raises BadRequest for an unknown name or tier, ModelNotHere if its folder is missing.

    Example:
        model = load("instruct")
        model.ask("Where is Changsha?")
    """
    corrections.before_mlx()
    choice = machine.choose(name, tier)
    key = choice.path.resolve() if choice.path else endpoints.from_environment()
    model = _live.get(key)
    if model is None:
        model = _live[key] = Model(choice.card, choice.path, choice.reason)
    return model


@dataclass(frozen=True)
class MemoryReport:
    """Where the memory is. total, free and the MLX figures in bytes; the latter None before MLX is used."""

    total: int
    free: int
    models: tuple[tuple[str, int], ...]
    active: int | None = None
    peak: int | None = None
    cache: int | None = None

    def lines(self) -> list[tuple[str, str]]:
        """(what, how much) for each line of the report."""
        lines = [("this machine", machine.size(self.total)), ("free now", machine.size(self.free))]
        lines += [(f"model {name}", machine.size(count)) for name, count in self.models]
        if self.active is not None:
            lines += [("MLX in use", machine.size(self.active)), ("MLX at most so far", machine.size(self.peak)),
                      ("MLX kept for reuse", machine.size(self.cache))]  # fmt: skip
        return lines

    def __str__(self) -> str:
        width = max(len(what) for what, _ in self.lines())
        return "\n".join(f"{what:<{width}}  {much:>10}" for what, much in self.lines())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th scope="row" style="text-align:left">{html.escape(what)}</th><td>{html.escape(much)}</td></tr>'
            for what, much in self.lines()
        )
        head = '<tr><th scope="col">Memory</th><th scope="col">Size</th></tr>'
        return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def memory() -> MemoryReport:
    """Where the memory is: the machine, each model that is loaded, and MLX. Loads nothing.

    Example:
        memory()
    """
    models = tuple((model.name, model.engine.bytes) for model in list(_live.values()) if model.engine.bytes)
    figures = {}
    if "mlx.core" in sys.modules:
        import mlx.core as mx

        figures = {"active": mx.get_active_memory(), "peak": mx.get_peak_memory(), "cache": mx.get_cache_memory()}
    return MemoryReport(machine.memory_total(), machine.memory_free(), models, **figures)
