"""How long this machine takes to multiply by a large matrix with fewer and fewer bits.

A model that writes one token reads every weight once. If reading is what takes the time, half the bytes take half the
time, and the bytes read in a second are the same for all. If computing takes it, they are not.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labs_helper.common.translate import _
from labs_helper.corrections import before_mlx
from labs_helper.engines.worker import WORKER
from labs_helper.quantizing.copies import FULL, check
from labs_helper.quantizing.copies import Bits as Plan

if TYPE_CHECKING:
    from collections.abc import Callable

    import mlx.core as mx

SINGLE = 32  # bits of the numbers that MLX computes with on a CPU


@dataclass(frozen=True)
class Product:
    """One measured product of a vector and a matrix.

    Attributes:
        bits: of each weight; 32 is not rounded.
        bytes: of the matrix, scales and biases included.
        seconds: the median of several.

    Example:
        products()[0].gigabytes_per_second
    """

    bits: int
    bytes: int
    seconds: float

    @property
    def gigabytes_per_second(self) -> float:
        """How much of the matrix is read in a second."""
        return self.bytes / self.seconds / 1e9

    def __str__(self) -> str:
        return _("{bits} bits: {size:.1f} MB in {time:.2f} ms, {speed:.1f} GB/s").format(
            bits=self.bits, size=self.bytes / 1e6, time=self.seconds * 1000, speed=self.gigabytes_per_second
        )

    __repr__ = __str__


def products(
    bits: Iterable[int] = (SINGLE, 8, 4, 2), width: int = 4096, group: int = 64, times: int = 5
) -> list[Product]:
    """Multiply a vector by a matrix of random numbers, with the weights packed to different bits.

    Args:
        bits: of the weights; 32 is not rounded. Scales have 32 bits on a CPU, where 16-bit ones are much slower, and 16
            on a GPU.
        width: rows and columns; 4,096 is that of a model of some 7 billion weights.
        group: weights that share a scale.
        times: how often each is measured, after one that does not count.

    Raises:
        BadRequest: MLX cannot round so.

    Example:
        products((32, 4))
    """
    before_mlx()
    return [WORKER.call(_product, number, width, group, times) for number in bits]


def _product(bits: int, width: int, group: int, times: int) -> Product:
    import mlx.core as mx

    number_type = mx.float32 if mx.default_device().type == mx.DeviceType.cpu else mx.float16
    weights = mx.random.normal((width, width)).astype(number_type)
    vector = mx.random.normal((1, width)).astype(number_type)
    multiply: Callable[[], mx.array]
    if bits in (SINGLE, FULL):
        arrays: tuple[mx.array, ...] = (weights,)

        def multiply() -> mx.array:
            return vector @ weights.T
    else:
        check(Plan(bits, group))
        arrays = mx.quantize(weights, group_size=group, bits=bits)

        def multiply() -> mx.array:
            return mx.quantized_matmul(vector, *arrays, transpose=True, group_size=group, bits=bits)

    mx.eval(vector, *arrays)
    seconds = []
    for _time in range(times + 1):
        start = time.perf_counter()
        mx.eval(multiply())
        seconds.append(time.perf_counter() - start)
    return Product(bits, sum(array.nbytes for array in arrays), sorted(seconds[1:])[times // 2])
