// The page of `compare`; see comparison.py.

function show(view) {
  const w = view.words;
  view.el.setAttribute("role", "group");
  view.el.setAttribute("aria-label", w.title);
  const id = unique("prompts");
  const field = h("textarea", { id, rows: 2, class: "labs-field", "data-kernel": "" });
  const why = h("div", { class: "labs-wrong", role: "alert" });
  const run = pressable(w.run, ask, { hint: w.run_hint, primary: true });
  const stop = stopButton(view, () => view.focus(field));

  async function ask() {
    why.textContent = "";
    view.focus(field);
    why.textContent = await view.send("run", { text: field.value });
  }
  field.addEventListener("input", () => grow(field));
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || composing(event)) return;
    event.stopPropagation(); // Enter begins a line; with Ctrl the notebook would run the cell
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      ask();
    }
  });
  view.follow("typed", (text) => {
    if (document.activeElement !== field || !field.value) field.value = text;
    requestAnimationFrame(() => grow(field));
  });
  view.follow("running", (state) => switchable(view, !state, run));

  const table = h("div", { class: "labs-table" });
  view.follow("table", (html) => fill(table, html));
  view.el.append(
    titleLine(view, w.title),
    h("div", { class: "labs-row" }, h("label", { for: id }, w.prompts), field),
    h("div", { class: "labs-buttons" }, run, stop),
    why,
    statusLine(view),
    table,
  );
}
