"""Any server that speaks OpenAI's chat format: mlx_lm.server, llama.cpp, vLLM, NIM, Azure AI Foundry.

The server makes the prompt and keeps its tokenizer. So the prompt here is the messages that are sent and has no ids,
and a token is what arrives in one piece: its id is -1 and its probability NaN unless the server says them.

A request runs as one task on a loop of its own. Stop ends it at once, in whatever state it is, and the connection is
closed, which is how such servers learn that nobody listens any more. Four modules share the work: this one asks,
`endpoint_client` does the HTTP, `stream_reader` makes tokens of bytes, `endpoint_errors` explains what went wrong.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator
from typing import TYPE_CHECKING, Any

from labs_helper.catalog import endpoints
from labs_helper.common import network
from labs_helper.common.translate import _
from labs_helper.engines import door
from labs_helper.engines.base import Prepared, Prompt, Report, Request, Stopped, Token
from labs_helper.engines.endpoint_client import Client
from labs_helper.engines.endpoint_errors import explain, verdict
from labs_helper.engines.stream_reader import StreamReader
from labs_helper.errors import BadRequest, EndpointFailed, LabError
from labs_helper.pictures.tags import TAG

if TYPE_CHECKING:
    from PIL import Image

    from labs_helper.catalog.endpoints import Endpoint

MOST_TOP_LOGPROBS = 10  # mlx_lm.server takes up to 11, OpenAI up to 20
_LOOK_EVERY = 0.05  # seconds; how late Stop may be heard while nothing comes
_CLOSE_SECONDS = 2.0
_PNG_BYTES = 1_500_000  # a larger picture goes as JPEG
_PICTURE_FORMATS: tuple[tuple[str, dict[str, int]], ...] = (("png", {}), ("jpeg", {"quality": 92}))


class OpenAIApi:
    """One model behind an address. Nothing is asked before the first request.

    Args:
        endpoint: which server and model; see `labs_helper.catalog.endpoints`.

    Example:
        engine = OpenAIApi(endpoints.from_environment())
        prepared = engine.prepare(Request(({"role": "user", "content": "Hi"},)))
        for token in engine.stream(prepared, lambda: False): ...
    """

    loaded = tokenizer_ready = True  # there is nothing to load
    weight_bytes = 0
    context = None

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint, self.model = endpoint, endpoint.model
        self.report = Report()

    def __repr__(self) -> str:
        return f"OpenAIApi({self.endpoint.name})"

    def load_tokenizer(self) -> None:
        """Nothing: the server keeps it."""

    def prepare(self, request: Request) -> Prepared:
        """Check and render a request.

        Raises:
            BadRequest: the request asks for something that only the server can decide.
        """
        if request.num_crops is not None:
            raise BadRequest(_("The server decides how a picture is cut."), _("Leave out num_crops."))
        return Prepared(request, self.render(request))

    def render(self, request: Request) -> Prompt:
        """The messages as they are sent, in JSON, with pictures shortened. There are no ids: the server makes them."""
        shown = _messages(request, lambda image: f"<picture, {image.width} x {image.height}>")
        typed = door.typed_marks(door.clean_messages(request), door.USUAL_MARK)
        return Prompt(json.dumps(shown, ensure_ascii=False, indent=1), (), (), door.notices_of_server(typed))

    def encode(self, text: str) -> Prompt:
        """Always raises BadRequest: only the server has the tokenizer."""
        raise BadRequest(
            _("The tokenizer of {name} is on the server.").format(name=self.endpoint.name),
            _('To look at tokens, use a model on this machine: load("instruct", tier="tiny").'),
        )

    def close(self) -> None:
        """Nothing to give back."""

    # -- generation ---------------------------------------------------------------------------------

    def stream(self, prepared: Prepared, cancelled: Callable[[], bool]) -> Generator[Token, None, None]:
        """The answer piece by piece, until its end or until `cancelled()`. Afterwards `report` tells how it went.

        Raises:
            EndpointFailed: for everything that can go wrong between here and the server. The pieces that had come
                were yielded before.
            BadRequest: the environment names a key or a proxy that cannot be used.
        """
        start, request = time.perf_counter(), prepared.request
        report = self.report = Report(prompt=prepared.prompt, sampling=request.sampling)
        reader = StreamReader(request.top_logprobs, endpoints.secret())
        said: list[str] = []
        exchange = _Exchange(lambda give: self._exchange(request, reader, give))
        try:
            for token in exchange.tokens(cancelled):
                if not said:
                    report.seconds_to_first_token = time.perf_counter() - start
                said.append(token.text)
                yield token
            report.finish_reason = "failed"  # until the answer has proved to be whole
            error = exchange.error()
            if isinstance(error, LabError):
                raise error
            told = self._judged(error, reader, request, said)
            if told is not None:
                raise told
            report.finish_reason = reader.finish_reason or "unknown"
        except Stopped:
            report.finish_reason = "cancelled"
        finally:
            exchange.close()
            _count(report, reader)
            report.seconds = time.perf_counter() - start

    async def _exchange(self, request: Request, reader: StreamReader, give: Callable[[list[Token]], None]) -> None:
        """Everything that is said with the server for one answer."""
        async with Client(self.endpoint) as client:
            if self.model is None:
                self.model = _only(await client.models())

            def take(data: bytes) -> bool:
                give(reader.feed(data))
                return reader.done

            try:
                await client.chat(self._body(request, self.model), take)
            finally:
                give(reader.close())

    def _body(self, request: Request, model: str) -> dict[str, Any]:
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": model,
            "messages": _messages(request, _data_url),
            "max_tokens": request.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if request.top_logprobs:
            body |= {"logprobs": True, "top_logprobs": min(request.top_logprobs, MOST_TOP_LOGPROBS)}
        if sampling.temperature > 0 and sampling.seed is not None:
            body["seed"] = sampling.seed
        if request.schema is not None:
            form = {"name": "answer", "schema": json.loads(request.schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        return body

    def _judged(
        self, error: BaseException | None, reader: StreamReader, request: Request, said: list[str]
    ) -> EndpointFailed | None:
        """What is wrong with an answer; None for a whole one."""
        host = self.endpoint.host
        if error is not None and not (reader.ended or reader.error):  # after the end, a broken connection does no harm
            proxy = network.proxy_for(self.endpoint.url)
            return explain(error, self.endpoint, self.model, len(said), proxy.host if proxy else "")
        told = verdict(reader, host, len(said))
        if told is None and request.schema is not None and reader.finish_reason == "stop" and not _is_json(said):
            told = EndpointFailed(
                _("{host} accepted the schema and did not follow it: its answer is not JSON.").format(host=host),
                _("Not every server can hold a model to a schema. Ask without one, or use a model on this machine."),
            )
        return told


class _Exchange:
    """A coroutine that runs on a loop of its own while somebody takes the tokens that it gives.

    Args:
        work: makes the coroutine; it gets the function that takes tokens.
    """

    def __init__(self, work: Callable[[Callable[[list[Token]], None]], Coroutine[Any, Any, None]]) -> None:
        self._arrived: deque[Token] = deque()
        self._news = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(work(self._give))
        self._task.add_done_callback(lambda task: self._news.set())

    def _give(self, tokens: list[Token]) -> None:
        if tokens:
            self._arrived.extend(tokens)
            self._news.set()

    def tokens(self, cancelled: Callable[[], bool]) -> Iterator[Token]:
        """The tokens as they come. Raises Stopped as soon as `cancelled()` says so, whatever is going on."""
        while True:
            if cancelled():
                raise Stopped
            if self._arrived:
                yield self._arrived.popleft()
            elif self._task.done():
                return
            else:
                self._loop.run_until_complete(self._wait())

    async def _wait(self) -> None:
        """Until there is something to see, at most as long as a person does not notice when they press Stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_EVERY):
                await self._news.wait()
        self._news.clear()

    def error(self) -> BaseException | None:
        """What the work, which has ended, was ended by; None if all went well."""
        return self._task.exception()

    def close(self) -> None:
        """End the work wherever it is. Its connection is closed, which tells the server that nobody listens."""
        self._task.cancel()
        self._loop.run_until_complete(asyncio.wait({self._task}, timeout=_CLOSE_SECONDS))
        if self._task.done() and not self._task.cancelled():
            self._task.exception()  # asyncio complains about one that nobody has looked at
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


