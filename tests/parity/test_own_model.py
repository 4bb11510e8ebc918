"""The model that a learner of lab 08 builds, its cells and not the package: short, and equal to MLX token for token."""

from __future__ import annotations

import ast
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from labs_helper.course import editions

LAB = Path(__file__).resolve().parents[2] / "notebooks" / "src" / "08-inside.py"
PARTS = {"rms_norm", "rotate", "turns", "attend", "split_heads", "look", "positions", "swiglu", "layer"}
WHOLE = {"normed", "own_model", "own_answer"}
MOST_LINES, MOST_TOKENS = 160, 40
QUESTIONS = [
    *("Where is Paris?", "Where is Lima?", "Where is Nairobi?", "What is 47 + 38?", "What is 12 + 5?", "Hello!"),
    *("长沙在哪里?", "巴黎在哪里?", "서울은 어디에 있나요?", "東京はどこにありますか?", "¿Dónde está Madrid?"),
    *("Count from 1 to 12.", "Name a colour.", "What is the capital of Japan?", "Translate cat into Spanish."),
    *("What is the opposite of big?", "Tell me a short story about a cat.", "Repeat: red blue", "Who are you?"),
    *("What is the secret code of Ana? The secret code of Ana is 4071.",),
]


def own_cells():
    """The code of the solution edition up to the cell that defines `own_answer`, without displays of figures."""
    for cell in editions.read(LAB):
        if cell.cell_type == "code" and not {"exercise"} & set(editions.tags(cell)):
            yield cell.source
            if "def own_answer" in cell.source:
                return


def test_it_is_short():
    lines = {
        node.name: len(ast.unparse(node).splitlines())
        for source in own_cells()
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name in PARTS | WHOLE
    }
    assert lines.keys() == PARTS | WHOLE
    print(f"{sum(lines.values())} lines")
    assert sum(lines.values()) < MOST_LINES


def test_it_answers_as_mlx_does():
    made: dict = {}
    with redirect_stdout(StringIO()):
        for source in own_cells():
            exec(compile(source, LAB.name, "exec"), made)
    assert made["whole_layer"] is made["layer"] and made["head"] is made["attend"]  # its own functions, none of ours
    model, own_answer = made["model"], made["own_answer"]
    for question in QUESTIONS:
        told = model.ask(question, max_tokens=MOST_TOKENS)
        assert own_answer(told.prompt.ids, MOST_TOKENS) == [token.id for token in told.tokens], question
    assert len(set(QUESTIONS)) == 20
    model.release()
