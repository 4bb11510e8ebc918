"""Any server that speaks OpenAI's chat format: mlx_lm.server, llama.cpp, vLLM, NIM, Azure AI Foundry.

The server makes the prompt and keeps its tokenizer. So the prompt here is the messages that are sent and has no ids,
and a token is what arrives in one piece: its id is -1 and its probability NaN unless the server says them.

Every step of a request runs as a task that is looked at twenty times a second: Stop ends it at once, in whatever
state it is, and the connection is closed, which is how such servers learn that nobody listens any more.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import math
import time
from collections.abc import Callable, Coroutine, Generator

from labs_helper.catalog import endpoints
from labs_helper.catalog.endpoints import Endpoint
from labs_helper.common.translate import _
from labs_helper.engines.base import Candidate, Prepared, Prompt, Report, Request, Stopped, Token
from labs_helper.errors import BadRequest, EndpointFailed, LabError
from labs_helper.pictures.tags import TAG

RETRIES = 3  # after a refused connection, 408, 409, 429 and 5xx; the client waits longer each time, as the server says
CONNECT_SECONDS = 10
MOST_TOP_LOGPROBS = 10  # mlx_lm.server takes up to 11, OpenAI up to 20
_PNG_BYTES = 1_500_000  # a larger picture goes as JPEG


class OpenAIApi:
    """One model behind an address. Nothing is asked before the first request.

    endpoint: where; see `labs_helper.catalog.endpoints`.

    Example:
        engine = OpenAIApi(endpoints.from_environment())
        prepared = engine.prepare(Request(({"role": "user", "content": "Hi"},)))
        for token in engine.stream(prepared, lambda: False): ...
    """

    loaded = tokenizer_ready = True  # there is nothing to load
    weight_bytes = 0
    context = None

    def __init__(self, endpoint: Endpoint):
        self.endpoint, self.model = endpoint, endpoint.model
        self.report = Report()

    def __repr__(self) -> str:
        return f"OpenAIApi({self.endpoint.name})"

    def load_tokenizer(self) -> None:
        """Nothing: the server keeps it."""

    def prepare(self, request: Request) -> Prepared:
        """Check and render a request. Raises BadRequest."""
        if request.num_crops is not None:
            raise BadRequest(_("The server decides how a picture is cut."), _("Leave out num_crops."))
        return Prepared(request, self.render(request))

    def render(self, request: Request) -> Prompt:
        """The messages as they are sent, in JSON, with pictures shortened. There are no ids: the server makes them."""
        shown = _messages(request, lambda image: f"<picture, {image.width} x {image.height}>")
        return Prompt(json.dumps(shown, ensure_ascii=False, indent=1), (), ())

    def encode(self, text: str) -> Prompt:
        """Always raises BadRequest: only the server has the tokenizer."""
        raise BadRequest(
            f"The tokenizer of {self.endpoint.name} is on the server.",
            'Take a model of this machine to look at tokens: load("instruct", tier="tiny").',
        )

    def close(self) -> None:
        """Nothing to give back."""

    # -- generation ---------------------------------------------------------------------------------

    def stream(self, prepared: Prepared, cancelled: Callable[[], bool]) -> Generator[Token, None, None]:
        """The answer piece by piece, until its end or until `cancelled()`. Afterwards `report` tells how it went.

        Raises EndpointFailed with what to do for everything that can go wrong between here and the server.
        """
        start, request = time.perf_counter(), prepared.request
        report = self.report = Report(prompt=prepared.prompt, sampling=request.sampling)
        loop, client, pieces, said = asyncio.new_event_loop(), None, 0, []
        try:
            client = self._client()
            if self.model is None:
                self.model = self._guard(lambda: _run(loop, _only_model(client), cancelled), 0)
            answer = self._guard(lambda: _run(loop, self._ask(client, request), cancelled), 0)
            chunks = aiter(answer)
            while (chunk := self._guard(lambda: _run(loop, _next(chunks), cancelled), pieces)) is not None:
                token = self._guard(lambda: self._take(chunk, request.top_logprobs), pieces)
                if token is None:
                    continue
                if not pieces:
                    report.seconds_to_first_token = time.perf_counter() - start
                pieces += 1
                said.append(token.text)
                yield token
            if report.finish_reason == "cancelled":  # nobody pressed Stop, and yet no end was announced
                raise EndpointFailed(
                    f"{self.endpoint.host} broke off after {pieces} pieces of the answer."
                    if pieces
                    else f"{self.endpoint.host} answered, but not in the form of a chat.",
                    "Ask again. If it happens each time, look at the server's own log and at LABS_ENDPOINT.",
                )
            if request.schema is not None and report.finish_reason == "stop" and not _is_json("".join(said)):
                raise EndpointFailed(
                    f"{self.endpoint.host} took the schema and did not keep to it: this is no JSON.",
                    "Not every server can hold a model to a schema. Ask without one, or take a model of this machine.",
                )
        except Stopped:
            report.finish_reason = "cancelled"
        except GeneratorExit:
            report.finish_reason = "cancelled"
            raise
        finally:
            if client is not None:
                loop.run_until_complete(client.close())
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
            report.seconds = time.perf_counter() - start

    def _client(self):
        import openai

        client = openai.AsyncOpenAI(
            base_url=self.endpoint.url,
            api_key=endpoints.key(),
            max_retries=RETRIES,
            timeout=openai.Timeout(self.endpoint.timeout, connect=CONNECT_SECONDS),
        )
        # The client takes these from OPENAI_... variables. They belong to another service and stay here.
        client.organization = client.project = client.admin_api_key = None
        client._custom_headers = {}
        return client

    async def _ask(self, client, request: Request):
        sampling, options = request.sampling, {}
        if request.top_logprobs:
            options |= {"logprobs": True, "top_logprobs": min(request.top_logprobs, MOST_TOP_LOGPROBS)}
        if sampling.temperature > 0 and sampling.seed is not None:
            options["seed"] = sampling.seed
        if request.schema is not None:
            form = {"name": "answer", "schema": json.loads(request.schema), "strict": True}
            options["response_format"] = {"type": "json_schema", "json_schema": form}
        return await client.chat.completions.create(
            model=self.model,
            messages=_messages(request, _data_url),
            max_tokens=request.max_tokens,
            stream=True,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            stream_options={"include_usage": True},
            **options,
        )

    def _take(self, chunk, top_logprobs: int) -> Token | None:
        """The piece of text in a chunk; the counts and the reason to stop, which come in the last ones, are kept."""
        report, usage = self.report, chunk.usage
        if usage is not None:
            report.prompt_tokens = usage.prompt_tokens or 0
            report.generated_tokens = usage.completion_tokens
            report.cached_tokens = getattr(usage.prompt_tokens_details, "cached_tokens", None) or 0
        for choice in chunk.choices[:1]:
            report.finish_reason = choice.finish_reason or report.finish_reason
        return _token(chunk, top_logprobs)

    def _guard(self, step: Callable, pieces: int):
        """Run a step, and turn what goes wrong into one sentence.

        The error of the library is left behind and not chained: it holds the request, and that holds the key.
        """
        try:
            return step()
        except (LabError, Stopped):
            raise
        except Exception as error:
            told = _explain(error, self.endpoint, self.model, pieces)
        raise told


def _run(loop: asyncio.AbstractEventLoop, work: Coroutine, cancelled: Callable[[], bool]):
    """The result of a coroutine; raises Stopped, and ends it, as soon as `cancelled()` says so."""
    task = loop.create_task(work)
    while not task.done():
        if cancelled():
            task.cancel()
            loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
            raise Stopped
        loop.run_until_complete(asyncio.wait({task}, timeout=0.05))
    return task.result()


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


async def _next(chunks):
    return await anext(chunks, None)


async def _only_model(client) -> str:
    names = [model.id async for model in client.models.list()]
    if not names:  # mlx_lm.server and mlx_vlm.server name what lies in the hub's cache, not what --model gave them
        raise EndpointFailed(
            "The server names no model.",
            "Set LABS_ENDPOINT_MODEL to what the server was started with: the folder or repository after --model.",
        )
    if len(names) > 1:
        raise EndpointFailed(
            f"The server has {len(names)} models: {', '.join(names[:8])}.",
            "Set LABS_ENDPOINT_MODEL to the one you want.",
        )
    return names[0]


# -- what goes out ------------------------------------------------------------------------------------------


def _messages(request: Request, shown: Callable) -> list[dict]:
    """The messages in OpenAI's form. shown: makes of a picture what is put in its place."""
    messages = []
    for message in request.messages:
        parts = TAG.split(message["content"]) if request.images else [message["content"]]
        if len(parts) == 1:
            messages.append({"role": message["role"], "content": message["content"]})
            continue
        content = []
        for place, part in enumerate(parts):  # text, number of a picture, text, ...
            if place % 2:
                content.append({"type": "image_url", "image_url": {"url": shown(request.images[int(part) - 1])}})
            elif part.strip():
                content.append({"type": "text", "text": part.strip("\n")})
        messages.append({"role": message["role"], "content": content})
    return messages


