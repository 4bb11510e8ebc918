"""The graphs of an ONNX folder, open in ONNX Runtime: rows of words, rows of a picture, scores, and the KV cache.

ONNX Runtime GenAI has a loop of its own around the same graphs. It is not used: its `rewind_to` refuses phi3v, so each
question about a picture would see it again; it reads a prompt in one go, which cannot be stopped; and it makes room for
the longest context that it was told, where this cache grows with the conversation.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from labs_helper.common import platforms
from labs_helper.common.translate import _
from labs_helper.engines.base import Stopped
from labs_helper.errors import LabError
from labs_helper.store.onnx_folder import OnnxFolder

if TYPE_CHECKING:
    import numpy as np

SMALL = 64_000_000  # bytes of weights that one thread computes best
ROOM_STEP = 256  # tokens; room in the cache is made in steps of this size
_POLL = 0.02  # seconds between two looks whether to stop
_QUIET = 4  # ONNX Runtime's level of messages: only what ends the program


def import_runtime() -> ModuleType:
    """onnxruntime, with its telemetry off before anything else.

    Raises:
        LabError: it is not installed, or does not start on this machine.

    Example:
        import_runtime().__version__
    """
    if not platforms.has_onnx_runtime():
        raise LabError(_("ONNX Runtime is not installed."), _("Install it: pip install 'labs-helper[x86]'."))
    try:
        onnxruntime = importlib.import_module("onnxruntime")
    except ImportError as error:  # on Windows it wants Microsoft's C++ runtime, on Linux a C++ library
        raise LabError(
            _("ONNX Runtime does not start here ({reason}).").format(reason=error),
            _("On Windows install the Microsoft Visual C++ Redistributable; elsewhere install onnxruntime again."),
        ) from error
    onnxruntime.disable_telemetry_events()
    onnxruntime.set_default_logger_severity(_QUIET)
    runtime: ModuleType = onnxruntime
    return runtime


class Cache:
    """Keys and values of a sequence, in buffers that the decoder reads and writes in place.

    Attributes:
        room: places that the buffers hold.
        buffers: two for each layer.
    """

    def __init__(self, layers: int, heads: int, head: int) -> None:
        self.room = 0
        self.buffers: list[Any] = []
        self._shape = (layers, heads, head)

    def grow(self, room: int, used: int) -> None:
        """Make room for this many places at least; the first `used` keep what they hold."""
        if room <= self.room:
            return
        runtime = import_runtime()
        import numpy as np

        layers, heads, head = self._shape
        room = -(-room // ROOM_STEP) * ROOM_STEP
        old, self.buffers = self.buffers, []
        for number in range(2 * layers):
            array = np.zeros((1, heads, room, head), np.float32)
            if used:
                array[:, :, :used] = old[number].numpy()[:, :, :used]
                old[number] = None  # given back one by one: two whole caches would not fit beside each other
            self.buffers.append(runtime.OrtValue.ortvalue_from_numpy(array))
        self.room = room


class Sessions:
    """The open graphs of a folder.

    Args:
        folder: what its settings say.
        threads: of the computation; None takes one for a small model, else what ONNX Runtime finds.
    """

    def __init__(self, folder: OnnxFolder, threads: int | None = None) -> None:
        runtime = import_runtime()
        options = runtime.SessionOptions()
        options.log_severity_level = _QUIET
        threads = threads or (1 if folder.bytes < SMALL else 0)
        if threads:
            options.intra_op_num_threads = threads
        self.folder = folder
        self._runtime = runtime
        self._open = {
            part: runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
            for part, file in folder.graphs.items()
        }
        decoder = folder.decoder
        self._hidden: int = decoder["hidden_size"]
        self._layers: int = decoder["num_hidden_layers"]
        self._past, self._present = (
            [
                names.get(f"{when}_{part}_names", f"{usual}.%d.{part}") % layer
                for layer in range(self._layers)
                for part in ("key", "value")
            ]
            for names, when, usual in (
                (decoder.get("inputs", {}), "past", "past_key_values"),
                (decoder.get("outputs", {}), "present", "present"),
            )
        )
        self._binding = self._open["decoder"].io_binding()
        self._bound: Cache | None = None
        self._bound_room = 0

    def new_cache(self) -> Cache:
        """An empty cache for the decoder."""
        decoder = self.folder.decoder
        return Cache(self._layers, decoder["num_key_value_heads"], decoder["head_size"])

    def rows(self, ids: Sequence[int]) -> np.ndarray:
        """Rows of tokens, (1, tokens, hidden); those of pictures are to be filled in. For a text model the ids."""
        import numpy as np

        array = np.maximum(np.array([ids], np.int64), 0)
        if "embedding" not in self._open:
            return array
        session = self._open["embedding"]
        feed: dict[str, np.ndarray] = {}
        for wanted in session.get_inputs():
            if wanted.name == self._name("embedding", "inputs", "input_ids"):
                feed[wanted.name] = array.astype(np.int32) if "int32" in wanted.type else array
            else:  # the rows of pictures: none, and in the form that the graph wants
                shape = (0, self._hidden) if len(wanted.shape) == 2 else (1, 0, self._hidden)
                feed[wanted.name] = np.zeros(shape, np.float32)
        rows: np.ndarray = session.run(None, feed)[0]
        return rows

    def picture_rows(
        self, pixels: np.ndarray, rows: int, columns: int, side: int, cancelled: Callable[[], bool]
    ) -> np.ndarray:
        """Rows of one picture, (tokens, hidden).

        Args:
            pixels: (views, 3, side, side), the global view first.
            rows: of tiles.
            columns: of tiles.
            side: of a view, in pixels.
            cancelled: asked while it is computed.
        """
        import numpy as np

        session = self._open["vision"]
        wanted = {one.name: one for one in session.get_inputs()}
        name, sizes = (self._name("vision", "inputs", key) for key in ("pixel_values", "image_sizes"))
        count = wanted[name].shape[1]
        if isinstance(count, int) and count > len(pixels):  # a graph for a fixed number of views
            pixels = np.concatenate([pixels, np.zeros((count - len(pixels), *pixels.shape[1:]), pixels.dtype)])
        feed = {name: pixels[None], sizes: np.array([[rows * side, columns * side]], np.int64)}
        made = self._stoppable(lambda options: session.run(None, feed, options), cancelled)
        found: np.ndarray = made[0].reshape(-1, self._hidden)
        return found

    def scores(
        self, rows: np.ndarray, cache: Cache, used: int, width: int, cancelled: Callable[[], bool] | None = None
    ) -> np.ndarray:
        """Run the decoder. Raw scores for every place, (places, vocabulary).

        Args:
            rows: of the new places, from `rows`.
            cache: what is known of the `used` places before; the new ones are added to it.
            used: places that the cache holds.
            width: of the mask; more than the places takes LongRoPE's other table.
            cancelled: asked while it is computed; None for a single token.
        """
        import numpy as np

        binding, session, total = self._binding, self._open["decoder"], used + rows.shape[1]
        cache.grow(max(width, total), used)
        if self._bound is not cache or self._bound_room != cache.room:
            for name, buffer in zip(self._past, cache.buffers, strict=True):
                binding.bind_ortvalue_input(name, buffer)
            for name, buffer in zip(self._present, cache.buffers, strict=True):
                binding.bind_ortvalue_output(name, buffer)
            self._bound, self._bound_room = cache, cache.room
        mask = np.zeros((1, max(width, total)), np.int64)
        mask[:, :total] = 1
        first = "input_ids" if "embedding" not in self._open else "inputs_embeds"
        binding.bind_cpu_input(self._name("decoder", "inputs", first), np.ascontiguousarray(rows))
        binding.bind_cpu_input(self._name("decoder", "inputs", "attention_mask"), mask)
        output = self._name("decoder", "outputs", "logits")
        binding.bind_output(output, "cpu")

        def run(options: Any) -> None:
            session.run_with_iobinding(binding, options)

        if cancelled is None:
            run(None)
        else:
            self._stoppable(run, cancelled)
        found: np.ndarray = binding.get_outputs()[-1].numpy()[0]
        return found

    def _name(self, part: str, way: str, key: str) -> str:
        """The name of an input or output, as the settings give it."""
        names = self.folder.settings[part].get(way)
        name = names.get(key) if isinstance(names, dict) else None
        return name if isinstance(name, str) else key

    def _stoppable(self, run: Callable[[Any], Any], cancelled: Callable[[], bool]) -> Any:
        """Run in a thread of its own, and end it between two nodes once `cancelled()` says so.

        Raises:
            Stopped: it was ended.
        """
        options = self._runtime.RunOptions()
        results: list[Any] = []
        errors: list[BaseException] = []
        done = threading.Event()

        def work() -> None:
            try:
                results.append(run(options))
            except BaseException as error:
                errors.append(error)
            finally:
                done.set()

        thread = threading.Thread(target=work, name="labs-onnx", daemon=True)
        thread.start()
        stopped = False
        try:
            while not done.wait(_POLL):
                if cancelled():
                    stopped = options.terminate = True
                    break
        finally:
            if not done.is_set():
                options.terminate = True
            thread.join()
        if stopped:
            raise Stopped
        if errors:
            raise errors[0]
        return results[0]
