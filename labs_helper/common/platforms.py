"""What this machine can compute with."""

from __future__ import annotations

import importlib.util
import platform
import sys


def has_apple_gpu() -> bool:
    """Whether MLX runs on the GPU here: on a Mac with Apple silicon. Elsewhere the course installs MLX's CPU build.

    Example:
        has_apple_gpu()
    """
    return sys.platform == "darwin" and platform.machine() == "arm64"


def has_llama_cpp() -> bool:
    """Whether llama.cpp is installed, as the package xllamacpp. The extra [x86] installs it.

    Example:
        has_llama_cpp()
    """
    return importlib.util.find_spec("xllamacpp") is not None


def has_engine_for(form: str) -> bool:
    """Whether something is installed that runs models of a format of the catalog.

    Example:
        has_engine_for("gguf")      # True if llama.cpp is here
    """
    engines = {"gguf": has_llama_cpp, "onnx": has_onnx_runtime}
    return form not in engines or engines[form]()


def has_onnx_runtime() -> bool:
    """Whether ONNX Runtime is installed. The extra [x86] installs it.

    Example:
        has_onnx_runtime()
    """
    return importlib.util.find_spec("onnxruntime") is not None
