"""Draw the picture of the README from what the bundled models do: `python docs/cover.py`.

Three things that the course makes visible: the probability of each token of an answer, the tiles of a picture, and the
experts that each token goes to. The same drawing is written twice, for light and for dark pages. What the models said
is kept inside the files, so that a test can compare it with what they say today.
"""

from __future__ import annotations

import base64
import io
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

from labs_helper.common.markup import escape

ROOT = Path(__file__).resolve().parents[1]
FILES = {theme: ROOT / "images" / f"cover-{theme}.svg" for theme in ("light", "dark")}
STORY = "Tell me a short story about a cat."
QUESTIONS = ("Where is Lima?", "河内在哪里?", "What is 47 + 38?", "서울은 어디에 있나요?")
PICTURE, CROPS = "kitchen.png", 4
TOKENS, RIVALS, EXPERTS = 19, 4, 16
WIDTH, HEIGHT = 940, 490
INK = {"light": "#1f2328", "dark": "#e6edf3"}
FILL = {"light": "#0550ae", "dark": "#79c0ff"}
ON_FILL = {"light": "#ffffff", "dark": "#0d1117"}
LINE = {"light": "#d0d7de", "dark": "#3d444d"}


def facts() -> dict[str, Any]:
    """What the bundled models say: tokens with their rivals, and the first expert of every token in every layer."""
    from labs_helper import load

    told = load("instruct", tier="tiny").ask(STORY, max_tokens=TOKENS, top_logprobs=RIVALS)
    moe, words, experts = load("moe", tier="tiny"), [], []
    for question in QUESTIONS:
        # The first token is the mark of the user's turn, the last two end it and begin the answer.
        frame = (
            moe.ask(question, record_experts=True, max_tokens=1).routing.frame().query("rank == 1 and part == 'prompt'")
        )
        words.append(frame.drop_duplicates("position")["token"].tolist()[1:-2])
        experts.append(frame.pivot(index="layer", columns="position", values="expert").to_numpy()[:, 1:-2].tolist())
    return {
        "story": [
            [[other.piece, round(math.exp(other.logprob), 2)] for other in token.top_logprobs] for token in told.tokens
        ],
        "words": words,
        "experts": experts,
    }


def tiles() -> list[list[str]]:
    """The tiles of the picture, row by row, each as a small PNG in a data address."""
    from labs_helper.pictures.gallery import picture
    from labs_helper.pictures.images import layout, views

    image = picture(PICTURE).image
    plan = layout(*image.size, CROPS)
    small = []
    for view in views(image, plan)[1:]:  # the first is the whole picture
        stored = io.BytesIO()
        view.resize((112, 112)).quantize(64).save(stored, "PNG", optimize=True)
        small.append("data:image/png;base64," + base64.b64encode(stored.getvalue()).decode())
    return [small[row * plan.columns : (row + 1) * plan.columns] for row in range(plan.rows)]


def draw(said: dict[str, Any], shown: list[list[str]], theme: str) -> str:
    """The picture for one theme."""
    parts = [*_story(said["story"], theme), *_tiles(shown, theme), *_experts(said["words"], said["experts"], theme)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="ui-sans-serif, -apple-system, Segoe UI, Helvetica, Arial, sans-serif" font-size="13">\n'
        f"<metadata>{escape(json.dumps(said, ensure_ascii=False))}</metadata>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def kept(svg: str) -> dict[str, Any]:
    """What `draw` wrote into a file."""
    import html

    said: dict[str, Any] = json.loads(html.unescape(re.search(r"<metadata>(.*?)</metadata>", svg, re.S)[1]))
    return said


def _words(x: float, y: float, text: str, colour: str, more: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" fill="{colour}" {more}>{escape(text)}</text>'


def _cell(x: float, y: float, size: tuple[float, float], fill: str, more: str = "") -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{size[0]:g}" height="{size[1]:g}" rx="3" fill="{fill}" {more}/>'


def _visible(piece: str) -> str:
    return piece.strip() or "\u2423"


def _story(story: list[Any], theme: str) -> list[str]:
    ink, fill = INK[theme], FILL[theme]
    wide, high, top = WIDTH / TOKENS, 27, 56
    heading = 'font-weight="600" font-size="15"'
    parts = [_words(2, 16, "Every token, and what else it could have been", ink, heading)]
    parts.append(_words(2, 38, f"\u201c{STORY}\u201d", ink))
    for column, candidates in enumerate(story):
        for row, (piece, probability) in enumerate(candidates):
            x, y = column * wide + 1.5, top + row * (high + 3)
            edge = f'fill-opacity="{probability:g}" stroke="{ink if row == 0 else LINE[theme]}"'
            parts.append(_cell(x, y, (wide - 3, high), fill, edge + ("" if row else ' stroke-width="1.6"')))
            colour = ON_FILL[theme] if probability > 0.5 else ink
            faint = "" if row == 0 or probability >= 0.05 else ' opacity="0.45"'
            size = 'font-size="12" text-anchor="middle"'
            parts.append(_words(x + wide / 2 - 1.5, y + 18, _visible(piece)[:6], colour, size + faint))
    return parts


def _tiles(shown: list[list[str]], theme: str) -> list[str]:
    ink, top, side, gap = INK[theme], 232, 112, 6
    parts = [_words(2, top - 16, "A picture, as the model sees it", ink, 'font-weight="600" font-size="15"')]
    for row, line in enumerate(shown):
        for column, address in enumerate(line):
            x, y = 2 + column * (side + gap), top + row * (side + gap)
            parts.append(f'<image x="{x}" y="{y}" width="{side}" height="{side}" href="{address}"/>')
            parts.append(_cell(x, y, (side, side), "none", f'stroke="{LINE[theme]}"'))
    return parts


def _experts(words: list[list[str]], experts: list[list[list[int]]], theme: str) -> list[str]:
    ink, left, top, gap = INK[theme], 300, 232, 12
    wide = (WIDTH - left - 46 - gap * (len(words) - 1)) / sum(map(len, words))
    parts = [_words(left, top - 16, "The expert that each token goes to", ink, 'font-weight="600" font-size="15"')]
    parts += [
        _words(left, top + layer * 38 + 21, f"layer {layer}", ink, 'font-size="11"') for layer in range(len(experts[0]))
    ]
    x = left + 46.0
    for pieces, rows in zip(words, experts):
        for column, piece in enumerate(pieces):
            for layer, row in enumerate(rows):
                y = top + layer * 38
                # Neighbours in number are far apart in hue; the number says the same as the colour.
                hue, light = row[column] * 7 % EXPERTS * 360 / EXPERTS, 80 if theme == "light" else 28
                parts.append(_cell(x + 1, y, (wide - 2, 34), f"hsl({hue:g}, 70%, {light}%)"))
                parts.append(_words(x + wide / 2, y + 22, str(row[column]), ink, 'font-size="11" text-anchor="middle"'))
            at, below = x + wide / 2 + 4, top + len(rows) * 38 + 10
            turned = f'font-size="12" text-anchor="end" transform="rotate(-60 {at:g} {below:g})"'
            parts.append(_words(at, below, _visible(piece), ink, turned))
            x += wide
        x += gap
    return parts


def main() -> int:
    """Write both files."""
    said, shown = facts(), tiles()
    for theme, path in FILES.items():
        path.write_text(draw(said, shown, theme), "utf-8")
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
