"""Sums written out as at school, step by step: a small model computes what it writes down."""

from __future__ import annotations


def worked(a: int, sign: str, b: int, result: int) -> str:
    """A calculation written out as at school, column by column: every step is one digit with one digit.

    A small model computes what it writes down. Only the larger-first half of the times table has to be known by heart.

    >>> worked(47, "+", 38, 85)
    '47 + 38: 7 + 8 = 15, 4 + 3 + 1 = 8, 47 + 38 = 85'
    >>> worked(52, "-", 38, 14)
    '52 - 38: 12 - 8 = 4, 5 - 1 - 3 = 1, 52 - 38 = 14'
    >>> worked(7, "x", 8, 56)
    '7 x 8 = 8 x 7 = 56'
    """
    whole = f"{a} {sign} {b}"
    if sign == "x":
        return f"{whole} = {result}" if a >= b else f"{whole} = {b} x {a} = {result}"
    if a < 10 and b < 10:
        return f"{whole} = {result}"
    (tens_a, ones_a), (tens_b, ones_b) = divmod(a, 10), divmod(b, 10)
    if sign == "+":
        ones = ones_a + ones_b
        carried, carry = (" + 1", 1) if ones > 9 else ("", 0)
        steps = f"{ones_a} + {ones_b} = {ones}, {tens_a} + {tens_b}{carried} = {tens_a + tens_b + carry}"
    else:
        borrowed, borrow = (" - 1", 1) if ones_b > ones_a else ("", 0)
        steps = (
            f"{ones_a + 10 * borrow} - {ones_b} = {ones_a + 10 * borrow - ones_b}, "
            f"{tens_a}{borrowed} - {tens_b} = {tens_a - borrow - tens_b}"
        )
    return f"{whole}: {steps}, {whole} = {result}"


def by_digits(a: int, b: int) -> tuple[str, int]:
    """A product with one digit, written column by column, and the product.

    >>> by_digits(47, 6)
    ('7 x 6 = 42, 4 x 6 + 4 = 28', 282)
    """
    steps, carry = [], 0
    for digit in reversed(str(a)):
        carried = f" + {carry}" if carry else ""
        found = int(digit) * b + carry
        steps.append(f"{digit} x {b}{carried} = {found}")
        carry = found // 10
    return ", ".join(steps), a * b


def long_product(a: int, b: int) -> str:
    """A product of two-digit numbers, or of one with a digit, written as at school: a line a digit, then their sum.

    >>> long_product(47, 6)
    '47 x 6: 7 x 6 = 42, 4 x 6 + 4 = 28, 47 x 6 = 282'
    >>> for line in long_product(47, 38).split("; "):
    ...     print(line)
    47 x 38: 7 x 8 = 56, 4 x 8 + 5 = 37, 376
    7 x 3 = 21, 4 x 3 + 2 = 14, 1410
    6 + 0 = 6, 7 + 1 = 8, 3 + 4 = 7, 0 + 1 = 1, 47 x 38 = 1786
    """
    whole = f"{a} x {b}"
    if b < 10:
        return f"{whole}: {by_digits(a, b)[0]}, {whole} = {a * b}"
    tens, ones = divmod(b, 10)
    (first, one), (second, other) = by_digits(a, ones), by_digits(a, tens)
    other *= 10
    columns, carry = [], 0
    for place in range(len(str(other))):
        x, y = one // 10**place % 10, other // 10**place % 10
        carried = f" + {carry}" if carry else ""
        columns.append(f"{x} + {y}{carried} = {x + y + carry}")
        carry = (x + y + carry) // 10
    return f"{whole}: {first}, {one}; {second}, {other}; {', '.join(columns)}, {whole} = {a * b}"