def _data_url(image) -> str:
    """A picture as a data URL: PNG, or JPEG if that would be large."""
    for kind, options in (("png", {}), ("jpeg", {"quality": 92})):
        out = io.BytesIO()
        image.save(out, kind, **options)
        if out.tell() <= _PNG_BYTES:
            break
    return f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode()}"


# -- what comes back ----------------------------------------------------------------------------------------


def _token(chunk, top_logprobs: int) -> Token | None:
    """The piece of text in a chunk; None for a chunk without any."""
    choice = chunk.choices[0] if chunk.choices else None
    text = (choice.delta.content if choice is not None and choice.delta is not None else None) or ""
    if not text:
        return None
    entries = (choice.logprobs.content if choice.logprobs is not None else None) or []
    if len(entries) != 1:  # several tokens in one piece, or nothing said
        return Token(text, -1, math.nan, (), text)
    entry = entries[0]
    others = [
        Candidate(other.token or "", _id(other), other.logprob) for other in (entry.top_logprobs or [])[:top_logprobs]
    ]
    return Token(text, _id(entry), entry.logprob, tuple(others), entry.token or text)


def _id(entry) -> int:
    value = getattr(entry, "id", None)  # mlx_lm.server and llama.cpp tell it, OpenAI does not
    return value if isinstance(value, int) else -1