def _only(names: list[str]) -> str:
    """The name of the only model that a server has."""
    if not names:  # mlx_lm.server and mlx_vlm.server name what is in the hub's cache, not what --model gave them
        raise EndpointFailed(
            _("The server names no model."),
            _("Set LABS_ENDPOINT_MODEL to what the server was started with: the folder or repository after --model."),
        )
    if len(names) > 1:
        raise EndpointFailed(
            _("The server has {count} models: {names}.").format(count=len(names), names=", ".join(names[:8])),
            _("Set LABS_ENDPOINT_MODEL to the one you want."),
        )
    return names[0]


def _count(report: Report, reader: StreamReader) -> None:
    """Take over the counts that the server has sent."""
    if reader.usage is not None:
        report.prompt_tokens = reader.usage.prompt or 0
        report.generated_tokens = reader.usage.generated
        report.cached_tokens = reader.usage.cached or 0


def _is_json(said: list[str]) -> bool:
    try:
        json.loads("".join(said))
    except (ValueError, RecursionError):
        return False
    return True


# -- what goes out ------------------------------------------------------------------------------------------


def _messages(request: Request, shown: Callable[[Image.Image], str]) -> list[dict[str, Any]]:
    """The messages in OpenAI's form. shown: makes of a picture what is put in its place."""
    messages: list[dict[str, Any]] = []
    for message in door.clean_messages(request):
        parts = TAG.split(message["content"]) if message["tagged"] else [message["content"]]
        if len(parts) == 1:
            messages.append({"role": message["role"], "content": message["content"]})
            continue
        content: list[dict[str, Any]] = []
        for index, part in enumerate(parts):  # text, number of a picture, text, ...
            if index % 2:
                content.append({"type": "image_url", "image_url": {"url": shown(request.images[int(part) - 1])}})
            elif part.strip():
                content.append({"type": "text", "text": part.strip("\n")})
        messages.append({"role": message["role"], "content": content})
    return messages


def _data_url(image: Image.Image) -> str:
    """A picture as a data URL: PNG, or JPEG if that would be large."""
    for kind, options in _PICTURE_FORMATS:
        out = io.BytesIO()
        image.save(out, kind, **options)
        if out.tell() <= _PNG_BYTES:
            break
    return f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode()}"
