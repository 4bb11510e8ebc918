"""Serving: model servers that belong to a notebook, many clients at once, and what goes wrong between them.

| module | job |
| --- | --- |
| `server` | start a model server as a child process on loopback, read its log, kill it, start it again, end it |
| `child` | what runs in that process |
| `gguf_model` | a bundled text model as a GGUF file, for llama.cpp's server |
| `load` | many clients ask at once; what each of them waited for |
| `retry` | when to ask again, and after how long |
| `proxy` | what a server for a class has in front of it: a key, a bound, one model |
| `drafting` | how often a small model guesses what a larger one writes |
| `costs` | what tokens cost, at prices that you fill in |

Names are resolved on first use: looking at prices should not import an HTTP library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labs_helper.common.on_first_use import on_first_use

if TYPE_CHECKING:
    from labs_helper.serving.costs import Bill, Prices, bill
    from labs_helper.serving.drafting import guessed
    from labs_helper.serving.load import Reply, Run, load_test
    from labs_helper.serving.proxy import Gate, gate
    from labs_helper.serving.retry import Backoff
    from labs_helper.serving.server import ModelServer, serve

_HOMES = {
    **dict.fromkeys(("Bill", "Prices", "bill"), "costs"),
    "guessed": "drafting",
    **dict.fromkeys(("Gate", "gate"), "proxy"),
    **dict.fromkeys(("Reply", "Run", "load_test"), "load"),
    "Backoff": "retry",
    **dict.fromkeys(("ModelServer", "serve"), "server"),
}

__all__ = [
    "Backoff",
    "Bill",
    "Gate",
    "ModelServer",
    "Prices",
    "Reply",
    "Run",
    "bill",
    "gate",
    "guessed",
    "load_test",
    "serve",
]

__getattr__ = on_first_use(__name__, _HOMES)