def _explain(error: Exception, endpoint: Endpoint, model: str | None, pieces: int) -> EndpointFailed:
    """What went wrong in a learner's words. Only texts go in, never the error itself."""
    import openai

    host = endpoint.host
    if isinstance(error, openai.APITimeoutError):
        return EndpointFailed(
            f"{host} did not answer within {endpoint.timeout:g} seconds.",
            "It may be loading a model or be busy: ask again. LABS_ENDPOINT_TIMEOUT=300 waits longer.",
        )
    if isinstance(error, openai.APIConnectionError) and not pieces:
        return EndpointFailed(
            f"Nothing answers at {endpoint.url} (tried {RETRIES + 1} times).",
            "Start the server, or check LABS_ENDPOINT, the network and the firewall.",
        )
    if isinstance(error, openai.APIStatusError):
        return _explain_status(error, endpoint, model)
    if pieces:
        return EndpointFailed(
            f"{host} broke off after {pieces} pieces of the answer ({type(error).__name__}).",
            "Ask again. If it happens each time, look at the server's own log.",
        )
    return EndpointFailed(
        f"{host} answered something that is not a chat answer ({_said(error)}).",
        "Check LABS_ENDPOINT: it is the address before /chat/completions, and often ends in /v1.",
    )


def _explain_status(error, endpoint: Endpoint, model: str | None) -> EndpointFailed:
    code, host, said = error.status_code, endpoint.host, _said(error)
    if code in (401, 403):
        what = "does not accept the key in LABS_ENDPOINT_KEY" if endpoints.has_key() else "wants a key"
        return EndpointFailed(
            f"{host} {what} ({code}).",
            "Set LABS_ENDPOINT_KEY in the environment before you start JupyterLab, never in a notebook; "
            "a key can also have run out, or not be allowed to use this model.",
        )
    if code == 404:
        return EndpointFailed(
            f"{host} does not know the model {model!r}, or {endpoint.url} is not where it answers (404: {said}).",
            "Check LABS_ENDPOINT_MODEL (`labs` cannot guess it), and that LABS_ENDPOINT ends as the server wants it, "
            "often in /v1.",
        )
    if code == 410:
        return EndpointFailed(
            f"{host} no longer has {model} (410: {said}).",
            'It was retired there. Run it on your own machine: load("instruct"), or take another server or model.',
        )
    if code == 429:
        return EndpointFailed(
            f"{host} asks for fewer requests (429: {said}); {RETRIES + 1} attempts were turned away.",
            "Wait a minute and ask again. In a class, let one machine ask for all, or use models of your own machine.",
        )
    if code >= 500:
        return EndpointFailed(
            f"{host} failed to answer ({code}: {said}); it was asked {RETRIES + 1} times.",
            "That is the server's own trouble: wait and ask again, or look at its log.",
        )
    return EndpointFailed(
        f"{host} did not accept the request ({code}: {said}).",
        "A shorter prompt, fewer max_tokens, no pictures, schema or top_logprobs may help: servers differ in what they "
        "take.",
    )


def _said(error: Exception) -> str:
    """The first line of what an error says, short, readable, and without the key."""
    body = getattr(error, "body", None)
    text = body.get("message") if isinstance(body, dict) else None
    line = endpoints.redacted(str(text or error)).strip().split("\n")[0]
    return "".join(letter for letter in line if letter.isprintable())[:200] or type(error).__name__
