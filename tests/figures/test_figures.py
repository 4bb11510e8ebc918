"""The figures: what they say in words, that they are the same every time, that nothing gets through unescaped."""

from __future__ import annotations

import base64
import io
import math
import re
import subprocess
import sys
import warnings
import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace

import numpy as np
import pytest
from drawings import drawings
from PIL import Image

from labs_helper import figures
from labs_helper.catalog import tables
from labs_helper.common.markup import escape, printable
from labs_helper.engines.base import Candidate, Token
from labs_helper.errors import BadRequest
from labs_helper.figures.bars import colours
from labs_helper.figures.base import Figure
from labs_helper.figures.cache import KV_SHAPES
from labs_helper.figures.canvas import drawable
from labs_helper.figures.text import display_width, number, pad, percent, shorten, text_table, visible

SHORT = [1.0, 1.0, 1.1, 1.2]
LONG = [1.0, 2.0, 8.0, 64.8]
TURNS = [{"prompt_tokens": 20, "cached_tokens": 0}, {"prompt_tokens": 60, "cached_tokens": 45}]
LOSSES = [
    {"position": p, "table": t, "loss": 1 + p / 100 * (t == "short")} for p in (32, 96) for t in ("short", "long")
]
CELLS = [{"length": n, "depth": d, "score": 1 - d / 4} for n in (64, 256, 512) for d in (0, 0.5, 1)]
BY_BITS = [
    {"group": name, "bits": bits, "value": bits / 16, "low": bits / 20, "high": min(1, bits / 14)}
    for name in ("sums", "한국어")
    for bits in (16, 4, 2)
]
ERRORS = [
    {"group": group, "bits": bits, "bits per weight": bits + 1, "error": 2.0**-bits}
    for group in ("32", "64")
    for bits in (2, 4)
]
ANSWER = SimpleNamespace(
    model="fake",
    tokens=(
        Token(
            "Nairobi",
            7,
            math.log(0.95),
            (Candidate("Nairobi", 7, math.log(0.95)), Candidate("<b>x", 8, math.log(0.04))),
        ),
        Token(" 长沙\n", 9, math.log(0.25)),
        Token("", 2, math.log(0.99), (), "<|end|>"),
    ),
)

ALL = {
    "token_view": lambda: figures.token_view(ANSWER),
    "rope_tables": lambda: figures.rope_tables(SHORT, LONG, original=64, maximum=512),
    "needle_heatmap": lambda: figures.needle_heatmap(CELLS, takeaway="Found by hand."),
    "loss_by_position": lambda: figures.loss_by_position(LOSSES, original=64, takeaway="Equal at first."),
    "kv_cache": lambda: figures.kv_cache(memory={"16 GB": 16}, weights={"Phi-3.5-mini": 2.0}),
    "token_counts": lambda: figures.token_counts({"한국어": 12, "中文": 5}),
    "bars": lambda: figures.bars([{"a": "x", "n": 3}], x="a", y="n", source="somebody"),
    "prefill": lambda: figures.prefill(TURNS),
    "benchmark_chart": lambda: figures.benchmark_chart("multilingual_by_language", test="MGSM"),
    "benchmark_table": lambda: figures.benchmark_table("long_context"),
    "by_bits": lambda: figures.by_bits(BY_BITS, what="share right"),
    "error_by_size": lambda: figures.error_by_size(ERRORS),
}


def pictures(figure: Figure) -> list[str]:
    return drawings(figure.html)


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_every_figure_has_alt_text_plain_form_and_no_warning(make):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = make()
    assert len(figure.alt) > 20 and figure.alt.endswith(".") and len(figure.frame()) > 0
    # A takeaway is written by hand, or there is none; the alt text sums up the data either way.
    assert not figure.takeaway or figure.takeaway.endswith(".")
    assert ("Takeaway:" in figure.html) == bool(figure.takeaway)
    assert figure.takeaway in figure.text or figure.takeaway.split(";")[0] in figure.text
    assert escape(figure.takeaway) in figure.html
    assert figure._repr_mimebundle_() == {"text/html": figure.html, "text/plain": figure.text}
    assert all(f'alt="{escape(figure.alt)}"' in figure.html for _ in pictures(figure))
    for svg in pictures(figure):
        ElementTree.fromstring(svg)
        assert "<script" not in svg and 'href="http' not in svg, "a picture runs nothing and fetches nothing"


