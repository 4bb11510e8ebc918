"""`python -m benchmarks [instruct|vision|moe|memory|real] [...]`: run one, or the first three; the rest goes to it."""

import sys

from benchmarks import bench_instruct, bench_memory, bench_moe, bench_real, bench_vision

BENCHMARKS = {"instruct": bench_instruct.main, "vision": bench_vision.main, "moe": bench_moe.main}
ASKED_FOR = {"memory": bench_memory.main, "real": bench_real.main}  # minutes, and gigabytes of memory and disk

if len(sys.argv) > 1 and sys.argv[1] in BENCHMARKS | ASKED_FOR:
    (BENCHMARKS | ASKED_FOR)[sys.argv.pop(1)]()
elif len(sys.argv) > 1:
    sys.exit(f"Name a benchmark first: {', '.join(BENCHMARKS | ASKED_FOR)}.")
else:
    for run in BENCHMARKS.values():
        run()
