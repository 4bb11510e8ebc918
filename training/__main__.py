"""Make the bundled checkpoints: train, export to 4 bits, measure for the card; or average the weights of runs."""

from __future__ import annotations

import argparse
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from training.config import PROFILES, profiles, recipes

SEED, CASES = 60221, 200  # of cards: a seed that has chosen nothing
MIXTURES = ("sample", "finish", "copying", "repetition", "comparing", "judging")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    actions = whole.add_subparsers(dest="action", required=True, metavar="ACTION")
    make = actions.add_parser("make", help="train, export and measure; resumes after an interruption")
    export = actions.add_parser("export", help="write the 4-bit checkpoint of a finished run")
    card = actions.add_parser("card", help="measure a checkpoint and write its card")
    describe = actions.add_parser("describe", help="write a card anew from figures that are there, with fresh samples")
    twin = actions.add_parser("twin", help="write the 16-bit twin of a finished run of a text model")
    for each in (make, export, card, describe, twin):
        each.add_argument("names", nargs="*", metavar="NAME", help=f"which ones (all: {', '.join(recipes())})")
    make.add_argument("--steps", type=int, help="another number of training steps than the recipe's")
    make.add_argument(
        "--profile", choices=PROFILES, help="larger steps and other numbers of them (recipes.toml), for a GPU"
    )
    make.add_argument(
        "--begin", type=Path, metavar="FOLDER",
        help="begin with the weights of this run, not as the recipe says (of vision-tiny: the last stage alone)",
    )  # fmt: skip
    further = make.add_argument_group("a text model that goes on (with --begin)")
    further.add_argument("--rate", type=float, help="share of the usual learning rates, not the recipe's")
    further.add_argument("--task", choices=MIXTURES, help="one mixture of the corpus from the first step to the last")
    further.add_argument(
        "--pointing", type=float, default=0.0, metavar="WEIGHT",
        help="weight of the loss that tells heads where copied tokens come from (training/copying.py); 0.1 is much",
    )  # fmt: skip
    further.add_argument(
        "--round-from", type=float, metavar="SHARE",
        help="share of the steps after which the weights are seen rounded: 0 from the first, 2 never; default .75",
    )  # fmt: skip
    for each in (make, card):
        each.add_argument("--seed", type=int, default=SEED, help=f"of the evaluation in the card (default {SEED})")
        each.add_argument("--n", type=int, default=CASES, help=f"cases per task in the evaluation (default {CASES})")
    average = actions.add_parser("average", help="write the weighted mean of several runs as another run")
    average.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="runs of one recipe, in training/runs")
    average.add_argument("--weights", nargs="+", type=float, required=True, help="one for each folder, 1 in all")
    average.add_argument("--out", type=Path, required=True, help="the folder to write")
    return whole


def gpu_is_missing() -> bool:
    """Whether torch sees no GPU."""
    import torch

    return not torch.cuda.is_available()


def check(command: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse what cannot be done before anything is trained."""
    for name in options.names or recipes():
        if name not in recipes():
            command.error(f"unknown checkpoint {name!r}; known: {', '.join(recipes())}")
    names = options.names or list(recipes())
    if options.action in ("make", "card"):
        for name in names:
            if options.seed in recipes()[name].get("chosen_by", ()):
                command.error(f"seed {options.seed} has chosen weights of {name}, and a card needs one that has not")
    if options.action != "make":
        return
    if options.begin and len(names) != 1:
        command.error("--begin is for one model: name it")
    if options.begin and not (options.begin / "model.safetensors").is_file():
        command.error(f"{options.begin} has no model.safetensors: name a finished run or a checkpoint")
    told = options.rate or options.task or options.pointing or options.round_from is not None
    if told and (not options.begin or package_of(names[0]) != __package__):
        command.error(
            "--rate, --task, --pointing and --round-from are for text models that go on: give --begin as well"
        )
    if options.profile and gpu_is_missing():
        command.error(f"--profile {options.profile} is for a GPU, and torch sees none: leave it out")


def make(name: str, options: argparse.Namespace) -> None:
    """Train one checkpoint."""
    # Not every recipe needs other numbers on a GPU.
    profile = options.profile if options.profile in profiles(name) else None
    module = import_module(f"{package_of(name)}.train")
    if package_of(name) != __package__:
        module.train(name, options.steps, profile=profile, begin_with=options.begin)
        return
    further = options.begin and module.Further(options.begin, options.rate, options.task, options.pointing)
    if further and options.round_from is not None:
        further = replace(further, round_from=options.round_from)
    module.train(name, options.steps, profile=profile, further=further)


def package_of(name: str) -> str:
    """The package that trains and writes a checkpoint: models that see have their own, with the same three parts."""
    return f"{__package__}.vision" if recipes()[name]["architecture"] == "phi3_v" else __package__


def main(arguments: list[str] | None = None) -> None:
    """Run one command."""
    command = parser()
    options = command.parse_args(arguments)
    if options.action == "average":
        from training.weights import average

        try:
            print(f"wrote {average(options.folders, options.weights, options.out)}")
        except (OSError, ValueError) as error:
            command.error(str(error))
        return
    check(command, options)
    for name in options.names or recipes():
        if options.action == "make":
            make(name, options)
        if options.action in ("make", "export"):
            print(f"wrote {import_module(f'{package_of(name)}.export').export(name)}")
        if options.action == "twin":
            print(f"wrote {import_module('training.export').twin(name)}")
        if options.action == "describe":
            print(f"wrote {import_module(f'{package_of(name)}.card').describe(name)}")
        if options.action in ("make", "card"):
            card = import_module(f"{package_of(name)}.card")
            card.measure(name, options.seed, options.n)
            print(f"wrote {card.write_card(name)}")


if __name__ == "__main__":
    main()