def test_the_legend_of_bars_has_lines_of_its_own():
    groups = [f"a model with a long name, number {i}" for i in range(6)]
    shown = figures.bars([{"x": "label", "m": g, "n": 3} for g in groups], x="x", y="n", group="m", title="Title")
    words = {e.text: float(e.get("y")) for e in ElementTree.fromstring(pictures(shown)[0]) if e.tag.endswith("text")}
    assert words["Title"] < min(words[g] for g in groups) <= max(words[g] for g in groups) < words["label"] - 12


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_every_figure_is_the_same_twice_and_small(make):
    first = make()
    assert first.html == make().html
    assert len(first.html) < 70_000


def test_importing_figures_is_light():
    code = (
        "import sys, labs_helper.figures; "
        "print([m for m in ('mlx', 'ipywidgets', 'matplotlib', 'pandas', 'numpy', 'torch') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert out.stdout.strip() == "[]"


def test_figures_never_touch_pyplot():
    code = (
        "import sys; from labs_helper import figures; "
        "figures.kv_cache(); figures.needle_heatmap([{'length': 1, 'depth': 0, 'score': 1}]); "
        "print('matplotlib.pyplot' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert out.stdout.strip() == "False"


def test_figure_needs_alt_text_and_takes_any_matplotlib_figure():
    from matplotlib.figure import Figure as Canvas

    with pytest.raises(ValueError, match="alt text"):
        Figure.from_matplotlib(Canvas(), alt=" ")
    with pytest.raises(ValueError, match="alt text"):
        Figure.from_svg("<svg/>", alt="")
    with pytest.raises(ValueError, match="kind"):
        Figure.from_matplotlib(Canvas(), alt="a", kind="pdf")
    png = Figure.from_matplotlib(Canvas(), alt='a "quoted" <b>', kind="png")
    assert "data:image/png;base64," in png.html and 'alt="a &quot;quoted&quot; &lt;b&gt;"' in png.html


def test_a_heat_map_stores_a_pixel_for_a_cell():
    figure = figures.needle_heatmap(CELLS, takeaway="Found by hand.")
    (stored,) = re.findall(r'<image [^>]*href="data:image/png;base64,([^"]+)"', pictures(figure)[0])
    size = Image.open(io.BytesIO(base64.b64decode(stored))).size
    assert size == (len({cell["length"] for cell in CELLS}), len({cell["depth"] for cell in CELLS}))
    assert "image-rendering:pixelated" in pictures(figure)[0]


def test_a_drawing_stays_text_and_nothing_in_it_ends_its_address():
    words = "100 % #1 \"a\" it's \\ <b> & 토큰 %3C ='x'"
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9"><g style="font-family:\'A B\'"/>'
    svg += f"<text>{escape(words)}</text></svg>"
    html = Figure.from_svg(svg, alt="a").html
    address = re.search(r'src="(data:[^"]*)"', html)[1]
    assert address.startswith("data:image/svg+xml,") and not re.search(r'["<>#&\s]', address.replace(" ", ""))
    (drawn,) = pictures(Figure.from_svg(svg, alt="a"))
    before, after = (ElementTree.fromstring(each) for each in (svg, drawn))
    assert [(e.tag, e.attrib, e.text) for e in before.iter()] == [(e.tag, e.attrib, e.text) for e in after.iter()]
    assert "토큰" in address


# -- token view ----------------------------------------------------------------------------------------------------


def test_token_view_shows_numbers_thickness_and_alternatives():
    view = figures.token_view(ANSWER, title="<i>t</i>")
    assert "border-bottom:6px" in view.html and "border-bottom:2px" in view.html  # 95 % and 25 %
    assert "<details>" in view.html and "&lt;b&gt;x 4.0 %" in view.html
    assert "<b>" not in view.html and "<i>" not in view.html
    assert "&lt;|end|&gt;" in view.html  # a token without text is still named
    assert view.rows[0]["probability"] == pytest.approx(0.95)
    assert "least sure was token 2 (␣长沙↵, 25.0 %)" in view.takeaway
    lines = view.text.splitlines()
    assert lines[1].split() == ["#", "token", "id", "probability", "alternatives"]
    assert display_width(lines[3][: lines[3].index("95.0 %")]) == display_width(lines[4][: lines[4].index("25.0 %")])


def test_token_view_without_tokens_and_without_alternatives():
    assert figures.token_view([]).takeaway == "No token was generated."
    assert "alternatives" not in figures.token_view([Token("a", 1, -0.1)]).text.splitlines()[0]


# -- bars ----------------------------------------------------------------------------------------------------------


def test_bars_differ_by_pattern_and_carry_their_numbers():
    rows = [{"label": "中文", "model": name, "n": value} for name, value in (("a", 46.9), ("b", 52.6))]
    figure = figures.bars(rows, x="label", y="n", group="model")
    (svg,) = pictures(figure)
    patterns = re.findall(r"<pattern.*?</pattern>", svg)
    assert len({re.sub(r"#\w{6}|id=\"p\d\"", "", pattern) for pattern in patterns}) == 2, "not by colour alone"
    assert ">46.9<" in svg and ">52.6<" in svg and ">中文<" in svg
    assert figure.alt.endswith("a is higher than b in 0 of 1 rows and lower in 1 (中文).") and not figure.takeaway


def test_bars_give_a_model_family_one_colour_in_any_order():
    old, new, other = "Phi-3-mini-128k-instruct (June 2024)", "Phi-3.5-mini-instruct", "Gemma-2-9B-it"
    assert colours([old, new]) == [1, 0] and colours([new, old]) == [0, 1]
    assert colours(["instruct-previous-tiny", "instruct-tiny"]) == [1, 0] and colours([other, new]) == [1, 0]
    assert colours([old, "Phi-3-mini-4k"]) == [1, 0], "two of a family still differ"
    rows = [{"label": "x", "model": name, "n": 1} for name in (old, new)]
    (svg,) = pictures(figures.bars(rows, x="label", y="n", group="model"))
    assert re.findall(r'id="p(\d)"', svg) == ["1", "0"]


def test_bars_show_what_guessing_gives_and_put_averages_below_a_line():
    rows = [{"label": label, "n": n} for label, n in (("Average", 40.0), ("MMLU", 55.42))]
    figure = figures.bars(rows, x="label", y="n", chance={"MMLU": 25}, apart=["Average"], decimals=1)
    (svg,) = pictures(figure)
    assert svg.count("stroke-dasharray") == 2 and ">guessing<" in svg, "one in the legend, one at the bar"
    assert [line.split() for line in figure.text.splitlines()[2:]] == [
        ["MMLU", "55.4", "25.0"],
        ["Average", "40.0", "–"],
    ]


def test_benchmark_chart_names_the_publisher_first_and_knows_what_guessing_gives():
    figure = figures.benchmark_chart("multilingual_overview")
    assert "Source: huggingface.co/microsoft/Phi-3.5-mini-instruct (read from a copy: github" in figure.text
    lines = {line.split("  ")[0]: line.split() for line in figure.text.splitlines()}
    assert lines["Multilingual MMLU"][-1] == "25.0" and lines["Multilingual MMLU-Pro"][-1] == "10.0"
    assert lines["MGSM"][-1] == "–" and figure.text.splitlines()[-2].startswith("Average of the table")


def test_bars_lengths_follow_the_values():
    (svg,) = pictures(figures.bars([{"a": "x", "n": 10}, {"a": "y", "n": 5}, {"a": "z", "n": None}], x="a", y="n"))
    widths = [float(w) for w in re.findall(r'width="([\d.]+)" height="14"', svg)]
    assert len(widths) == 2 and widths[0] == pytest.approx(2 * widths[1], rel=0.01)
    assert "no figure" in svg


def test_bars_escape_labels_and_survive_control_characters():
    figure = figures.bars([{"a": '<script>\x00&"', "n": 1}], x="a", y="n", title="<t>", source="<s>")
    (svg,) = pictures(figure)
    ElementTree.fromstring(svg)
    assert "<script>" not in figure.html + svg and "<s>" not in figure.html


@pytest.mark.parametrize(
    "rows, options",
    [
        ([], {}),
        ([{"a": 1}], {}),
        ([{"a": "x", "n": -1}], {}),
        ([{"a": "x", "n": "many"}], {}),
        ([{"a": "x", "n": math.inf}], {}),
        ([{"a": "x", "n": 1}, {"a": "x", "n": 2}], {}),
        ([{"a": "x", "n": 1, "g": i} for i in range(9)], {"group": "g"}),
    ],
)
def test_bars_refuse_what_they_cannot_draw(rows, options):
    with pytest.raises(BadRequest) as caught:
        figures.bars(rows, x="a", y="n", **options)
    assert caught.value.do


def test_bars_of_zeros_and_of_nothing_known():
    assert "no figure" in figures.bars([{"a": "x", "n": float("nan")}], x="a", y="n").text
    assert figures.bars([{"a": "x", "n": 0}], x="a", y="n").alt.endswith("x: 0.")


def test_token_counts_tells_tokens_per_character():
    figure = figures.token_counts(
        {"English": {"old": 8, "new": 9}, "中文": {"old": 18, "new": 6}},
        texts={"中文": "长沙在哪里?", "English": "Where is Changsha?"},
    )
    assert figure.frame().set_index(["text", "tokenizer"])["tokens per character"]["中文", "old"] == 3.0
    with pytest.raises(BadRequest):
        figures.token_counts({})


# -- matplotlib figures ----------------------------------------------------------------------------------------------


def test_rope_tables_gives_the_wavelengths():
    figure = figures.rope_tables(SHORT, LONG, theta=10_000.0, original=64, maximum=512)
    assert figure.rows[3]["long wavelength"] == pytest.approx(2 * math.pi * 10_000 ** (6 / 8) * 64.8)
    assert "pair 3 by up to 64.8 times" in figure.alt
    ticks = figures.context._log_ticks  # private: too few marks on a log axis were a fault once
    assert ticks(0.95, 4.2) == [1, 2, 3, 4] and ticks(5, 2e5) == [10, 100, 1000, 1e4, 1e5]
    for bad in (([1.0], [1.0, 2.0]), ([], []), ([1.0], [0.0])):
        with pytest.raises(BadRequest):
            figures.rope_tables(*bad)
    with pytest.raises(BadRequest):
        figures.rope_tables(SHORT, LONG, head_dim=6)


def test_loss_by_position_averages_and_draws_both_tables():
    figure = figures.loss_by_position([*LOSSES, {"position": 32, "table": "long", "loss": 2.0}], original=64)
    (svg,) = pictures(figure)
    assert "original length 64" in svg and "short table" in svg and "long table" in svg
    assert [row["loss"] for row in figure.rows] == pytest.approx([1.5, 1.32, 1.0, 1.96])
    for bad in ([], [{"position": 1, "table": "short"}]):
        with pytest.raises(BadRequest):
            figures.loss_by_position(bad, original=64)


def test_needle_heatmap_shows_the_length_that_prompts_had_and_where_the_table_changes():
    rows = [
        {"length": n, "depth": d, "score": 1.0, "tokens": n + 5 + d, "table": "short" if n < 200 else "long"}
        for n in (100, 150, 300)
        for d in (0, 1)
    ]
    figure = figures.needle_heatmap(rows)
    (svg,) = pictures(figure)
    assert figure.text.splitlines()[1].split("  ")[1:] == ["106 (short)", "156 (short)", "306 (long)"]
    assert svg.count("stroke-dasharray:4.44,1.92") == 1, "one border, between the tables"


def test_needle_heatmap_prints_numbers_and_averages_repeats():
    import pandas

    repeated = pandas.DataFrame([*CELLS, {"length": 64, "depth": 0, "score": 0.0}])
    figure = figures.needle_heatmap(repeated)
    assert figure.rows[0] == {"length": 64, "depth": 0, "score": 0.5}
    (svg,) = pictures(figure)
    assert "0.50" in svg and "0.75" in svg
    assert figure.text.splitlines()[1].split() == ["depth", "64", "256", "512"]
    missing = figures.needle_heatmap([{"length": 1, "depth": 0, "score": 1}, {"length": 2, "depth": 1, "score": 0}])
    assert "-" in missing.text.splitlines()[3]
    for bad in ([], [{"length": 1}], [{"length": 1, "depth": 0, "score": 1.5}]):
        with pytest.raises(BadRequest):
            figures.needle_heatmap(bad)


def test_kv_cache_agrees_with_the_published_shapes():
    facts = {
        row["model"]: row["value"]
        for row in tables.read("model_facts")
        if row["attribute"] == "kv_cache_bytes_per_token_16bit"
    }
    by_name = {"Phi-3.5-mini-instruct": "Phi-3.5-mini", "Phi-3.5-MoE-instruct": "Phi-3.5-MoE"}
    for model, value in facts.items():
        assert figures.kv_bytes_per_token(*KV_SHAPES[by_name[model]]) == value
    frame = figures.kv_cache(lengths=[4096, 131072]).frame()
    picked = frame[(frame["model"] == "Phi-3.5-mini") & (frame["tokens"] == 131072)].set_index("bits")["GiB"]
    assert picked[16] == 48.0 and picked[8] == 27.0 and picked[4] == 15.0
    with pytest.raises(BadRequest):
        figures.kv_cache({})


def test_prefill_takes_rows_or_answers():
    answers = [SimpleNamespace(**turn) for turn in TURNS]
    assert figures.prefill(answers).rows == figures.prefill(TURNS).rows
    assert figures.prefill(TURNS).rows[1]["read this turn"] == 15
    for bad in ([], [{"prompt_tokens": 1}], [{"prompt_tokens": 1, "cached_tokens": 2}]):
        with pytest.raises(BadRequest):
            figures.prefill(bad)


def test_labels_without_a_glyph_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures.kv_cache({"모델": (1, 1, 32)}, lengths=[64, 128])
    assert drawable("a\u0e44é") == "a□é"


# -- text ------------------------------------------------------------------------------------------------------------


def test_text_helpers():
    assert display_width("e\u0301长\u200b") == 3
    assert pad("x", 3, "right") == "  x" and shorten("长沙在哪里", 5) == "长沙…"
    assert visible("") == "(empty)" and visible("▁a\t") == "␣a⇥"
    assert printable("a\x00\ud800b\n") == "a\ufffd\ufffdb\n"
    assert percent(math.log(0.9999)) == "100 %" and percent(-20) == "<0.1 %" and percent(math.log(0.123)) == "12.3 %"
    assert number(1234.5) == "1,234.5" and number("x") == "x" and number(True) == "True"
    table = text_table(["말", "n"], [["한국어", 1], ["a\nb", 10]], right=[1])
    assert [display_width(line) for line in table.splitlines()] == [10, 10, 10, 10]


def test_doctest_examples():
    import doctest
    import importlib
    import pkgutil

    from labs_helper import widgets

    for package in (figures, widgets):
        for info in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{package.__name__}.{info.name}")
            result = doctest.testmod(module)
            assert result.failed == 0, module.__name__


def test_by_bits_says_what_is_left_and_refuses_what_it_cannot_tell_apart():
    shown = figures.by_bits(BY_BITS, what="share right")
    assert "From 16 bits to 2: sums: 1 -> 0.125" in shown.takeaway and "한국어" in shown.text
    zero = [{"group": "a", "bits": bits, "value": value} for bits, value in ((8, 0.0), (4, 0.1))]
    assert "0.1" in figures.by_bits(zero, what="nats", log=True).text
    with pytest.raises(BadRequest, match="8 groups"):
        figures.by_bits([{"group": str(n), "bits": 4, "value": 1} for n in range(8)], what="x")
    with pytest.raises(BadRequest):
        figures.by_bits([], what="x")


def test_a_listing_sets_numbers_to_the_right_those_of_numpy_too():
    html = figures.listing([{"name": "a", "sum": np.int64(3), "mean": np.float32(0.5), "seen": True}]).html
    assert html.count("text-align:right") == 4 and ">0.50<" in html


def test_error_by_size_tells_what_a_bit_is_worth():
    assert "divides the error by 2.0" in figures.error_by_size(ERRORS).takeaway
