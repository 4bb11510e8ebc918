"""Wrong answers that learners give in every lab."""

from __future__ import annotations


def forgets_return(*_arguments):
    """Computes, and gives nothing back."""
    result = 1 + len(_arguments)
    result += 1


def prints(*_arguments):
    """Shows a value instead of giving it back."""
    print(42)
