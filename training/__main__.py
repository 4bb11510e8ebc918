"""`python -m training make NAME ...`: rebuild bundled checkpoints from nothing; `export NAME` only the last part."""

from __future__ import annotations

import argparse

from .config import recipes


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("action", choices=("make", "export"))
    parser.add_argument("names", nargs="*", help=f"which ones (all: {', '.join(recipes())})")
    parser.add_argument("--steps", type=int, help="another number of training steps than the recipe's")
    options = parser.parse_args()
    for name in options.names or recipes():
        if name not in recipes():
            parser.error(f"unknown checkpoint {name!r}; known: {', '.join(recipes())}")
        if options.action == "make":
            from .train import train

            train(name, options.steps)
        from .export import export

        print(f"wrote {export(name)}")


if __name__ == "__main__":
    main()
