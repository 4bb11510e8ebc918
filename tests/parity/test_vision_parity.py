"""Picture rows: ours and plain mlx-vlm's against an independent reference (tests/reference, made with torch).

python tests/parity/test_vision_parity.py      # prints both measurements
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE.parent / "reference")]

import miniature  # noqa: E402

from labs_helper.corrections import vision  # noqa: E402
from labs_helper.corrections.vision import sizes, tiles, upstream  # noqa: E402
from labs_helper.engines.worker import WORKER  # noqa: E402
from labs_helper.pictures import images  # noqa: E402

REFERENCE = np.load(HERE.parent / "reference" / "vision_rows.npz")
LIMIT = 1e-5
MISPLACED = 1e-2  # rounding is far below, the distance of two different cells far above


@cache
def towers():
    """(plain mlx-vlm's way in a small tower, ours), with the same weights. In the worker's thread."""
    phi3_v = upstream.import_mlx_vlm()
    import mlx.core as mx
    from mlx.utils import tree_flatten

    config = phi3_v.ModelConfig(hidden_size=miniature.HIDDEN, vision_config=phi3_v.VisionConfig(**miniature.VISION))
    found = []
    for kind in (sizes.sized_model(), tiles.repaired_model()):
        tower = kind(config)
        arrays = []
        for name, value in tree_flatten(tower.parameters()):
            shape = value.shape
            conv = name.endswith("patch_embedding.weight")  # torch and MLX order its axes differently
            made = miniature.weight(name, (shape[0], shape[3], *shape[1:3]) if conv else shape)
            arrays.append((name, mx.array(made.transpose(0, 2, 3, 1) if conv else made)))
        tower.load_weights(arrays)
        found.append(tower)
    return found


def through_mlx_vlm(tower, case: str) -> list[np.ndarray]:
    """The rows of a case's pictures through mlx-vlm's processor and its VisionModel, as installed or repaired."""
    phi3_v = upstream.import_mlx_vlm()
    import mlx.core as mx

    crops, sizes = miniature.CASES[case]
    pictures = [miniature.picture(case, number) for number in range(len(sizes))]
    processor = phi3_v.Phi3VImageProcessor(num_crops=crops)
    counts = [processor.calc_num_image_tokens(image) for image in pictures]
    ready = processor(pictures)
    places = [[0, place] for place in range(sum(counts))]
    filled = tower(
        ready["pixel_values"].astype(mx.float32),
        mx.zeros((1, sum(counts), miniature.HIDDEN)),
        ready["image_sizes"],
        places,
    )
    return np.split(np.array(filled[0]), np.cumsum(counts)[:-1])


def ours(case: str) -> list[np.ndarray]:
    """The way of our engine."""
    import mlx.core as mx

    crops, sizes = miniature.CASES[case]
    found = []
    for number in range(len(sizes)):
        image = miniature.picture(case, number)
        plan = images.layout(*image.size, crops)
        seen = tiles.features(towers()[1], mx.array(images.pixel_values(image, images.layout(*image.size, crops))))
        found.append(np.array(tiles.arrange(towers()[1], seen, plan.rows, plan.columns)))
    return found


def plain(case: str) -> list[np.ndarray]:
    vision.undo()
    return through_mlx_vlm(towers()[0], case)


def repaired(case: str) -> list[np.ndarray]:
    vision.apply()
    try:
        return through_mlx_vlm(towers()[1], case)
    finally:
        vision.undo()


def measured(way, case: str) -> tuple[float, int, int]:
    """Largest difference to the reference, misplaced rows, rows in all."""
    rows = WORKER.call(way, case)
    stored = [REFERENCE[f"{case} {number}"] for number in range(len(rows))]
    assert [found.shape for found in rows] == [wanted.shape for wanted in stored]
    far = np.concatenate([np.abs(found - wanted).max(1) for found, wanted in zip(rows, stored)])
    return float(far.max()), int((far > MISPLACED).sum()), len(far)


@pytest.mark.parametrize("way", [ours, repaired])
@pytest.mark.parametrize("case", miniature.CASES)
def test_picture_rows_equal_the_reference(case, way):
    difference, misplaced, _ = measured(way, case)
    assert difference <= LIMIT and misplaced == 0


@pytest.mark.parametrize("case", miniature.CASES)
def test_plain_mlx_vlm_fails(case):
    """What the corrections are for. If this fails below, mlx-vlm is right now: remove the correction."""
    difference, misplaced, rows = measured(plain, case)
    assert difference > 0.1 and misplaced > rows / 3


def only_tiles(case: str) -> list[np.ndarray]:
    """Plain mlx-vlm's arrangement of tiles, behind pictures that are resized rightly."""
    vision.apply("pictures")
    try:
        return through_mlx_vlm(towers()[0], case)
    finally:
        vision.undo()


@pytest.mark.parametrize("case", ["1x4", "2x2", "3x5", "2x2 and 1x3"])
def test_plain_mlx_vlm_shuffles_tiles_that_stand_side_by_side(case):
    _, misplaced, rows = measured(only_tiles, case)
    assert misplaced > rows / 2


@pytest.mark.parametrize("case", ["1x1", "4x1"])
def test_one_column_of_tiles_was_never_wrong(case):
    difference, misplaced, _ = measured(only_tiles, case)
    assert difference <= LIMIT and misplaced == 0


def test_the_cases_are_the_layouts_they_are_named_after():
    for case, (crops, extents) in miniature.CASES.items():
        plans = [images.layout(*extent, crops) for extent in extents]
        assert case == " and ".join(f"{plan.rows}x{plan.columns}" for plan in plans)


if __name__ == "__main__":
    print(f"{'layout':<14}{'way':<24}{'largest difference':>20}{'misplaced rows':>18}")
    for name in miniature.CASES:
        for label, way in (("ours", ours), ("mlx-vlm, repaired", repaired), ("plain mlx-vlm", plain)):
            difference, misplaced, rows = measured(way, name)
            print(f"{name:<14}{label:<24}{difference:>20.1e}{misplaced:>11} of {rows}")
