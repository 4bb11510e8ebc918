"""`python -m benchmarks`: run the benchmark of the first lab."""

from benchmarks.bench_instruct import main

main()
