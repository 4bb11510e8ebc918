"""Python for beginners: write a function or a loop, or say what a few lines print."""

from __future__ import annotations

import ast
from collections.abc import Callable

from training.cases import Case
from training.moe.phrasing import Phrasing, own_phrases
from training.working import worked
from training.world import fill, words

FUNCTIONS = {  # name: (arguments, what it returns); {k} is drawn
    "add": ("n", "n + {k}"),
    "subtract": ("n", "n - {k}"),
    "multiply": ("n", "n * {k}"),
    "double": ("n", "n * 2"),
    "add_two": ("a, b", "a + b"),
    "larger": ("a, b", "max(a, b)"),
    "smaller": ("a, b", "min(a, b)"),
    "first": ("items", "items[0]"),
    "last": ("items", "items[-1]"),
    "count": ("items", "len(items)"),
    "total": ("items", "sum(items)"),
    "reverse": ("items", "items[::-1]"),
}
LOOPS = {"loop_add": "n + {k}", "loop_multiply": "n * {k}", "loop_each": "n"}


class Code(Phrasing):
    """Questions about Python."""

    def python(self, language: str | None = None) -> Case:
        """Write a function or a loop, or say what a few lines print."""
        language = language or self.language()
        return self.random.choices((self.function, self.loop, self.output), (0.35, 0.2, 0.45))[0](language)

    def function(self, language: str) -> Case:
        name = self.random.choice((*FUNCTIONS, "add", "subtract", "multiply", "multiply"))
        arguments, result = FUNCTIONS[name]
        values = {"k": self.draw(lambda: str(self.random.randint(3, 99)), "python", name)} if "{k}" in result else {}
        what = fill(self.random.choice(own_phrases()[language][f"code_{name}"]), values, language)
        code = f"def {name}({arguments}):\n    return {result.format(**values)}"
        return self.case(
            "python", language, self.ask(language, "function", {"what": what}), code, code, "code", code=code
        )

    def loop(self, language: str) -> Case:
        rng = self.random
        if rng.random() < 0.4:
            a, b = self.draw(lambda: (lambda a: (a, a + rng.randint(2, 20)))(rng.randint(0, 40)), "python", "range")
            what = fill(rng.choice(own_phrases()[language]["loop_range"]), {"a": str(a), "b": str(b)}, language)
            code = f"for n in range({a}, {b + 1}):\n    print(n)"
        else:
            name = rng.choice(tuple(LOOPS))
            items, k = self.draw(
                lambda: ([rng.randint(1, 40) for _ in range(rng.randint(2, 5))], rng.randint(2, 20)), "python", "loop"
            )
            what = fill(rng.choice(own_phrases()[language][name]), {"items": str(items), "k": str(k)}, language)
            code = f"for n in {items}:\n    print({LOOPS[name].format(k=k)})"
        return self.case("python", language, self.ask(language, "loop", {"what": what}), code, code, "code", code=code)

    def output(self, language: str) -> Case:
        """What does this print? The output stands there as it would on a screen; larger sums are worked out first."""
        form = self.random.choice(
            ("sum", "repeat", "join", "index", "larger", "sorted", "lists", "loop", "variable", "length")
        )
        drawn = self.draw(self._makers()[form], "python", form)
        if form == "sum":
            return self._printed_sum(language, *drawn)
        code, answer = written(form, drawn)
        question = self.ask(language, "output", {"code": code})
        return self.case("python", language, question, answer, answer, "exact", code=code)

    def _makers(self) -> dict[str, Callable[[], tuple | list]]:
        """What draws the values of each form of code."""
        rng = self.random

        def word() -> str:
            return rng.choice(words(rng.choice(("animal", "fruit"))))["en"].split()[-1]

        def numbers(low: int, high: int) -> list[int]:
            return [rng.randint(1, 20) for _ in range(rng.randint(low, high))]

        return {
            "sum": lambda: (rng.choice("+-"), rng.randint(10, 99), rng.randint(10, 99)),
            "repeat": lambda: (word(), rng.randint(2, 4)),
            "join": lambda: (word(), word()),
            "index": lambda: ((items := numbers(3, 5)), rng.choice((*range(len(items)), -1))),
            "larger": lambda: (rng.choice(("max", "min")), rng.randint(1, 99), rng.randint(1, 99)),
            "sorted": lambda: rng.sample(range(1, 10), rng.randint(3, 4)),
            "lists": lambda: (numbers(1, 3), numbers(1, 2)),
            "loop": lambda: (numbers(2, 4), rng.choice("+*"), rng.randint(2, 3)),
            "variable": lambda: (rng.randint(2, 20), rng.choice("+*"), rng.randint(2, 5)),
            "length": lambda: numbers(2, 6),
        }

    def _printed_sum(self, language: str, sign: str, a: int, b: int) -> Case:
        """A sum that is worked out before its result; the sums of the arithmetic task stay apart too."""
        a, b = (max(a, b), min(a, b)) if sign == "-" else (a, b)
        if not self.mine("subtract" if sign == "-" else "add", (a, b)):
            return self.output(language)
        total, code = a + b if sign == "+" else a - b, f"print({a} {sign} {b})"
        question = self.ask(language, "output", {"code": code})
        return self.case("python", language, question, worked(a, sign, b, total), str(total), "number", code=code)


def written(form: str, drawn) -> tuple[str, str]:
    """Code of one form with the values that were drawn for it, and what it prints.

    >>> written("repeat", ("cat", 2))
    ('print("cat" * 2)', 'catcat')
    """
    match form:
        case "repeat":
            return f'print("{drawn[0]}" * {drawn[1]})', drawn[0] * drawn[1]
        case "join":
            return f'print("{drawn[0]}" + "{drawn[1]}")', drawn[0] + drawn[1]
        case "index":
            return f"print({drawn[0]}[{drawn[1]}])", str(drawn[0][drawn[1]])
        case "larger":
            name, *numbers = drawn
            return f"print({name}({numbers[0]}, {numbers[1]}))", str({"max": max, "min": min}[name](numbers))
        case "sorted":
            return f"print(sorted({drawn}))", str(sorted(drawn))
        case "lists":
            return f"print({drawn[0]} + {drawn[1]})", str(drawn[0] + drawn[1])
        case "loop":
            items, sign, k = drawn
            printed = (str(n + k if sign == "+" else n * k) for n in items)
            return f"for n in {items}:\n    print(n {sign} {k})", "\n".join(printed)
        case "variable":
            n, sign, k = drawn
            return f"n = {n}\nn = n {sign} {k}\nprint(n)", str(n + k if sign == "+" else n * k)
        case _:
            return f"print(len({drawn}))", str(len(drawn))


def same_code(answer: str, reference: str) -> bool:
    """Whether two pieces of code are the same but for layout and names that they choose themselves. Parsed, never run.

    >>> same_code("def twice(x): return x*2", "def double(n):\\n    return n * 2")
    True
    """

    def shape(text: str) -> str:
        tree, names = ast.parse(text), {}
        bound = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)} | {
            node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                node.name = "function"
            elif isinstance(node, ast.arg):
                node.arg = names.setdefault(node.arg, f"v{len(names)}")
            elif isinstance(node, ast.Name) and node.id in bound:
                node.id = names.setdefault(node.id, f"v{len(names)}")
        return ast.dump(tree)

    try:
        return shape(answer.strip()) == shape(reference)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
