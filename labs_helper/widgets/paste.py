"""A place on the page into which a picture can be pasted or dropped; ipywidgets has none."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anywidget
import traitlets

from labs_helper.common.translate import _

# The picture travels as bytes in a message of its own, so that nothing of it stays in the notebook file. What does not
# fit into one message is refused in the browser already: the connection would break.
_CODE = """
function render({ model, el }) {
  const place = document.createElement("div");
  place.tabIndex = 0;
  place.setAttribute("role", "group");
  place.setAttribute("aria-label", model.get("words"));
  place.textContent = model.get("words");
  Object.assign(place.style, { border: "1px dashed #666", padding: "6px 10px", maxWidth: "34em", cursor: "text" });
  place.addEventListener("focus", () => { place.style.outline = "2px solid #1a5fb4"; });
  place.addEventListener("blur", () => { place.style.outline = ""; });
  const send = async (file) => {
    if (file.size > model.get("most")) {
      model.send({ name: file.name, refused: file.size });
    } else {
      model.send({ name: file.name }, undefined, [await file.arrayBuffer()]);
    }
  };
  const take = (event, data) => {
    event.preventDefault();
    event.stopPropagation();
    const files = [...data.files].filter((file) => file.type.startsWith("image/"));
    if (files.length) files.forEach(send); else model.send({ name: "", nothing: true });
  };
  place.addEventListener("paste", (event) => take(event, event.clipboardData));
  place.addEventListener("dragover", (event) => event.preventDefault());
  place.addEventListener("drop", (event) => take(event, event.dataTransfer));
  // JupyterLab would take the keys for its own commands.
  place.addEventListener("keydown", (event) => { if (event.key !== "Tab") event.stopPropagation(); });
  el.appendChild(place);
}
export default { render };
"""


class PasteBox(anywidget.AnyWidget):  # type: ignore[misc]  # anywidget has no types
    """A box that takes pictures from the clipboard or dropped files.

    Args:
        on_picture: called with (name, bytes) of each picture.
        on_refused: called with a sentence when what came cannot be taken.
        most: bytes of the largest picture.

    Example:
        >>> PasteBox(on_picture=print, on_refused=print, most=7_000_000).words
        'Paste or drop a picture here: select this box, then Ctrl+V or Cmd+V'
    """

    _esm = _CODE
    words = traitlets.Unicode().tag(sync=True)
    most = traitlets.Int().tag(sync=True)

    def __init__(self, on_picture: Callable[[str, bytes], None], on_refused: Callable[[str], None], most: int) -> None:
        super().__init__(most=most, words=_("Paste or drop a picture here: select this box, then Ctrl+V or Cmd+V"))
        self._take, self._refuse = on_picture, on_refused
        self.on_msg(self._came)

    def _came(self, _box: object, content: object, buffers: Sequence[memoryview]) -> None:
        message: dict[str, object] = content if isinstance(content, dict) else {}
        name = str(message.get("name") or _("pasted picture"))
        size = message.get("refused")
        if buffers:
            self._take(name, bytes(buffers[0]))
        elif isinstance(size, int):
            words = _("{name} has {size:.1f} MB, too much for one message. Type its path instead, or make it smaller.")
            self._refuse(words.format(name=name, size=size / 1e6))
        else:
            self._refuse(_("There is no picture in what was pasted. Copy a picture first, or drop a file."))
