"""Models on this machine: where they are, whether they may be used, and how they come, travel and go.

| module | job |
| --- | --- |
| `places` | find a model: bundled, in the models folder, in the Hugging Face cache |
| `adapters` | the same for adapters, which are trained in lab 05 |
| `checkpoint` | refuse a folder that is broken, of an unknown kind, or carries code |
| `gguf` | what a GGUF file says about itself |
| `onnx_folder`, `onnx_graph` | the same for a folder of ONNX Runtime GenAI and its graphs |
| `json_files`, `protobuf` | read the two formats |
| `manifest` | the list of a model's files with SHA-256 sums; what may be in it |
| `hub`, `lan` | which files to fetch, and from where; `lan` also serves a class |
| `transfer` | fetch one file over HTTP, resumed and checked |
| `staging` | a model comes in one step or not at all |
| `supply` | `fetch`, `check`, `remove` |
| `packs` | `export`, `import_pack` |
| `wheels` | the list of a wheelhouse: packages for computers without a network |

Some names are resolved on first use: finding a checkpoint should not import an HTTP client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labs_helper.common.on_first_use import on_first_use
from labs_helper.store import adapters
from labs_helper.store.checkpoint import (
    ARCHITECTURES,
    DTYPE_BYTES,
    check_settings,
    is_complete,
    read_header,
    verify,
    weight_table,
)
from labs_helper.store.json_files import read_json
from labs_helper.store.places import (
    card_for,
    gguf_file,
    is_here,
    locate,
    looks_like_path,
    model_path,
    models_folders,
    real_card,
)

if TYPE_CHECKING:
    from labs_helper.store.lan import serve
    from labs_helper.store.packs import export, import_pack
    from labs_helper.store.supply import check, fetch, remove

_ON_FIRST_USE = {
    "fetch": "supply",
    "check": "supply",
    "remove": "supply",
    "export": "packs",
    "import_pack": "packs",
    "serve": "lan",
}

__all__ = [
    "ARCHITECTURES",
    "DTYPE_BYTES",
    "adapters",
    "card_for",
    "check",
    "check_settings",
    "export",
    "fetch",
    "gguf_file",
    "import_pack",
    "is_complete",
    "is_here",
    "locate",
    "looks_like_path",
    "model_path",
    "models_folders",
    "read_header",
    "read_json",
    "real_card",
    "remove",
    "serve",
    "verify",
    "weight_table",
]

__getattr__ = on_first_use(__name__, _ON_FIRST_USE)
