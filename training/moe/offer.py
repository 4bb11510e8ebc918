"""What an agent is offered: the tools and the longest plan, and what follows from them.

`PUBLISHED` is the agent of the course, which the published weights were trained for. `NEXT` is the agent that the
training prepares. Models read every word of a tool, so a new tool goes into `labs_helper.agent` together with the
weights that know it, not before; until then it is `NEXT` alone that has it. At present they are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from labs_helper.agent import plan
from labs_helper.agent.tools import TOOLS, Tool


@dataclass(frozen=True)
class Offer:
    """Tools, and how many steps a plan may have."""

    tools: Mapping[str, Tool]
    max_steps: int

    def prompt(self) -> str:
        """The system message."""
        return plan.system_prompt(self.tools)

    def read(self, text: str) -> list[plan.Step]:
        """The steps of a plan; BadPlan for what is none."""
        return plan.read_plan(text, self.tools, self.max_steps)

    def run(self, steps: Sequence[plan.Step], language: str | None = None) -> list[str]:
        """What the steps give; BadPlan where a tool refuses."""
        return plan.run_plan(steps, self.tools, language)


PUBLISHED = Offer(TOOLS, plan.MAX_STEPS)
NEXT = PUBLISHED
