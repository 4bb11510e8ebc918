"""`python -m benchmarks [instruct|vision|moe] [...]`: run the benchmark of one lab, or of all; the rest goes to it."""

import sys

from benchmarks import bench_instruct, bench_moe, bench_vision

BENCHMARKS = {"instruct": bench_instruct.main, "vision": bench_vision.main, "moe": bench_moe.main}

if len(sys.argv) > 1 and sys.argv[1] in BENCHMARKS:
    BENCHMARKS[sys.argv.pop(1)]()
elif len(sys.argv) > 1:
    sys.exit(f"Name a benchmark first: {', '.join(BENCHMARKS)}.")
else:
    for run in BENCHMARKS.values():
        run()
