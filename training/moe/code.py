"""Python for beginners: write a function or a loop, or say what a few lines print."""

from __future__ import annotations

import ast

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
        rng, kind = self.random, "exact"
        form = rng.choice(("sum", "repeat", "join", "index", "larger", "sorted", "lists", "loop", "variable", "length"))

        def word():
            return rng.choice(words(rng.choice(("animal", "fruit"))))["en"].split()[-1]

        def numbers(low, high):
            return [rng.randint(1, 20) for _ in range(rng.randint(low, high))]

        make = {
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
        }[form]
        drawn = self.draw(make, "python", form)
        match form:
            case "sum":
                sign, a, b = drawn
                a, b = (max(a, b), min(a, b)) if sign == "-" else (a, b)
                total = a + b if sign == "+" else a - b
                if not self.mine(
                    "subtract" if sign == "-" else "add", (a, b)
                ):  # the sums of the arithmetic task stay apart too
                    return self.output(language)
                code, answer, expect, kind = f"print({a} {sign} {b})", worked(a, sign, b, total), str(total), "number"
            case "repeat":
                code, answer = f'print("{drawn[0]}" * {drawn[1]})', drawn[0] * drawn[1]
            case "join":
                code, answer = f'print("{drawn[0]}" + "{drawn[1]}")', drawn[0] + drawn[1]
            case "index":
                code, answer = f"print({drawn[0]}[{drawn[1]}])", str(drawn[0][drawn[1]])
            case "larger":
                code, answer = (
                    f"print({drawn[0]}({drawn[1]}, {drawn[2]}))",
                    str({"max": max, "min": min}[drawn[0]](drawn[1:])),
                )
            case "sorted":
                code, answer = f"print(sorted({drawn}))", str(sorted(drawn))
            case "lists":
                code, answer = f"print({drawn[0]} + {drawn[1]})", str(drawn[0] + drawn[1])
            case "loop":
                items, sign, k = drawn
                code = f"for n in {items}:\n    print(n {sign} {k})"
                answer = "\n".join(str(n + k if sign == "+" else n * k) for n in items)
            case "variable":
                n, sign, k = drawn
                code, answer = f"n = {n}\nn = n {sign} {k}\nprint(n)", str(n + k if sign == "+" else n * k)
            case "length":
                code, answer = f"print(len({drawn}))", str(len(drawn))
        return self.case(
            "python",
            language,
            self.ask(language, "output", {"code": code}),
            answer,
            answer if kind == "exact" else expect,
            kind,
            code=code,
        )


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
