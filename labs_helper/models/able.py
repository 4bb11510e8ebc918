"""A model that can do what some cells of a lab need: the one that answers in it, or else the bundled one."""

from __future__ import annotations

from typing import Literal, get_args

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest, LabError
from labs_helper.models.load import load
from labs_helper.models.model import Model

Need = Literal["mlx", "tokens", "pictures", "experts"]


def able(model: Model, role: str, need: Need) -> Model:
    """The model itself where it can do what is needed, else the bundled one of its role. Says so if it is another.

    Args:
        model: the model that answers in the lab.
        role: what the lab loaded it for, such as "instruct".
        need: "mlx" (its folder can be read by mlx_lm or mlx_vlm), "tokens" (its tokenizer and its cache are here and
            not on a server), "pictures" (it takes some; a server is asked, with one small picture), or "experts" (it
            reports which ones were chosen).

    Raises:
        BadRequest: there is no such need.

    Example:
        raw_model, raw_tokenizer = mlx_lm.load(str(able(instruct, "instruct", "mlx").path))
    """
    reason = _reason(model, need)
    if not reason:
        return model
    other = load(role, tier="tiny")
    if other is model:
        return model
    print(_("{reason} So {other} takes its place in the cells that need this.").format(reason=reason, other=other.name))
    return other


def _reason(model: Model, need: Need) -> str:
    """Why a model cannot do what is needed; empty if it can."""
    name, form = model.name, model.card.format
    server = form == "endpoint"
    if need == "mlx":
        if form == "mlx":
            return ""
        if server:
            return _("The plain package reads a folder, and {name} is on a server.").format(name=name)
        return _("The plain package reads folders in MLX's format, and {name} is in another ({form}).").format(
            name=name, form=form.upper()
        )
    if need == "tokens":
        return _("{name} is on a server, which keeps its tokenizer and its cache.").format(name=name) if server else ""
    if need == "pictures":
        if model.takes_images and not (server and _refuses_pictures(model)):
            return ""
        return _("{name} takes no pictures.").format(name=name)
    if need == "experts":
        return "" if model.has_experts else _("{name} does not report which experts it chose.").format(name=name)
    raise BadRequest(
        _("There is no need {need!r}.").format(need=need),
        _("Use one of: {names}.").format(names=", ".join(get_args(Need))),
    )


def _refuses_pictures(model: Model) -> bool:
    from PIL import Image

    try:
        model.ask("Hi", images=Image.new("RGB", (64, 64), "white"), max_tokens=1)
    except LabError:
        return True
    return False
