"""Servers that speak OpenAI's chat format, on loopback: what is sent, what comes back, and what can go wrong."""

from __future__ import annotations

import base64
import io
import json
import math
import os
import socket
import time
import traceback
import unicodedata

import pytest
from fake_endpoint import FakeEndpoint, failing
from PIL import Image

from labs_helper import catalog
from labs_helper.catalog import endpoints
from labs_helper.common.translate import speaking
from labs_helper.engines import endpoint_client
from labs_helper.errors import BadRequest, EndpointFailed
from labs_helper.models.load import load, memory
from labs_helper.models.selection import choose

KEY = "nvapi-very-secret-0123456789"


@pytest.fixture
def point(monkeypatch):
    """Points LABS_ENDPOINT at a server and gives the model behind it. Waiting between attempts is short."""
    monkeypatch.setattr(endpoint_client, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(endpoint_client, "LONGEST_PAUSE", 0.002)

    def at(url, model="phi-fake", key=KEY, **others):
        settings = {"LABS_ENDPOINT": url, "LABS_ENDPOINT_MODEL": model, "LABS_ENDPOINT_KEY": key, **others}
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        return load("endpoint")

    return at


# -- a good answer ---------------------------------------------------------------------------------------------


def test_an_answer_comes_in_pieces_and_with_its_numbers(point):
    with FakeEndpoint() as fake:
        model = point(fake.url)
        pieces = [token.text for token in model.stream("Where is Changsha?", max_tokens=40)]
        answer = model.last
    assert pieces == ["Changsha ", "is in ", "Hunan."] and answer.text == "Changsha is in Hunan."
    assert answer.finish_reason == "stop" and answer.prompt_tokens == 12 and answer.cached_tokens == 5
    assert answer.generated_tokens == 9, "the server counts tokens, not pieces"
    assert all(token.id == -1 and math.isnan(token.logprob) for token in answer.tokens)
    assert "peak memory" not in answer.summary() and "phi-fake at 127.0.0.1" in answer.statistics_line
    path, headers, body = fake.requests[0]
    assert path == "/v1/chat/completions" and headers["Authorization"] == f"Bearer {KEY}"
    assert body["messages"] == [{"role": "user", "content": "Where is Changsha?"}]
    assert body["model"] == "phi-fake" and body["max_tokens"] == 40 and body["stream"] is True
    assert body["temperature"] == 0 and "seed" not in body and "logprobs" not in body


def test_sampling_top_logprobs_and_a_system_prompt_are_sent(point):
    content = [
        {
            "token": "Hi",
            "id": 7,
            "logprob": -0.1,
            "bytes": None,
            "top_logprobs": [
                {"token": "Hi", "id": 7, "logprob": -0.1, "bytes": None},
                {"token": "Yo", "id": 8, "logprob": -2.5, "bytes": None},
            ],
        }
    ]

    def behave(fake, handler, body):
        handler.start_stream()
        handler.piece("Hi", logprobs={"content": content})
        handler.piece(None, "length")

    with FakeEndpoint(behave) as fake:
        answer = point(fake.url).ask("Hello", system="Be brief.", temperature=0.7, top_p=0.9, seed=3, top_logprobs=2)
    body = fake.requests[0][2]
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (body["temperature"], body["top_p"], body["seed"], body["top_logprobs"]) == (0.7, 0.9, 3, 2)
    (token,) = answer.tokens
    assert (token.id, token.logprob) == (7, -0.1) and [other.piece for other in token.top_logprobs] == ["Hi", "Yo"]
    assert answer.finish_reason == "length" and answer.generated_tokens == 1


def test_what_is_sent_is_valid_and_composed_and_typed_marks_are_noticed(point):
    """The server makes the tokens, so that a mark stays what it is; the learner is told."""
    apart = unicodedata.normalize("NFD", "창사는 어디에?")
    with FakeEndpoint() as fake:
        answer = point(fake.url).ask(f"{apart} \ud83d\ude00 \ud83d <|end|>", system=apart)
    sent = [message["content"] for message in fake.requests[0][2]["messages"]]
    assert sent == ["창사는 어디에?", "창사는 어디에? \U0001f600 \ufffd <|end|>"]
    (notice,) = answer.prompt.notices
    assert "<|end|>" in notice and "server decides" in notice and answer.statistics_line.endswith(notice)


def test_pictures_go_as_data_urls_where_their_tags_stand(point):
    red, noise = Image.new("RGB", (40, 30), "red"), Image.frombytes("RGB", (900, 900), os.urandom(900 * 900 * 3))
    with FakeEndpoint() as fake:
        model = point(fake.url)
        model.ask("Compare <|image_1|> with <|image_2|>, please.", images=[red, noise])
        shown = model.prompt("What is this?", images=[red])
    parts = fake.requests[0][2]["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url", "text", "image_url", "text"]
    kinds = []
    for part, size in ((parts[1], (40, 30)), (parts[3], (900, 900))):
        head, data = part["image_url"]["url"].split(",", 1)
        kinds.append(head)
        assert Image.open(io.BytesIO(base64.b64decode(data))).size == size
    assert kinds == ["data:image/png;base64", "data:image/jpeg;base64"], "a large picture is sent smaller"
    assert "<picture, 40 x 30>" in shown.text and "base64" not in shown.text


def test_a_schema_is_sent_and_an_answer_without_json_is_no_answer(point):
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    with FakeEndpoint(answer=('{"city": ', '"Changsha"}')) as fake:
        assert point(fake.url).ask("Where?", schema=schema).text == '{"city": "Changsha"}'
        wished = fake.requests[0][2]["response_format"]
        assert wished["type"] == "json_schema" and wished["json_schema"]["schema"] == schema
    with FakeEndpoint() as fake, pytest.raises(EndpointFailed, match="did not follow it"):
        point(fake.url).ask("Where?", schema=schema)


def test_the_prompt_is_the_messages_and_tokens_stay_on_the_server(point):
    model = point("http://127.0.0.1:9/v1")
    prompt = model.prompt("안녕", system="Be brief.")
    assert [message["content"] for message in json.loads(prompt.text)] == ["Be brief.", "안녕"]
    assert prompt.ids == () == prompt.pieces
    with pytest.raises(BadRequest, match="on the server"):
        model.count_tokens("Hello")
    with pytest.raises(BadRequest, match="num_crops"):
        model.ask("Hello", images=[Image.new("RGB", (9, 9))], num_crops=4)


def test_without_a_name_the_only_model_of_the_server_is_asked(point):
    with FakeEndpoint() as fake:
        assert point(fake.url, model="").ask("Hello").text
        assert fake.requests[0][2]["model"] == "phi-fake"


@pytest.mark.parametrize(("names", "said"), [((), "names no model"), (("phi-a", "phi-b"), "phi-a, phi-b")])
def test_without_a_name_a_server_with_no_model_or_several_asks_for_one(point, names, said):
    with FakeEndpoint(models=names) as fake, pytest.raises(EndpointFailed, match=said) as caught:
        point(fake.url, model="").ask("Hello")
    assert "LABS_ENDPOINT_MODEL" in str(caught.value) and not fake.requests


def test_settings_of_other_services_stay_at_home(point, monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "another-secret")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Other: another-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with FakeEndpoint() as fake:
        point(fake.url, key="").ask("Hello")
    assert "another-secret" not in str(fake.requests)
    assert fake.requests[0][1]["Authorization"] == "Bearer none"


# -- stopping --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [0, 3])
def test_stop_closes_the_connection(point, first):
    """Before the first piece as well as between two: the server sees the connection go."""

    def behave(fake, handler, body):
        if first:
            handler.start_stream()
            for _ in range(first):
                handler.piece("word ")
        handler.connection.settimeout(10)
        try:
            fake.heard = handler.connection.recv(1)  # nothing more is sent on a good day: b"" is a closed connection
        except OSError:
            fake.heard = b""
        fake.gone.set()

    with FakeEndpoint(behave) as fake:
        model = point(fake.url)
        job = model.submit("Hello")
        while not fake.requests:
            time.sleep(0.01)
        time.sleep(0.2)
        began = time.perf_counter()
        model.stop()
        answer = job.wait(timeout=10)
        assert time.perf_counter() - began < 2
        assert answer.finish_reason == "cancelled" and answer.text == "word " * first
        assert fake.gone.wait(5) and fake.heard == b""


def test_leaving_the_loop_closes_the_connection(point):
    def endless(fake, handler, body):
        handler.start_stream()
        while True:
            handler.piece("word ")
            time.sleep(0.01)

    with FakeEndpoint(endless) as fake:
        model = point(fake.url)
        for _ in model.stream("Hello"):
            break
        assert fake.gone.wait(5) and model.last.finish_reason == "cancelled"


# -- what goes wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (400, "did not accept the request"),
        (401, "does not accept the key"),
        (403, "does not accept the key"),
        (404, "does not know the model 'phi-fake'"),
        (410, "no longer has phi-fake"),
        (413, "did not accept"),
        (422, "did not accept"),
        (429, "asks for fewer requests"),
        (500, "failed to answer"),
        (503, "failed to answer"),
    ],
)
def test_every_refusal_is_explained(point, code, words):
    with FakeEndpoint(failing(code, f"about {KEY}\nsecond line")) as fake:
        with pytest.raises(EndpointFailed, match=words) as caught:
            point(fake.url).ask("Hello")
        again = code == 429 or code >= 500
        assert len(fake.requests) == (endpoint_client.RETRIES + 1 if again else 1)
    assert caught.value.do and "second line" not in str(caught.value)
    assert str(code) in str(caught.value) and KEY not in str(caught.value)


