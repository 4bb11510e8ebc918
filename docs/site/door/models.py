"""The bundled text models in the form that the page's engine reads, and what the page says about them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from docs.site.door.engine import packed
from labs_helper.agent.world import table
from labs_helper.serving import gguf_model

CHECKPOINTS = Path(__file__).resolve().parents[3] / "data/checkpoints"
NAMES = ("instruct-tiny", "instruct-previous-tiny")


def add(site: Path) -> list[Path]:
    """Write each model as a compressed GGUF file with its tokenizer, in the smallest form that keeps its answers.

    Example:
        add(Path("build/site/model"))
    """
    site.mkdir(parents=True, exist_ok=True)
    written = []
    for name in NAMES:
        with TemporaryDirectory() as folder:
            file = gguf_model.convert(CHECKPOINTS / name, folder, kind="q4_1", tokenizer=False, numbered=True)
            written.append(site / f"{name}.gguf.gz")
            written[-1].write_bytes(packed(file.read_bytes()))
        written.append(Path(shutil.copy(CHECKPOINTS / name / "tokenizer.json", site / f"{name}.tokenizer.json")))
    return written


def about(name: str) -> dict[str, Any]:
    """What the page has to know about a model, from its files.

    Example:
        about("instruct-tiny")["context"]      # {'original': 256, 'most': 1024}
    """
    folder = CHECKPOINTS / name
    config = json.loads((folder / "config.json").read_text("utf-8"))
    measured = json.loads((folder / "evaluation.json").read_text("utf-8"))
    return {
        "parameters": measured["parameters"],
        "context": {"original": config["original_max_position_embeddings"], "most": config["max_position_embeddings"]},
        "stops": config["eos_token_id"],
        "measured": {
            task.replace(" ", "_"): {"right": languages["all"]["right"], "of": languages["all"]["n"]}
            for task, languages in measured["4-bit"].items()
        },
    }


def world() -> dict[str, int]:
    """How much there is in the small world that the bundled models were told about.

    Example:
        world()["cities"]      # 91
    """
    return {name: len(table(name)) for name in ("cities", "countries")}


# One place in each language, and what a page asks in its own: a sum, a city, and a place that is none.
PLACES = {
    "en": "Where is Lima?",
    "zh": "长沙在哪里?",
    "ko": "서울은 어디에 있나요?",
    "ja": "ナイロビはどこにありますか?",
    "es": "¿Cuál es la capital de Kenia?",
}
MORE = {
    "en": ("What is 47 + 38?", "Suggest a city to visit.", "Where is Atlantis?"),
    "ko": ("47 더하기 38은 얼마인가요?", "가 볼 만한 도시를 추천해 주세요.", "아틀란티스는 어디에 있나요?"),
}


def examples(language: str = "en") -> list[tuple[str, str]]:
    """(language, question) for the examples of a page: one place in each language, the page's own first, and more.

    Example:
        examples()[0]      # ('en', 'Where is Lima?')
    """
    places = sorted(PLACES.items(), key=lambda place: place[0] != language)
    own = language if language in MORE else "en"
    return [*places, *((own, question) for question in MORE[own])]
