"""What runs in the process of a model server: python -m labs_helper.serving.child PLAN, with PLAN in JSON.

It ends when its parent does, in whatever way that ends: its standard input is a pipe that the parent holds open, and
the system closes that pipe. Without a parent that asks it to end, it ends after its time limit.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

Plan = dict[str, Any]

TIME_IS_UP, PARENT_IS_GONE = 9, 0


def main() -> None:
    """Read the plan and serve until the end."""
    plan: Plan = json.loads(sys.argv[1])
    threading.Thread(target=_wait_for_parent, daemon=True).start()
    limit = threading.Timer(plan["seconds"], os._exit, (TIME_IS_UP,))
    limit.daemon = True
    limit.start()
    _ENGINES[plan["engine"]](plan)


def _wait_for_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(PARENT_IS_GONE)


def _mlx(plan: Plan) -> None:
    """mlx_lm.server as it is, with two things that its options cannot say.

    Python's HTTP server lets five connections wait to be taken; with twenty clients some are reset. And on a CPU
    expanded weights are what makes many answers at a time worth while (corrections/dequantize.py).
    """
    from labs_helper.corrections import before_mlx

    before_mlx()
    from socketserver import TCPServer

    from mlx_lm import server

    TCPServer.request_queue_size = plan["waiting"]
    if plan["expanded"]:
        server.load = _expanding(server.load)
    sys.argv = ["mlx_lm.server", *_place(plan)]
    sys.argv += ["--prompt-cache-size", str(plan["cached"]), "--decode-concurrency", str(plan["together"])]
    sys.argv += ["--prompt-concurrency", str(min(8, plan["together"]))]
    if plan["draft"]:
        sys.argv += ["--draft-model", plan["draft"], "--num-draft-tokens", str(plan["drafted"])]
    server.main()


def _expanding(load: Callable[..., Any]) -> Callable[..., Any]:
    from labs_helper.corrections import dequantize

    def load_expanded(*arguments: Any, **options: Any) -> Any:
        loaded = load(*arguments, **options)
        dequantize.apply(loaded[0])
        return loaded

    return load_expanded


def _mlx_vision(plan: Plan) -> None:
    """mlx_vlm.server with the course's corrections: without them it loads no tower of the bundled model's size."""
    from labs_helper.corrections import before_mlx, vision

    before_mlx()
    vision.apply()
    from mlx_vlm import server

    sys.argv = ["mlx_vlm.server", *_place(plan)]
    server.main()


def _place(plan: Plan) -> list[str]:
    return ["--model", plan["model"], "--host", "127.0.0.1", "--port", str(plan["port"])]


def _llama_cpp(plan: Plan) -> None:
    """llama.cpp's own server, which the package xllamacpp holds."""
    import xllamacpp

    options = xllamacpp.CommonParams()
    options.model.path = plan["model"]
    options.hostnames, options.port = ["127.0.0.1"], plan["port"]
    options.n_parallel, options.n_ctx = plan["together"], plan["together"] * plan["context"]
    options.cpuparams.n_threads = options.cpuparams_batch.n_threads = plan["threads"]
    options.fit_params = False
    options.chat_template = plan["template"]
    server = xllamacpp.Server(options)
    print(f"llama.cpp's server listens at {server.listening_address}", flush=True)
    threading.Event().wait()


_ENGINES: dict[str, Callable[[Plan], None]] = {"mlx": _mlx, "mlx-vision": _mlx_vision, "llama.cpp": _llama_cpp}

if __name__ == "__main__":
    main()
