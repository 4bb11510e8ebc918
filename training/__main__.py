"""Make the bundled checkpoints: `make NAME` trains, exports and measures; `export` and `card` do the later parts alone, and
`describe` writes a card anew from the figures that are there."""

from __future__ import annotations

import argparse
from importlib import import_module

from .config import recipes


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("action", choices=("make", "export", "card", "describe"))
    parser.add_argument("names", nargs="*", help=f"which ones (all: {', '.join(recipes())})")
    parser.add_argument("--steps", type=int, help="another number of training steps than the recipe's")
    parser.add_argument("--seed", type=int, default=2026, help="of the evaluation in the card (default 2026)")
    parser.add_argument("--n", type=int, default=200, help="cases a task in the card's evaluation (default 200)")
    options = parser.parse_args()
    for name in options.names or recipes():
        if name not in recipes():
            parser.error(f"unknown checkpoint {name!r}; known: {', '.join(recipes())}")
        # Models that see are trained and written by the package below, in the same three parts.
        package = __package__ + (".vision" if recipes()[name]["architecture"] == "phi3_v" else "")
        if options.action == "make":
            import_module(f"{package}.train").train(name, options.steps)
        if options.action in ("make", "export"):
            print(f"wrote {import_module(f'{package}.export').export(name)}")
        if options.action in ("make", "card"):
            card = import_module(f"{package}.card")
            card.measure(name, options.seed, options.n)
            print(f"wrote {card.write_card(name)}")
        if options.action == "describe":
            print(f"wrote {import_module(f'{package}.card').describe(name)}")


if __name__ == "__main__":
    main()
