"""Streams as no careful server would send them, made from a seed, each with the text that has to come out.

    python tests/engines/generated_streams.py 1000 --seed 7

asks a model behind a server on loopback once for each stream. It prints the seed and counts lost texts, exceptions
other than EndpointFailed, and streams whose end was judged wrongly. tests/engines/test_stream_reader.py runs it in a
process of its own and looks at its stderr as well.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KEY = "nvapi-very-secret-0123456789"
ABSENT = object()
WORDS = [
    "Changsha ",
    "is in ",
    "Hunan.",
    " n",
    "nv",
    "长沙在",
    "湖南",
    "안녕 ",
    "😀",
    "\U0001f469\u200d\U0001f467",
    "é",
]
WORDS += ["\x1b[31m", "\n\n", "{", "data: ", "[DONE]", KEY]
ODD = [None, "", 0, 5, -1, 1.5, True, False, [], {}, "x", [None], {"a": None}, [[]], 1e300]  # for fields without text
HARMLESS_EVENTS = [
    b": keep-alive",
    b":",
    b"data: null",
    b"data: {}",
    b"data:",
    b"data",
    b"data: 5",
    b'data: "ping"',
    b"data: ping",
    b"event: ping" + b"\n" + b"data: {}",
    b"retry: 100",
    b"id: 7",
    b'data: {"choices": null}',
    b'data: {"choices": []}',
    b'data: {"choices": [null]}',
    b'data: {"choices": [{}]}',
    b'data: {"choices": [{"delta": null}]}',
    b'data: {"choices": [{"delta": {"content": null}, "finish_reason": null}], "error": null}',
    b'data: {"usage": {"prompt_tokens": 3, "completion_tokens": 4}}',
    b'data: {"usage": null, "choices": [{"delta": {"role": "assistant", "content": ""}}]}',
]
BROKEN_EVENTS = [  # the place of some text, which is lost: the answer must not pass for whole
    b'data: {"choices": [{"delta": {"content": "lo',
    b"data: {not json",
    b'data: {"choices": [{"delta": {"content": 5}}]}',
    b'data: {"choices": [{"delta": {"content": true}}]}',
    b'data: {"choices": [{"delta": {"content": [5]}}]}',
    b'data: {"choices": [{"delta": "lo"}]}',
    b'data: {"choices": [{"delta": ["lo"]}]}',
    b'data: {"choices": {"delta": {"content": "lo"}}}',
    b'data: {"choices": "lo"}',
    b'data: {"choices": ["lo"]}',
]
ERRORS = [
    b'data: {"error": {"message": "out of memory", "code": 500}}',
    b'data: {"error": "out of memory"}',
    b'data: {"error": {"message": null}}',
    b'data: {"error": 5}',
    b'data: {"object": "error", "message": "out of memory", "code": null}',
    b"event: error" + b"\n" + b"data: out of memory",
    b"event: error" + b"\n" + b'data: {"message": {"detail": "out of memory"}}',
]


@dataclass
class Stream:
    """What is sent, in the pieces in which it is sent, and what has to come out of it.

    Attributes:
        text: what the learner has afterwards, in the answer or in `model.last`.
        whole: whether it is a complete answer; otherwise EndpointFailed is due.
        reset: the connection breaks instead of ending.
    """

    segments: list[bytes] = field(default_factory=list)
    text: str = ""
    whole: bool = True
    reset: bool = False


def generate(rng: random.Random) -> Stream:
    """One stream with the text that it holds."""
    units = "".join(rng.choices(WORDS, k=rng.randint(1, 8)))
    if rng.random() < 0.1:
        units += rng.choice(["\ud83d", "\ude00", "\ud83d "])  # half a character that never gets its other half
    pieces = _cut(rng, units)
    events: list[tuple[bytes, str]] = [(_chunk(rng, piece), piece) for piece in pieces]
    if rng.random() < 0.9:  # most servers begin with the role
        events.insert(0, (b'data: {"choices": [{"delta": {"role": "assistant"}}]}', ""))
    for _time in range(rng.randint(0, 6)):
        events.insert(rng.randint(0, len(events)), (rng.choice(HARMLESS_EVENTS), ""))
    stream = Stream(whole=True)
    kind = rng.choices(["well", "broken event", "error", "no end", "reset"], [6, 1, 1, 1, 1])[0]
    if kind == "broken event":
        place = rng.randint(0, len(events) - 1)
        events[place] = (rng.choice(BROKEN_EVENTS), "")
        stream.whole = False
    if kind == "error":
        del events[rng.randint(0, len(events)) :]
        events.append((rng.choice(ERRORS), ""))
        stream.whole = False
    said = [piece for _event, piece in events]
    if kind in ("well", "broken event"):
        events += [(event, "") for event in _end(rng)]
    if kind in ("no end", "reset"):
        stream.whole, stream.reset = False, kind == "reset"
    stream.text = _right("".join(said))
    stream.segments = _bytes(rng, [event for event, _piece in events], last_is_open=kind in ("no end", "reset"))
    return stream


def _right(units: str) -> str:
    """What a learner should read: pairs of surrogates joined, single ones replaced, the key hidden."""
    text, at = "", 0
    units = units.replace(KEY, "***")
    while at < len(units):
        pair = units[at : at + 2]
        if len(pair) == 2 and "\ud800" <= pair[0] <= "\udbff" and "\udc00" <= pair[1] <= "\udfff":
            text += chr(0x10000 + (ord(pair[0]) - 0xD800) * 0x400 + ord(pair[1]) - 0xDC00)
            at += 2
        else:
            text += "\ufffd" if "\ud800" <= pair[0] <= "\udfff" else pair[0]
            at += 1
    return text


def _cut(rng: random.Random, text: str) -> list[str]:
    """A text cut anywhere, also between the two surrogates of a character."""
    units = text.encode("utf-16-le", "surrogatepass")
    places = sorted({2 * rng.randint(0, len(units) // 2) for _time in range(rng.randint(0, 9))} - {0, len(units)})
    parts = [units[a:b] for a, b in zip([0, *places], [*places, len(units)], strict=True)]
    return [part.decode("utf-16-le", "surrogatepass") for part in parts]


def _fields(rng: random.Random, **fields: Any) -> dict[str, Any]:
    """The fields in any order, without those that are absent."""
    names = list(fields)
    rng.shuffle(names)
    return {name: fields[name] for name in names if fields[name] is not ABSENT}


def _any(rng: random.Random, *good: Any) -> Any:
    return rng.choice([ABSENT, *good, *good, *ODD])


def _chunk(rng: random.Random, piece: str) -> bytes:
    """A chunk that adds a piece of text, with every other field absent, null, empty, right or wrong."""
    middle = rng.randint(0, len(piece))
    content = rng.choice(
        [
            piece,
            piece,
            piece,
            [{"type": "text", "text": piece}],
            [piece[:middle], {"text": piece[middle:]}],
            [{"type": "image_url", "image_url": {}}, {"type": "text", "text": {"value": piece}}, None],
        ]
    )
    entry = _fields(
        rng,
        token=_any(rng, piece),
        logprob=_any(rng, -0.5, float("nan")),
        id=_any(rng, 7),
        bytes=_any(rng),
        top_logprobs=_any(rng, [{"token": piece, "logprob": -0.5}, {"token": None}], [5]),
    )
    delta = _fields(
        rng, content=content, role=_any(rng, "assistant"), tool_calls=_any(rng), refusal=_any(rng), reasoning=_any(rng)
    )
    choice = _fields(
        rng,
        delta=delta,
        index=_any(rng, 0),
        finish_reason=rng.choice([ABSENT, None, "", 0, [], {}, False]),
        logprobs=_any(rng, {"content": [entry]}, {"content": None}, {"content": [entry, entry]}, {"content": [5]}),
        message=_any(rng),
    )
    if rng.random() < 0.1:  # the older form
        choice.pop("delta")
        choice["text"] = content
    other = {"index": 1, "delta": {"content": "B"}}  # a second answer, which nobody asked for
    value = _fields(
        rng,
        choices=rng.choice([[choice], [choice], [choice], [None, choice], [choice, other]]),
        id=_any(rng, "1"),
        object=rng.choice([ABSENT, None, "", 5, "chat.completion.chunk"]),
        created=_any(rng, 0),
        model=_any(rng, "phi"),
        error=rng.choice([ABSENT, None, "", {}, [], False, 0]),
        usage=_any(rng, {"prompt_tokens": rng.choice([*ODD, 12]), "completion_tokens": rng.choice([*ODD, 3])}),
    )
    indent = rng.choice([None, None, None, 1])  # spread over several lines, each a "data:" of its own
    text = json.dumps(value, ensure_ascii=bool(_halves(piece)) or rng.random() < 0.5, indent=indent)
    return b"\n".join(b"data: " + line for line in text.encode("utf-8").split(b"\n"))


def _halves(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def _end(rng: random.Random) -> list[bytes]:
    """How a whole answer may end."""
    reason = b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}'
    empty = b'data: {"choices": [{"delta": {"content": ""}, "finish_reason": ""}]}'
    usage = b'data: {"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 9}}'
    done = rng.choice([b"data: [DONE]", b"data:[DONE]"])
    after = b'data: {"choices": [{"delta": {"content": "never"}}]}'
    chat = b'data: {"choices": [{"delta": {"role": "assistant"}, "index": 0}]}'  # sent even if nothing else was
    ends = [[reason, usage, done], [reason, done], [reason], [done], [empty, done], [reason, usage], [done, after]]
    return [chat, *rng.choice(ends)]


def _bytes(rng: random.Random, events: list[bytes], *, last_is_open: bool) -> list[bytes]:
    """The events as bytes, with one kind of line end or a mixture, cut anywhere."""
    ends = rng.choice([[b"\n"], [b"\r\n"], [b"\r"], [b"\n", b"\r\n"]])
    out = bytearray(rng.choice([b"", b"", b"\xef\xbb\xbf", b"\n\n"]))
    for event in events:
        end = rng.choice(ends)
        if rng.random() < 0.3:
            event = re.sub(rb"(?m)^data: ", b"data:", event)
        out += event.replace(b"\n", end) + end + end
    if not last_is_open and rng.random() < 0.2:
        out = out.rstrip(b"\r\n")
    many = rng.choice([0, 2, 10, len(out)])
    places = sorted({rng.randint(1, len(out)) for _time in range(many)} - {len(out)}) if len(out) > 1 else []
    return [bytes(out[a:b]) for a, b in zip([0, *places], [*places, len(out)], strict=True)]


def _send(handler: Any, stream: Stream) -> None:
    handler.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    if stream.reset:
        handler.send_header("Content-Length", "1000000")
    else:
        handler.send_header("Connection", "close")
    handler.end_headers()
    handler.close_connection = True
    for segment in stream.segments:
        handler.wfile.write(segment)
        handler.wfile.flush()


def run(count: int, seed: int) -> dict[str, int]:
    """Ask for `count` streams; how many texts were lost, and what else went wrong."""
    from fake_endpoint import FakeEndpoint

    from labs_helper.engines.stream_reader import StreamReader
    from labs_helper.errors import EndpointFailed
    from labs_helper.models.load import load

    rng = random.Random(seed)
    bad = {"lost texts": 0, "other exceptions": 0, "ends judged wrongly": 0}
    current = Stream()

    def report(kind: str, number: int, detail: object) -> None:
        bad[kind] += 1
        print(f"{kind}: stream {number} of seed {seed}: {detail!r}\n  {b''.join(current.segments)!r}")

    with FakeEndpoint(lambda fake, handler, body: _send(handler, current)) as fake:
        os.environ |= {"LABS_ENDPOINT": fake.url, "LABS_ENDPOINT_MODEL": "phi", "LABS_ENDPOINT_KEY": KEY}
        model = load("endpoint")
        for number in range(count):
            current = generate(rng)
            model.last, whole = None, True
            try:
                model.ask("Where?", top_logprobs=2)
            except EndpointFailed:
                whole = False
            except Exception as error:
                report("other exceptions", number, error)
                continue
            text = model.last.text if model.last else ""
            reader = StreamReader(2, KEY)  # the same bytes again, cut exactly as they were made
            tokens = [token for segment in current.segments for token in reader.feed(segment)] + reader.close()
            if not text == current.text == "".join(token.text for token in tokens):
                report("lost texts", number, (text, current.text))
            if whole != current.whole:
                report("ends judged wrongly", number, current.whole)
            if number % 10 == 0:  # leave early: nothing may complain
                for _token in model.stream("Where?") if current.whole else ():
                    break
    return bad


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int, nargs="?", default=1000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    chosen = parser.parse_args()
    start = time.perf_counter()
    bad = run(chosen.count, chosen.seed)
    print(f"{chosen.count} streams of seed {chosen.seed} in {time.perf_counter() - start:.0f} s: {bad}")
    return 1 if any(bad.values()) else 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.exit(main())
