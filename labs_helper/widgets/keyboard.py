"""Keys that belong to a control of ours stay with it, and the control that has them is easy to see."""

from __future__ import annotations

import anywidget

# In command mode JupyterLab's selectors end in `:focus`, so they match the control itself: arrow keys leave a list,
# and "d d" on a button deletes the cell. The attribute `data-lm-suppress-shortcuts` helps only on the focused element
# and would also switch off Ctrl+S. So keys that belong to a control end at the page's body: after the control has had
# them and before JupyterLab, which listens on the document. Tab, Escape, Shift+Enter and keys with Ctrl go on to it.
_CODE = """
const control = 'button, input, select, textarea, a, summary, [tabindex]';
function keep(event) {
  if (!event.target.closest?.(".labs-widget")?.contains(event.target.closest(control))) return;
  const moves = /^(Arrow|Home|End|Page| )/.test(event.key);   // with Ctrl too: lists use it to choose several
  if (!moves && (event.ctrlKey || event.metaKey || event.altKey)) return;
  if (/^(Tab|Escape|F[0-9]+)$/.test(event.key) || (event.shiftKey && event.key === "Enter")) return;
  event.stopPropagation();
}
function initialize() {
  if (window.labsKeys) return;
  window.labsKeys = keep;
  document.body.addEventListener("keydown", keep);
}
export default { initialize };
"""
# The ring takes the colour of the text, which stands out in the light and in the dark theme. It is drawn inside a
# control, because the boxes around would cut it off. A box to tick has room around it and none inside.
_STYLE = """
.labs-widget :is(button, input, select, textarea, a, summary, [tabindex]):focus-visible {
  outline: 2px solid var(--jp-ui-font-color0, #000) !important;
  outline-offset: -2px;
}
.labs-widget :is([type=checkbox], [type=radio]) { margin-left: 4px !important; }
.labs-widget :is([type=checkbox], [type=radio]):focus-visible { outline-offset: 1px; }
"""


class Keyboard(anywidget.AnyWidget):  # type: ignore[misc]  # anywidget has no types
    """Keeps the keys of a `LabWidget`'s controls from JupyterLab, and draws a ring around the one that has them.

    It shows nothing itself. Every `LabWidget` has one as its last child.
    """

    _esm = _CODE
    _css = _STYLE
