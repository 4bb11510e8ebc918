"""`python -m benchmarks [instruct|vision|moe|gpu|memory|real|onnx|serve|views] [...]`: run one, or the first three."""

import sys

from benchmarks import (
    bench_gpu,
    bench_instruct,
    bench_memory,
    bench_moe,
    bench_onnx,
    bench_real,
    bench_serve,
    bench_vision,
)


def views() -> None:
    from benchmarks import bench_views  # it needs selenium, which only the tests bring

    bench_views.main()


BENCHMARKS = {"instruct": bench_instruct.main, "vision": bench_vision.main, "moe": bench_moe.main}
# Minutes, and gigabytes of memory and disk; or servers that want the machine for themselves.
ASKED_FOR = {
    "gpu": bench_gpu.main,
    "memory": bench_memory.main,
    "real": bench_real.main,
    "onnx": bench_onnx.main,
    "serve": bench_serve.main,
    "views": views,
}

if len(sys.argv) > 1 and sys.argv[1] in BENCHMARKS | ASKED_FOR:
    (BENCHMARKS | ASKED_FOR)[sys.argv.pop(1)]()
elif len(sys.argv) > 1:
    sys.exit(f"Name a benchmark first: {', '.join(BENCHMARKS | ASKED_FOR)}.")
else:
    for run in BENCHMARKS.values():
        run()
