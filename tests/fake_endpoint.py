"""A model server on loopback that answers as it is told: well, badly, slowly, or not at all."""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Server(ThreadingHTTPServer):
    def handle_error(self, request, address):
        """A client that has gone is part of many tests; a word on stderr would end up in another one."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, address)


class FakeEndpoint:
    """Serves on 127.0.0.1 until the `with` block ends. `requests` keeps what came: (path, headers, body).

    behave: called with the handler and the request's body; the default streams the words of `answer`.
    models: names that the server lists.
    """

    def __init__(self, behave=None, answer=("Changsha ", "is in ", "Hunan."), models=("phi-fake",)):
        self.behave, self.answer = behave or FakeEndpoint.stream, answer
        self.requests: list[tuple[str, dict, dict]] = []
        self.gone = threading.Event()  # the client has closed the connection in the middle of an answer
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version, timeout = "HTTP/1.1", 20

            def do_GET(self):
                self.answer_with(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in models]})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                headers = {name.title(): value for name, value in self.headers.items()}
                fake.requests.append((self.path, headers, body))
                try:
                    fake.behave(fake, self, body)
                except (BrokenPipeError, ConnectionResetError):
                    fake.gone.set()
                    self.close_connection = True

            def answer_with(self, code, content, headers=()):
                raw = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(code)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def start_stream(self):
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                self.close_connection = True

            def event(self, **values):
                chunk = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "phi-fake", **values}
                self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
                self.wfile.flush()

            def piece(self, text, finish=None, logprobs=None):
                delta = {"content": text} if text is not None else {}
                self.event(choices=[{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": logprobs}])

            def log_message(self, *arguments):
                pass

        self.server = _Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def stream(self, handler, body) -> None:
        """A good answer: its pieces, the end, the counts."""
        handler.start_stream()
        for text in self.answer:
            handler.piece(text)
        handler.piece(None, "stop")
        usage = {
            "prompt_tokens": 12,
            "completion_tokens": 9,
            "total_tokens": 21,
            "prompt_tokens_details": {"cached_tokens": 5},
        }
        handler.event(choices=[], usage=usage)
        handler.wfile.write(b"data: [DONE]\n\n")

    def __enter__(self) -> FakeEndpoint:
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *reason) -> None:
        self.server.shutdown()
        self.server.server_close()


def failing(code: int, message: str = "no", times: int = 10**6, headers=()):
    """A behaviour: the first `times` requests fail with a status, the rest are answered."""

    def behave(fake, handler, body):
        if len(fake.requests) <= times:
            handler.answer_with(code, {"error": {"message": message, "code": code}}, headers)
        else:
            fake.stream(handler, body)

    return behave
