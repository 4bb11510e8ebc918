"""An adapter as a GGUF file for llama.cpp, in the form of its own convert_lora_to_gguf.py.

llama.cpp adds alpha / rank * B A x to W x, where mlx-lm adds scale * (x A) B. So both matrices are transposed, and
alpha is scale * rank. The names are those of its phi3 (`blk.0.attn_qkv`), with `.lora_a` and `.lora_b` after `.weight`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from labs_helper.common.translate import _
from labs_helper.engines.adapters import Adapter
from labs_helper.engines.worker import WORKER
from labs_helper.errors import BadRequest, LabError

if TYPE_CHECKING:
    import numpy as np

NAMES = {
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def to_gguf(adapter: Adapter, file: str | Path) -> Path:
    """Write an adapter of a phi3 model for llama.cpp. Returns the file.

    Raises:
        BadRequest: the file is there already, or the adapter is of another architecture.
        LabError: the package gguf is not installed.

    Example:
        to_gguf(taught.adapter, "school.gguf")
    """
    file = Path(file).expanduser()
    if file.exists():
        raise BadRequest(
            _("{file} is there already, and nothing is overwritten.").format(file=file), _("Name another file.")
        )
    if unknown := [key for key in adapter.keys if key not in NAMES]:
        raise BadRequest(
            _("llama.cpp's phi3 has no layer {key!r}.").format(key=unknown[0]),
            _("Only adapters of phi3 models can be written."),
        )
    if adapter.kind != "lora":
        raise BadRequest(
            _("llama.cpp has no adapters of the kind {kind!r}.").format(kind=adapter.kind),
            _("Fold it into the weights with fold(), and convert the folder."),
        )
    try:
        import gguf
    except ImportError as error:
        raise LabError(
            _("The package gguf is not installed."), _("Install it: pip install 'labs-helper[x86]'.")
        ) from error
    writer = gguf.GGUFWriter(str(file), "phi3")
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(adapter.scale * adapter.rank))
    for name, array in WORKER.call(_arrays, adapter):
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _arrays(adapter: Adapter) -> list[tuple[str, np.ndarray]]:
    import mlx.core as mx
    import numpy as np

    found = []
    for name, array in sorted(adapter.arrays.items()):
        _model, _layers, block, rest = name.split(".", 3)
        key, side = rest.rsplit(".", 1)
        turned = np.ascontiguousarray(np.array(array.astype(mx.float32)).T)
        found.append((f"blk.{block}.{NAMES[key]}.weight.{side}", turned))
    return found