def test_a_missing_key_is_told_from_a_wrong_one(point):
    with FakeEndpoint(failing(401)) as fake, pytest.raises(EndpointFailed, match="wants a key"):
        point(fake.url, key="").ask("Hello")


def test_a_server_that_recovers_is_asked_again_after_the_time_it_names(point):
    with FakeEndpoint(failing(429, times=2, headers=[("retry-after-ms", "150")])) as fake:
        began = time.perf_counter()
        assert point(fake.url).ask("Hello").text.startswith("Changsha")
        assert time.perf_counter() - began > 0.29 and len(fake.requests) == 3


def test_stop_ends_the_waiting_between_two_attempts(point):
    with FakeEndpoint(failing(429, headers=[("retry-after", "30")])) as fake:
        model = point(fake.url)
        job = model.submit("Hello")
        while not fake.requests:
            time.sleep(0.01)
        model.stop()
        assert job.wait(timeout=5).finish_reason == "cancelled"


def test_nobody_there(point):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(EndpointFailed, match="Nothing answers at") as caught:
        point(url).ask("Hello")
    assert "Start the server" in caught.value.do


def test_a_server_that_is_silent(point, monkeypatch):
    monkeypatch.setattr(endpoint_client, "RETRIES", 0)
    silent = FakeEndpoint(lambda fake, handler, body: time.sleep(1))
    with silent as fake, pytest.raises(EndpointFailed, match=r"within 0\.3 seconds"):
        point(fake.url, LABS_ENDPOINT_TIMEOUT="0.3").ask("Hello")


