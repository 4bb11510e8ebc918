"""Helper package of the Phi-3.5 labs: thirteen functions, and the types that they return or raise.

    from labs_helper import check_setup, load, chat

Each name is imported when it is first used. A learner who imports one in the first cell should not wait for MLX,
transformers or widgets, and a program that uses one name should not pay for the others.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labs_helper.capacity.report import MemoryReport as MemoryReport
    from labs_helper.doctor import SetupReport as SetupReport
    from labs_helper.doctor import check_setup
    from labs_helper.engines.base import Candidate as Candidate
    from labs_helper.engines.base import Prompt as Prompt
    from labs_helper.engines.base import Sampling as Sampling
    from labs_helper.engines.base import Token as Token
    from labs_helper.engines.experts import Routing as Routing
    from labs_helper.errors import BadImage as BadImage
    from labs_helper.errors import BadPlan as BadPlan
    from labs_helper.errors import BadRequest as BadRequest
    from labs_helper.errors import CheckpointRefused as CheckpointRefused
    from labs_helper.errors import CutOff as CutOff
    from labs_helper.errors import DownloadFailed as DownloadFailed
    from labs_helper.errors import EndpointFailed as EndpointFailed
    from labs_helper.errors import LabError as LabError
    from labs_helper.errors import ModelNotHere as ModelNotHere
    from labs_helper.errors import NotEnoughDisk as NotEnoughDisk
    from labs_helper.errors import NotEnoughMemory as NotEnoughMemory
    from labs_helper.exercises import check, hint, predict, reveal
    from labs_helper.exercises.predictions import Prediction as Prediction
    from labs_helper.exercises.results import CheckResult as CheckResult
    from labs_helper.exercises.results import Hint as Hint
    from labs_helper.figures.base import Figure as Figure
    from labs_helper.models.able import able
    from labs_helper.models.answers import Answer as Answer
    from labs_helper.models.conversation import Conversation as Conversation
    from labs_helper.models.load import load, memory
    from labs_helper.models.model import Model as Model
    from labs_helper.widgets import benchmarks, chat, compare, experts
    from labs_helper.widgets.look import look

__all__ = [
    "able",
    "benchmarks",
    "chat",
    "check",
    "check_setup",
    "compare",
    "experts",
    "hint",
    "load",
    "look",
    "memory",
    "predict",
    "reveal",
]

_ERRORS = (
    "BadImage",
    "BadPlan",
    "BadRequest",
    "CheckpointRefused",
    "CutOff",
    "DownloadFailed",
    "EndpointFailed",
    "LabError",
    "ModelNotHere",
    "NotEnoughDisk",
    "NotEnoughMemory",
)
# public name -> the module that defines it
_MODULES = {
    "check_setup": "doctor",
    "able": "models.able",
    "load": "models.load",
    "memory": "models.load",
    "chat": "widgets",
    "look": "widgets",
    "compare": "widgets",
    "experts": "widgets",
    "benchmarks": "widgets",
    "check": "exercises",
    "hint": "exercises",
    "predict": "exercises",
    "reveal": "exercises",
    # types
    "Answer": "models.answers",
    "Candidate": "engines.base",
    "CheckResult": "exercises.results",
    "Conversation": "models.conversation",
    "Figure": "figures.base",
    "Hint": "exercises.results",
    "MemoryReport": "capacity.report",
    "Model": "models.model",
    "Prediction": "exercises.predictions",
    "Prompt": "engines.base",
    "Routing": "engines.experts",
    "Sampling": "engines.base",
    "SetupReport": "doctor",
    "Token": "engines.base",
    **dict.fromkeys(_ERRORS, "errors"),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.metadata.version("labs-helper")
    if name not in _MODULES:
        raise AttributeError(f"module 'labs_helper' has no attribute {name!r}; it offers {', '.join(__all__)}")
    value = getattr(importlib.import_module(f"labs_helper.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES, "__version__"])
