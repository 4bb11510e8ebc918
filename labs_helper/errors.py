"""The errors a learner can meet, each with the sentence that says what to do next."""

from __future__ import annotations

from labs_helper.common.markup import printable
from labs_helper.common.translate import _


class LabError(Exception):
    """Base of every error that the labs raise on purpose.

    Jupyter shows its two sentences and no stack of library calls, because the cause is in the cell above and not in
    our code.

    Attributes:
        what: what went wrong, one sentence.
        do: what to do about it, one sentence; may be empty.

    Example:
        raise BadRequest("The question is empty.", "Write at least one word.")
    """

    def __init__(self, what: str, do: str = ""):
        # A sentence may repeat what a server or a file says, and goes to terminals.
        self.what, self.do = printable(what), printable(do)
        super().__init__(f"{self.what} {self.do}".strip())

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a stack trace (a hook of IPython)."""
        lines = [f"{type(self).__name__}: {self.what}"]
        if self.do:
            lines.append(_("What to do: {do}").format(do=self.do))
        return lines


class ModelNotHere(LabError):
    """The checkpoint is not on this machine."""


class NotEnoughMemory(LabError):
    """The model, or the context that was asked for, does not fit in the memory that is free now."""


class NotEnoughDisk(LabError):
    """The model does not fit on the disk."""


class CheckpointRefused(LabError):
    """The checkpoint folder is there but cannot or must not be used."""


class BadImage(LabError):
    """The picture cannot be read."""


class BadRequest(LabError):
    """The request itself makes no sense: an empty prompt, a negative temperature, too many tokens."""


class CutOff(BadRequest):
    """The answer reached max_tokens before the JSON that was asked for was complete."""


class BadPlan(LabError):
    """A plan of the agent cannot be used, or a tool cannot do what its step asks. `what` goes back to the model."""


class EndpointFailed(LabError):
    """A model server did not answer as it should."""


class DownloadFailed(LabError):
    """A download did not finish."""
