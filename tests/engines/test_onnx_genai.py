"""The ONNX engine: vision-tiny and instruct-tiny, exported into Microsoft's layout, against MLX and a torch reference.

The exports are made once and kept outside of the repository (training/to_onnx.py).
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from labs_helper.catalog import course_folder
from labs_helper.common import platforms
from labs_helper.engines import onnx_sessions
from labs_helper.engines.base import Request, Sampling
from labs_helper.engines.mlx_vision import MLXVision
from labs_helper.engines.onnx_genai import CHUNK, OnnxGenAI
from labs_helper.engines.worker import WORKER
from labs_helper.errors import BadRequest, LabError, NotEnoughMemory
from labs_helper.models.load import load
from labs_helper.pictures import images
from training import onnx_graphs, tasks
from training.tasks import VISION_TASKS
from training.to_onnx import exported
from training.vision import tasks as vision
from training.vision.paint import picture

sys.path.insert(0, str(Path(__file__).parents[1] / "reference"))
import miniature

CHECKPOINTS = course_folder() / "data" / "checkpoints"
SEEING, READING = CHECKPOINTS / "vision-tiny", CHECKPOINTS / "instruct-tiny"
MISPLACED = 1e-2  # rounding is far below, the distance of two different cells far above


@pytest.fixture(scope="module")
def engine():
    made = OnnxGenAI(exported(SEEING))
    yield made
    WORKER.call(made.close)


@pytest.fixture(scope="module")
def mlx():
    made = MLXVision(SEEING)
    yield made
    WORKER.call(made.close)


@pytest.fixture(scope="module")
def text():
    made = OnnxGenAI(exported(READING))
    yield made
    WORKER.call(made.close)


def noise(seed: int = 0, width: int = 300, height: int = 200) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def asked(question: str, *pictures, **options) -> Request:
    tags = "".join(f"<|image_{n}|>\n" for n in range(1, len(pictures) + 1))
    return Request(({"role": "user", "content": tags + question},), images=pictures, **options)


def answer(engine, request, stop_after: int | None = None) -> list:
    seen = []

    def work():
        for token in engine.stream(engine.prepare(request), lambda: stop_after is not None and len(seen) >= stop_after):
            seen.append(token)  # noqa: PERF402 - it is looked at while it grows
        return seen

    return WORKER.call(work)


def ids(engine, request, stop_after: int | None = None) -> list[int]:
    return [token.id for token in answer(engine, request, stop_after)]


# -- against the references -----------------------------------------------------------------------------


@pytest.mark.parametrize("case", miniature.CASES)
def test_no_row_of_a_picture_is_misplaced(case, tmp_path):
    """The vision graph with the weights of the stored reference, which torch has computed."""
    stored = np.load(Path(miniature.__file__).with_name("vision_rows.npz"))
    width, cell = miniature.VISION["hidden_size"], 4 * miniature.VISION["hidden_size"]
    shapes = {
        "patch_embedding.weight": (width, 3, 14, 14),
        "class_embedding": (width,),
        "position_embedding.weight": (577, width),
        "fc1.weight": (2 * width, width),
        "fc1.bias": (2 * width,),
        "fc2.weight": (width, 2 * width),
        "_proj.weight": (width, width),
        "img_projection.0.weight": (miniature.HIDDEN, cell),
        "img_projection.2.weight": (miniature.HIDDEN, miniature.HIDDEN),
        "img_projection.0.bias": (miniature.HIDDEN,),
        "img_projection.2.bias": (miniature.HIDDEN,),
        "sub_GN": (1, 1, 1, cell),
        "glb_GN": (1, 1, cell),
    }

    def weight(name):
        shape = next((shape for end, shape in shapes.items() if name.endswith(end)), (width,))
        return miniature.weight(name, shape)

    import onnxruntime

    graph = onnx_graphs.vision(miniature.VISION, miniature.HIDDEN, weight)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    crops, sizes = miniature.CASES[case]
    for number in range(len(sizes)):
        image = miniature.picture(case, number)
        plan = images.layout(*image.size, crops)
        feed = {
            "pixel_values": images.pixel_values(image, plan)[None],
            "image_sizes": np.array([plan.padded[::-1]], np.int64),
        }
        rows, wanted = session.run(None, feed)[0], stored[f"{case} {number}"]
        assert rows.shape == wanted.shape
        assert int((np.abs(rows - wanted).max(axis=1) > MISPLACED).sum()) == 0


@pytest.mark.parametrize("crops", [1, 4])
def test_rows_are_those_of_mlx(engine, mlx, crops):
    image = noise(1, 700, 300)
    placed = WORKER.call(lambda: engine.prepare(asked("?", image, num_crops=crops))).pictures[0]
    ours = WORKER.call(lambda: engine.rows_of(placed, lambda: False))
    theirs = WORKER.call(lambda: [mlx.load(), np.array(mlx.picture_rows(image, crops))][1])
    assert np.abs(ours - theirs).max() < 1e-3


@pytest.mark.parametrize("most", [8, 2000], ids=["short table", "long table"])
def test_scores_are_those_of_mlx_with_either_table(engine, mlx, most):
    """Numbers that are multiplied with packed weights are rounded to 8 bits, so the scores differ a little."""
    request = asked("What is this? 이것은 무엇입니까?", noise(), max_tokens=most)
    ours, theirs = (WORKER.call(lambda each=each: each.logits(request)) for each in (engine, mlx))
    assert (
        WORKER.call(lambda: engine.prepare(request)).prompt.ids == WORKER.call(lambda: mlx.prepare(request)).prompt.ids
    )
    assert np.abs(ours - theirs).max() < 0.6 < np.abs(theirs).max() / 10
    assert (ours.argmax(-1) == theirs.argmax(-1)).mean() > 0.95


def compared(engine, mlx, each: int) -> tuple[int, int, int, int]:
    """Greedy answers to held-out questions of a seed that has chosen nothing, `each` of every task.

    Returns:
        How many there were, how many MLX gives in the same words, and how many are right, here and with MLX.
    """
    count = same = right = mlx_right = 0
    for task, draw in VISION_TASKS.items():
        album = tasks.stream(task, "en", 731, "vision-tiny", seeing=True)
        for _ in range(each):
            case = draw(album, "en")
            shown = tuple(picture(scene).convert("RGB") for scene in case.details["pictures"])
            request = asked(case.prompt[-1]["content"], *shown, max_tokens=110)
            said = ["".join(token.text for token in answer(one, request)) for one in (engine, mlx)]
            count, same = count + 1, same + (said[0] == said[1])
            right += vision.right(case, said[0])
            mlx_right += vision.right(case, said[1])
    return count, same, right, mlx_right


def test_greedy_answers_are_those_of_mlx(engine, mlx):
    """One question of each task. As a program this file asks four: `python tests/engines/test_onnx_genai.py`."""
    count, same, right, mlx_right = compared(engine, mlx, 1)
    assert count == 10 and same >= 8 and right >= mlx_right - 1 and right >= 8


def test_the_librarys_own_loop_reads_the_layout_and_answers_the_same(engine):
    """ONNX Runtime GenAI with our ids and pixels; its tokenizer cannot read ours, and its rewind refuses phi3v."""
    og = pytest.importorskip("onnxruntime_genai")
    og.disable_telemetry_events()
    request = asked("What is written on the sign?", noise(3), max_tokens=24)
    prepared = WORKER.call(lambda: engine.prepare(request))
    plan = prepared.pictures[0].layout
    tensors = og.NamedTensors()
    tensors["input_ids"] = np.array([prepared.prompt.ids], np.int32)
    tensors["pixel_values"] = images.pixel_values(request.images[0], plan)[None]
    tensors["image_sizes"] = np.array([plan.padded[::-1]], np.int64)
    tensors["num_image_tokens"] = np.array([plan.tokens], np.int64)
    model = og.Model(str(engine.path))
    options = og.GeneratorParams(model)
    options.set_search_options(max_length=1024)
    generator = og.Generator(model, options)
    generator.set_inputs(tensors)
    theirs = []
    while not generator.is_done() and len(theirs) < request.max_tokens:
        generator.generate_next_token()
        theirs.append(int(generator.get_next_tokens()[0]))
    assert theirs == ids(engine, request)
    with pytest.raises(RuntimeError, match="not supported for phi3v"):
        generator.rewind_to(10)


# -- pictures and the cache -----------------------------------------------------------------------------


@pytest.fixture
def looks(monkeypatch):
    """How often a picture goes through the tower."""
    seen = []
    original = onnx_sessions.Sessions.picture_rows

    def counted(self, *arguments):
        seen.append(arguments[1:3])
        return original(self, *arguments)

    monkeypatch.setattr(onnx_sessions.Sessions, "picture_rows", counted)
    return seen


def test_a_second_question_about_a_picture_sees_nothing_anew(engine, looks):
    shot = noise(4)
    first = ids(engine, asked("What is this?", shot, max_tokens=6))
    alone = engine.report.cached_tokens
    again = ids(engine, asked("Is there a circle?", shot, max_tokens=6))
    assert alone < 3 and engine.report.cached_tokens >= 313 and looks == [(1, 1)]
    ids(engine, asked("What is this?", noise(5), max_tokens=6))
    assert engine.report.cached_tokens < 3 and len(looks) == 2, "another picture is never the same"
    assert first == ids(engine, asked("What is this?", shot, max_tokens=6))
    assert again == ids(engine, asked("Is there a circle?", shot, max_tokens=6))


def test_two_pictures_each_at_their_place(engine, mlx, looks):
    request = asked("What is different?", noise(6), noise(7, 500, 200), max_tokens=30, num_crops=2)
    assert ids(engine, request) == ids(mlx, request)
    assert engine.report.image_tokens == mlx.report.image_tokens and len(looks) == 2
    swapped = asked("What is different?", *request.images[::-1], max_tokens=2, num_crops=2)
    ids(engine, swapped)
    assert len(looks) == 2, "the rows of both are still there"


def test_an_answer_in_korean_loses_no_byte(engine, text, mlx):
    request = asked("서울은 어디에 있나요?", max_tokens=40)
    said = "".join(token.text for token in answer(text, request))
    assert "한국" in said and "\ufffd" not in said
    question = asked("이 그림에는 무엇이 있습니까?", noise(), max_tokens=4)
    rendered = [WORKER.call(lambda each=each: each.prepare(question)).prompt for each in (engine, mlx)]
    assert rendered[0].ids == rendered[1].ids and "그림" in rendered[0].text


def test_a_request_beyond_the_context_is_refused_with_its_pictures_costs(engine):
    with pytest.raises(BadRequest, match=r"Of the prompt, 13 picture\(s\) take 313 tokens each"):
        ids(engine, asked("Hi", *[noise(n) for n in range(13)], max_tokens=400))


# -- stopping -------------------------------------------------------------------------------------------


def test_stop_within_one_token_and_the_next_answer_is_right(engine):
    request = asked("Describe the picture.", noise(8), max_tokens=40)
    whole = ids(engine, request)
    assert ids(engine, request, stop_after=3) == whole[:3] and engine.report.finish_reason == "cancelled"
    assert ids(engine, request) == whole and engine.report.cached_tokens > 300


def test_stop_while_a_picture_is_seen_or_a_prompt_is_read(engine, text):
    """`cancelled` is asked while the graphs run, and a stopped prompt leaves a cache that holds what it says."""
    request = asked("Describe the picture.", noise(9, 900, 900), max_tokens=9, num_crops=16)

    def stopped():
        return list(engine.stream(engine.prepare(request), lambda: True))

    assert WORKER.call(stopped) == [] and engine.report.finish_reason == "cancelled"
    assert engine.report.seconds < 10, "17 views take longer"
    long = asked("Hello! " * 200, max_tokens=5)
    count = iter(range(100))
    seen = WORKER.call(lambda: list(text.stream(text.prepare(long), lambda: next(count) >= 1)))
    assert seen == [] and text.report.prompt_tokens > CHUNK
    fresh = OnnxGenAI(text.path)
    assert ids(text, long) == ids(fresh, long)
    WORKER.call(fresh.close)


def test_a_question_between_two_tokens_leaves_the_answer_as_it_is(text):
    request = asked("Count from 1 to 9.", max_tokens=20)
    whole = ids(text, request)

    def nested():
        seen = []
        for token in text.stream(text.prepare(request), lambda: False):
            seen.append(token.id)
            list(text.stream(text.prepare(asked("Hello!", max_tokens=3)), lambda: False))
        return seen

    assert WORKER.call(nested) == whole


# -- sampling, schemas, limits --------------------------------------------------------------------------


def test_a_seed_gives_the_same_answer_and_another_one_another(text):
    def drawn(seed, **how):
        return ids(text, asked("Suggest a city to visit.", max_tokens=24, sampling=Sampling(1.0, seed=seed, **how)))

    assert drawn(3) == drawn(3)
    assert len({tuple(drawn(seed)) for seed in range(8)}) > 3
    greedy = ids(text, asked("Suggest a city to visit.", max_tokens=24))
    assert drawn(5, top_p=1e-6) == greedy, "of the smallest nucleus only the likeliest token is left"


def test_probabilities_are_told(text):
    tokens = answer(text, asked("Where is Changsha?", max_tokens=5, top_logprobs=4))
    for token in tokens:
        assert token.id == token.top_logprobs[0].id and token.logprob == token.top_logprobs[0].logprob <= 0
        assert sum(np.exp(other.logprob) for other in token.top_logprobs) <= 1 + 1e-6


def test_a_schema_holds_the_answer():
    model = load(str(exported(READING)))
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 12}},
        "required": ["city"],
        "additionalProperties": False,
    }
    said = model.ask("Give me a city as JSON.", schema=schema, max_tokens=40)
    assert set(json.loads(said.text)) == {"city"}
    model.release()


def test_memory_is_checked_before_anything_is_read(monkeypatch):
    monkeypatch.setenv("LABS_MEMORY_GB", "0.1")
    engine = OnnxGenAI(exported(SEEING))
    with pytest.raises(NotEnoughMemory, match="vision-tiny"):
        ids(engine, asked("Hi", noise(), max_tokens=4))
    assert not engine.loaded


def test_a_model_that_reads_takes_no_pictures(text):
    with pytest.raises(BadRequest, match="no pictures"):
        ids(text, asked("Hi", noise()))


def test_without_the_runtime_a_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(platforms, "has_onnx_runtime", lambda: False)
    with pytest.raises(LabError, match=r"ONNX Runtime is not installed.*labs-helper\[x86\]"):
        onnx_sessions.import_runtime()


def test_telemetry_is_off_before_anything_else(monkeypatch):
    import onnxruntime

    called = []
    monkeypatch.setattr(onnxruntime, "disable_telemetry_events", lambda: called.append("off"))
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_a, **_k: called.append("open") or _Session())
    engine = OnnxGenAI(exported(READING))
    WORKER.call(engine.load)
    assert called == ["off", "open"]


class _Session:
    def io_binding(self):
        return None


def test_the_weights_are_the_checkpoints_own():
    """MLX's groups of 4 bits go into ONNX's as they are: nothing is rounded a second time."""
    from training.to_onnx import Checkpoint

    checkpoint = Checkpoint(SEEING)
    packed = checkpoint.matrix("model.layers.0.mlp.down_proj")
    low, high = packed.numbers & 15, packed.numbers >> 4
    numbers = np.stack([low, high], -1).reshape(*packed.scales.shape, 32).astype(np.float32)
    zeros = np.stack([packed.zeros & 15, packed.zeros >> 4], -1).reshape(len(packed.zeros), -1)[
        :, : packed.scales.shape[1]
    ]
    back = ((numbers - zeros[..., None]) * packed.scales[..., None]).reshape(packed.shape)
    assert packed.changed == 0
    assert np.abs(back - checkpoint.weight("model.layers.0.mlp.down_proj.weight")).max() < 1e-6


def test_a_group_that_four_bits_cannot_hold_is_rounded_anew():
    """A group whose numbers are all far above zero has a zero point below 0 or above 15."""
    from training.onnx_graphs import packed_from_mlx

    numbers = np.arange(32, dtype=np.uint8) % 16
    weight = (numbers[::2] | numbers[1::2] << 4).view(np.uint32)[None]
    packed = packed_from_mlx(weight, np.array([[0.01]], np.float32), np.array([[3.0]], np.float32))
    assert packed.changed == 1
    wide = replace(packed, changed=0)
    values = (np.stack([wide.numbers & 15, wide.numbers >> 4], -1).ravel() - (wide.zeros[0, 0] & 15)) * wide.scales[
        0, 0
    ]
    assert np.abs(values - (3.0 + 0.01 * numbers)).max() < 0.11


if __name__ == "__main__":
    count, same, right, mlx_right = compared(OnnxGenAI(exported(SEEING)), MLXVision(SEEING), 4)
    print(f"{count} held-out questions: {same} answers as MLX gives them; right: {right}, MLX: {mlx_right}")