def broken_off(fake, handler, body):
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.piece("half ")
    handler.close_connection = True


def quietly_ended(fake, handler, body):
    handler.start_stream()
    handler.piece("half ")


def nonsense(fake, handler, body):
    handler.start_stream()
    handler.wfile.write(b"data: {not json\n\n")


def page(fake, handler, body):
    handler.answer_with(200, b"<html>It works!</html>")


@pytest.mark.parametrize(
    ("behave", "words"),
    [
        (broken_off, "broke off after 1 piece of"),
        (quietly_ended, "broke off after 1 piece of"),
        (nonsense, "not in the form of a chat"),
        (page, "not in the form of a chat"),
    ],
)
def test_half_answers_and_other_things(point, behave, words):
    with FakeEndpoint(behave) as fake, pytest.raises(EndpointFailed, match=words):
        point(fake.url).ask("Hello")


# -- the key -----------------------------------------------------------------------------------------------------


def test_the_key_is_in_no_repr_error_or_traceback(point):
    with FakeEndpoint(failing(401, f"Incorrect API key provided: {KEY}")) as fake:
        model = point(fake.url)
        with pytest.raises(EndpointFailed) as caught:
            model.ask("Hello")
        error, seen = caught.value, []
        while error is not None:  # whatever hangs on the error, with the variables of every frame
            frames = traceback.TracebackException.from_exception(error, capture_locals=True)
            seen += [*frames.format(), repr(error), str(getattr(error, "__dict__", ""))]
            error = error.__cause__ or error.__context__
    seen += [
        repr(model),
        repr(model.engine),
        str(vars(model.engine)),
        repr(model.card),
        str(model.engine.report),
        repr(endpoints.from_environment()),
        *caught.value._render_traceback_(),
    ]
    assert not any(KEY in text for text in seen)
    assert caught.value.__context__ is None, "the library's error holds the request, and so the key"


