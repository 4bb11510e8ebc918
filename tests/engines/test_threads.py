"""Load in one thread, ask from another: in plain Python and in a Jupyter kernel with a subshell.

JupyterLab handles widget messages in a subshell, which is another thread of the kernel. Arrays of MLX that were
left lazy in one thread cannot be evaluated in another (ml-explore/mlx-lm#1181); the worker keeps us out of that.
"""

from __future__ import annotations

import threading
import time
from queue import Empty

import pytest

from labs_helper.models.load import load

LIMIT = 100  # seconds for one answer of the kernel: it imports mlx-lm on a machine that may be busy


def in_thread(function):
    got = []
    thread = threading.Thread(target=lambda: got.append(function()))
    thread.start()
    thread.join(LIMIT)
    return got[0]


def test_load_here_ask_there(model):
    here = model.ask("Hello", max_tokens=5)
    assert in_thread(lambda: model.ask("Hello", max_tokens=5)).text == here.text


def test_load_there_ask_here(tiny_checkpoint):
    def there():
        model = load(str(tiny_checkpoint))
        return model, model.ask("Hello", max_tokens=5).text

    model, text = in_thread(there)
    assert model.ask("Hello", max_tokens=5).text == text


def test_stream_there_while_here_asks(model):
    alone = model.ask("Hello", max_tokens=30).text
    texts = []
    thread = threading.Thread(
        target=lambda: texts.append("".join(token.text for token in model.stream("Hello", max_tokens=30)))
    )
    thread.start()
    assert model.ask("Hello", max_tokens=30).text == alone
    thread.join(LIMIT)
    assert texts == [alone]


class Kernel:
    """A Jupyter kernel, with one method that runs code in its main shell or in a subshell."""

    def __init__(self):
        from jupyter_client.manager import start_new_kernel

        self.manager, self.client = start_new_kernel(kernel_name="python3", startup_timeout=LIMIT)

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def subshell(self) -> str:
        """Open a subshell and return its id."""
        channel = self.client.control_channel
        request = self.client.session.msg("create_subshell_request")
        channel.send(request)
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            reply = channel.get_msg(timeout=LIMIT)
            if reply["parent_header"].get("msg_id") == request["header"]["msg_id"]:
                return reply["content"]["subshell_id"]
        raise TimeoutError("the kernel did not open a subshell")

    def send(self, code: str, subshell: str | None = None) -> str:
        message = self.client.session.msg(
            "execute_request",
            {
                "code": code,
                "silent": False,
                "store_history": False,
                "user_expressions": {},
                "allow_stdin": False,
                "stop_on_error": True,
            },
        )
        if subshell:
            message["header"]["subshell_id"] = subshell
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def result(self, message_id: str, until: str = "") -> tuple[str, str]:
        """What the code printed and the name of its error ("" if there is none).

        until: return as soon as this text was printed; otherwise wait until the kernel is idle again.
        """
        printed, error = "", ""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except Empty:
                continue
            if message["parent_header"].get("msg_id") != message_id:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                printed += content["text"]
                if until and until in printed:
                    return printed, error
            elif kind == "error":
                error = content["ename"]
                printed += "\n".join(content["traceback"])
            elif kind == "status" and content["execution_state"] == "idle":
                return printed, error
        raise TimeoutError(f"no answer from the kernel; it printed {printed!r}")

    def run(self, code: str, subshell: str | None = None) -> str:
        printed, error = self.result(self.send(code, subshell))
        assert not error, printed
        return printed


@pytest.fixture(scope="module")
def kernel(tiny_checkpoint):
    kernel = Kernel()
    try:
        kernel.run(
            "from labs_helper import load\n"
            "from labs_helper.errors import BadRequest\n"
            f"model = load({str(tiny_checkpoint)!r})\n"
            "first = model.ask('Hello', max_tokens=5).text"
        )
        yield kernel
    finally:
        kernel.close()


def test_ask_from_a_subshell_of_the_kernel(kernel):
    """Loaded in a cell, asked from the thread in which JupyterLab runs widget callbacks."""
    subshell = kernel.subshell()
    printed = kernel.run(
        "import threading\n"
        "print(threading.current_thread() is not threading.main_thread())\n"
        "print(model.ask('Hello', max_tokens=5).text == first)",
        subshell,
    )
    assert printed.split() == ["True", "True"]


def test_stop_from_a_subshell_while_a_cell_waits(kernel):
    """A cell waits for a long answer; a Stop button's callback arrives in the subshell."""
    subshell = kernel.subshell()
    cell = kernel.send(
        "import time\n"
        "job = model.submit('Hello', max_tokens=490, on_token=lambda token: time.sleep(.05))\n"
        "print('+', flush=True)\n"
        "print(job.wait(90).finish_reason)"
    )
    kernel.result(cell, until="+")
    kernel.send("model.stop()", subshell)
    printed, error = kernel.result(cell)
    assert (printed.split()[-1], error) == ("cancelled", "")


def test_interrupting_the_kernel_ends_the_answer_and_keeps_it(kernel):
    # One "+", and no flush: a flush waits for an Event, and Python 3.11 can turn an interrupt that comes while it
    # goes to sleep into "RuntimeError: release unlocked lock".
    cell = kernel.send(
        "model.last, started = None, []\n"
        "model.ask('Hello', max_tokens=490, "
        "on_token=lambda token: (started or started.append(print('+')), time.sleep(.02)))"
    )
    kernel.result(cell, until="+")
    kernel.manager.interrupt_kernel()
    printed, error = kernel.result(cell)
    assert error == "KeyboardInterrupt", printed
    printed = kernel.run(
        "print(model.last.finish_reason, 0 < model.last.generated_tokens < 490, "
        "model.ask('Hello', max_tokens=5).text == first)"
    )
    assert printed.split() == ["cancelled", "True", "True"]


def test_an_error_in_a_cell_is_two_sentences(kernel):
    printed, error = kernel.result(kernel.send("model.ask('')"))
    assert error == "BadRequest"
    assert printed.splitlines() == [
        "BadRequest: The prompt is empty.",
        "What to do: Write a question, or a conversation that ends with one.",
    ]
    assert kernel.run("print(model.ask('Hello', max_tokens=5).text == first)").strip() == "True"
