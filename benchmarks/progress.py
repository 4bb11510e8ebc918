"""How far a benchmark of minutes is, told beside its table."""

import sys


def say(text: str) -> None:
    """Write a line to standard error, so that standard output holds the table alone."""
    print(text, file=sys.stderr, flush=True)