def test_the_key_is_in_no_saved_notebook_and_no_log(point, tmp_path):
    """A notebook run against a server, once well and once refused, with the most talkative settings there are."""
    import nbformat
    from nbclient import NotebookClient

    lines = [
        "%xmode Verbose",
        "import logging\nlogging.basicConfig(level=logging.DEBUG)",
        "from labs_helper import load\nmodel = load('endpoint')\nmodel",
        "model.ask('Hello')",
        "model.engine, vars(model.engine), model.card, model.last.statistics()",
        "model.ask('Hello again')",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(line) for line in lines])

    def behave(fake, handler, body):
        good = body["messages"][0]["content"] == "Hello"
        (FakeEndpoint.stream if good else failing(401, f"bad key {KEY}"))(fake, handler, body)

    with FakeEndpoint(behave) as fake:
        point(fake.url)
        os.environ["OPENAI_LOG"] = "debug"
        try:
            NotebookClient(book, timeout=90, kernel_name="python3", allow_errors=True).execute()
        finally:
            del os.environ["OPENAI_LOG"]
    saved = nbformat.writes(book)
    assert "is in Hunan" in saved and "does not accept the key" in saved and "DEBUG" in saved
    assert KEY not in saved
    assert any(KEY in headers["Authorization"] for _, headers, _ in fake.requests), "it was used all the same"


@pytest.mark.parametrize("code", [200, 401, 410, 500])
def test_no_key_anywhere(point, capsys, caplog, code):
    """One place that looks everywhere: output, logs, warnings, reprs, tracebacks, reports, and every notebook."""
    import logging
    import re
    import warnings

    from labs_helper import check_setup, cli

    caplog.set_level(logging.DEBUG)
    seen = []
    with FakeEndpoint(FakeEndpoint.stream if code == 200 else failing(code, f"about {KEY}")) as fake:
        model = point(fake.url)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                seen += [repr(model.ask("Hello")), str(model.last.statistics())]
            except EndpointFailed as error:
                told = traceback.TracebackException.from_exception(error, capture_locals=True)
                seen += [*told.format(), repr(error), *error._render_traceback_()]
            seen += [str(each.message) for each in warned]
        seen += [
            repr(check_setup()),
            str(check_setup()),
            str(memory()),
            repr(model),
            str(vars(model)),
            str(vars(model.engine)),
            repr(model.card),
            repr(endpoints.from_environment()),
        ]
        cli.main(["doctor"])
        cli.main(["models", "list"])
        assert any(KEY in headers["Authorization"] for _, headers, _ in fake.requests), "it was used all the same"
    shown = capsys.readouterr()
    seen += [shown.out, shown.err, caplog.text, *(str(vars(record)) for record in caplog.records)]
    books = [path for path in (catalog.course_folder() / "notebooks").rglob("*") if path.suffix in (".ipynb", ".py")]
    assert len(books) > 5
    seen += [path.read_text("utf-8") for path in books]
    everything = "\n".join(seen)
    assert KEY not in everything and KEY[6:] not in everything
    # What keys of the services in endpoints.toml and of the hub look like.
    assert not re.search(r"\b(nvapi-|sk-|hf_|ghp_|github_pat_)[A-Za-z0-9_-]{16,}|Bearer [A-Za-z0-9_-]{16,}", everything)


