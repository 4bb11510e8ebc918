"""An agent whose tools are real: the model writes a plan as JSON, the plan is checked, and only then do tools run.

`tools` has the functions on the allow-list, `plan` the form of a plan, `sentences` the words that the model reads,
`loop` the way from a question to an answer.

Example:
    from labs_helper.agent import solve
    solve(load("moe"), "In which city is the Eiffel Tower? Then translate it into Korean.")
"""

from labs_helper.agent.loop import Event, Trace, solve
from labs_helper.agent.plan import (
    MAX_STEPS,
    Step,
    error_turn,
    plan_schema,
    read_plan,
    results_turn,
    run_plan,
    run_step,
    system_prompt,
    write_plan,
)
from labs_helper.agent.tools import TOOLS, Tool, toolbox

__all__ = [
    "MAX_STEPS",
    "TOOLS",
    "Event",
    "Step",
    "Tool",
    "Trace",
    "error_turn",
    "plan_schema",
    "read_plan",
    "results_turn",
    "run_plan",
    "run_step",
    "solve",
    "system_prompt",
    "toolbox",
    "write_plan",
]
