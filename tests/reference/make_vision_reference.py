"""Make the stored rows for tests/parity/test_vision_parity.py.

    python tests/reference/make_vision_reference.py

Needs torch and transformers (the extra `training`); the test itself needs neither. Writes `vision_rows.npz` beside
this file: what phi3v.py computes in fp32 for each picture of miniature.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE)]

import miniature  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from phi3v import Reference, hd_transform  # noqa: E402


def main() -> None:
    """Write the rows of all cases."""
    torch.set_num_threads(1)
    reference = Reference(miniature.VISION, miniature.HIDDEN, miniature.weight)
    arrays = {}
    for case, (crops, sizes) in miniature.CASES.items():
        for number in range(len(sizes)):
            image = miniature.picture(case, number)
            _, h, w = hd_transform(image, crops)
            rows = reference.rows(image, crops).numpy()
            arrays[f"{case} {number}"] = rows
            print(f"{case:<12} picture {number}: {h} x {w} tiles, {len(rows)} rows, largest {np.abs(rows).max():.2f}")
    np.savez_compressed(HERE / "vision_rows.npz", **arrays)
    print(f"{(HERE / 'vision_rows.npz').stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