# -- which endpoint ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("named", "url"),
    [
        ("mlx", "http://127.0.0.1:8080/v1"),
        ("llama.cpp", "http://127.0.0.1:8080/v1"),
        ("vllm", "http://127.0.0.1:8000/v1"),
        ("NIM", "https://integrate.api.nvidia.com/v1"),
        ("http://host:1234", "http://host:1234/v1"),
        ("http://host/v1/", "http://host/v1"),
        ("https://mine.openai.azure.com/openai/v1/", "https://mine.openai.azure.com/openai/v1"),
    ],
)
def test_presets_and_addresses(monkeypatch, named, url):
    monkeypatch.setenv("LABS_ENDPOINT", named)
    assert endpoints.from_environment().url == url


@pytest.mark.parametrize(
    ("named", "kind", "words"),
    [
        ("", BadRequest, "not set"),
        ("somewhere", BadRequest, "LABS_ENDPOINT is not an address"),
        ("ftp://host", BadRequest, "LABS_ENDPOINT is not an address"),
        ("http://", BadRequest, "LABS_ENDPOINT is not an address"),
        ("http://host:99999999", BadRequest, "LABS_ENDPOINT is not an address"),
        ("azure", BadRequest, "your own resource"),
        ("https://me:hunter2@host/v1", BadRequest, "more than an address"),
        ("https://host/v1?key=hunter2", BadRequest, "more than an address"),
        ("github", EndpointFailed, "shut down on 2026-07-30"),
        ("https://models.github.ai/inference", EndpointFailed, "shut down"),
    ],
)
def test_addresses_that_cannot_be_used(monkeypatch, named, kind, words):
    monkeypatch.setenv("LABS_ENDPOINT", named)
    with pytest.raises(kind, match=words) as caught:
        load("endpoint")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("seconds", ["0", "-1", "soon", "inf"])
def test_timeouts_that_make_no_sense(monkeypatch, seconds):
    monkeypatch.setenv("LABS_ENDPOINT", "mlx")
    monkeypatch.setenv("LABS_ENDPOINT_TIMEOUT", seconds)
    with pytest.raises(BadRequest, match="LABS_ENDPOINT_TIMEOUT"):
        endpoints.from_environment()


def test_every_preset_is_dated_and_has_a_source():
    for preset in endpoints.presets():
        assert preset.url.startswith("http") and preset.known and preset.checked and preset.source, preset.name


def test_what_was_known_is_said_in_the_language_of_the_reader():
    with speaking("ko"):
        assert "닫혔습니다" in next(preset.ended for preset in endpoints.presets() if preset.name == "github")
    assert "shut down" in next(preset.ended for preset in endpoints.presets() if preset.name == "github")


def test_a_whole_course_can_be_sent_to_an_endpoint(point, monkeypatch):
    model = point("http://127.0.0.1:9/v1")
    assert load("instruct", tier="endpoint") is model is load("endpoint")
    assert "LABS_ENDPOINT names 127.0.0.1:9" in model.reason and repr(model).endswith("endpoint)")
    monkeypatch.setenv("LABS_MODELS", "endpoint")
    assert load("vision") is model and model.takes_images
    assert all(name != model.name for name, _ in memory().models)
    monkeypatch.setenv("LABS_MODELS", "auto")
    assert choose("instruct").card.tier != "endpoint", "nothing leaves the machine unasked"


# -- a real server -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_real_mlx_server_answers_as_the_same_model_in_process(point, mlx_server):
    url, folder = mlx_server
    remote, local = point(url, model=folder, key=""), load("instruct", tier="tiny")
    for question in ("Where is Changsha?", "长沙在哪里?", "What is 47 + 38?"):
        there, here = remote.ask(question, max_tokens=60), local.ask(question, max_tokens=60)
        assert there.text.strip() == here.text.strip() and there.finish_reason == here.finish_reason
        assert there.prompt_tokens == here.prompt_tokens, "the same prompt, made by the server"
    told = remote.ask("Where is Changsha?", max_tokens=60, top_logprobs=3)  # mlx-lm 0.32.2 does not stream them
    assert told.text == remote.ask("Where is Changsha?", max_tokens=60).text
    for _ in remote.stream("Count from 1 to 40.", max_tokens=200):
        break
    assert remote.last.finish_reason == "cancelled"
    assert remote.ask("Where is Changsha?", max_tokens=60).text.strip() == there_text(local), "free again after a stop"
    local.release()


def there_text(local) -> str:
    return local.ask("Where is Changsha?", max_tokens=60).text.strip()
