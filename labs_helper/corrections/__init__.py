"""What the packages below us get wrong or make slow on some machines, one file each.

Each file says what is wrong, where, and where it is discussed; it steps aside once the package is right.
Nothing here imports mlx at module level.
"""

from __future__ import annotations

import os
import sys

from labs_helper.common import nvidia
from labs_helper.corrections import blas, open_files


def before_mlx() -> None:
    """What has to happen before the first `import mlx.core`. Cheap, and safe to call again.

    Example:
        before_mlx()
        import mlx.core as mx
    """
    blas.preload()
    open_files.stand_in()
    if sys.platform != "darwin" and not nvidia.is_used():
        # On a CPU every mx.compile starts the C++ compiler, about a second for each kernel; the first sampled token
        # would take seven (measured on Linux with mlx 0.32.4; on Windows it looks for Visual Studio's). Models as small
        # as ours gain nothing from it. A value that the user has set wins.
        os.environ.setdefault("MLX_DISABLE_COMPILE", "1")
