"""A pytest plugin for the tests of mlx-lm and mlx-vlm: with it they meet our corrections. See run.py."""

from __future__ import annotations

import functools
import os
from typing import Any

from labs_helper.corrections import before_mlx, longrope, vision

LAYERS = 2  # of the two decoders below


def pytest_configure(config: Any) -> None:
    """Before a test module is imported, and so before it can take a name out of a package."""
    before_mlx()
    import mlx_lm.models.phi
    import mlx_lm.models.phi3
    import mlx_lm.models.phimoe
    import mlx_vlm

    # The wheel has no tests, and its tests import helpers from mlx_vlm.tests.
    mlx_vlm.__path__.append(os.environ["LABS_UPSTREAM_PACKAGE"])
    # Upstream builds both at full size. That takes 15 GB and shows nothing that two layers do not show.
    for module in (mlx_lm.models.phi, mlx_lm.models.phi3):
        after_init(module.ModelArgs, shallow)
    if os.environ["LABS_UPSTREAM"] == "corrected":
        vision.apply()
        longrope.upstream_is_right()  # asked now: it builds a Model itself
        for module in (mlx_lm.models.phi3, mlx_lm.models.phimoe):
            after_init(module.Model, short_table)


def after_init(kind: type, then: Any) -> None:
    """Call a function with each new object of a class."""
    before = kind.__init__

    @functools.wraps(before)  # from_dict reads the signature
    def init(self: Any, *arguments: Any, **named: Any) -> None:
        before(self, *arguments, **named)
        then(self)

    kind.__init__ = init  # type: ignore[misc]


def shallow(arguments: Any) -> None:
    """Settings of a decoder with fewer layers."""
    arguments.num_hidden_layers = min(arguments.num_hidden_layers, LAYERS)


def short_table(model: Any) -> None:
    """As the engine does it before a short request."""
    longrope.apply(model, vars(model.args), total_tokens=8)
