"""One model server and more and more clients: tokens a second in all, and what each client waits for.

`python -m benchmarks serve [--clients 1 2 4 8 16 20] [--model instruct] [--tier tiny] [--packed] [--rounds 3] [--json]`
starts mlx_lm.server on loopback and measures each number of clients several times, in an order that changes from round
to round: a machine that is busy with something else is so for all of them. The last line is the ratio that the project
promises: the median of 20 clients over the median of one.
"""

from __future__ import annotations

import argparse
import json
import os
from statistics import median

from labs_helper.serving import Run, load_test, serve

CLIENTS = (1, 2, 4, 8, 16, 20)
ANSWERS = 48  # of one measurement, at least; a client asks twice or more
QUESTIONS = (
    "Count from 1 to 15.",
    "Tell me about Paris.",
    "List three colours.",
    "Tell me a short story about a cat",
    "Where is Lima?",
    "Give me Peru as JSON.",
)


def measure(
    clients: tuple[int, ...] = CLIENTS,
    *,
    model: str = "instruct",
    tier: str | None = "tiny",
    packed: bool = False,
    rounds: int = 3,
    answers: int = ANSWERS,
) -> dict[int, list[Run]]:
    """The runs of each number of clients.

    Example:
        measure((1, 20), rounds=1)
    """
    runs: dict[int, list[Run]] = {count: [] for count in clients}
    with serve(model, tier, expanded=False if packed else None, cached=2, together=32, minutes=60) as server:
        print(server, flush=True)
        load_test(server, max(clients), QUESTIONS, each=1)  # the first batch of each size is slower
        for turn in range(rounds):
            for count in clients if turn % 2 == 0 else clients[::-1]:
                run = load_test(server, count, QUESTIONS, each=max(2, answers // count), seconds=300)
                runs[count].append(run)
                print(run, flush=True)
    return runs


def summary(runs: dict[int, list[Run]]) -> list[dict[str, float]]:
    """One row for each number of clients: medians over the rounds."""
    return [
        {
            "clients": count,
            "tokens_per_second": round(median(run.tokens_per_second for run in several), 1),
            "first_ms": round(1000 * median(run.to_first for run in several), 1),
            "per_token_ms": round(1000 * median(run.per_token for run in several), 2),
            "lost": sum(run.lost for run in several),
        }
        for count, several in runs.items()
    ]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks serve", description="Clients against one model server.")
    parser.add_argument("--clients", type=int, nargs="+", default=list(CLIENTS))
    parser.add_argument("--model", default="instruct")
    parser.add_argument("--tier", default="tiny")
    parser.add_argument("--packed", action="store_true", help="leave the weights as they are stored")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    clients = tuple(sorted(set(options.clients)))
    runs = measure(clients, model=options.model, tier=options.tier, packed=options.packed, rounds=options.rounds)
    rows = summary(runs)
    if options.json:
        print(json.dumps({"cpus": os.cpu_count(), "load": os.getloadavg(), "rows": rows}))
        return
    for row in rows:
        print("  ".join(f"{name} {value:g}" for name, value in row.items()))
    first, last = rows[0], rows[-1]
    ratio = last["tokens_per_second"] / first["tokens_per_second"]
    print(f"{last['clients']:g} clients over {first['clients']:g}: {ratio:.2f} times the tokens")


if __name__ == "__main__":
    main()
