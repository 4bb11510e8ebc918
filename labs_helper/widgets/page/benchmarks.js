// The page of `benchmarks`; see benchmark_explorer.py.

function show(view) {
  const w = view.words;
  view.el.setAttribute("role", "group");
  view.el.setAttribute("aria-label", w.title);
  const drawing = h("div", { class: "labs-drawing" });
  view.follow("drawing", (html) => fill(drawing, html));
  view.el.append(
    titleLine(view, w.title),
    h("div", { class: "labs-controls" },
      h("div", {}, list(view, "table", "tables"), list(view, "test", "tests"), radios(view)),
      models(view)),
    drawing,
  );
}

/** A list to choose from. With one entry there is nothing to choose. */
function list(view, name, options) {
  const id = unique(name);
  const select = h("select", { id, class: "labs-field labs-list-of", "data-kernel": "" });
  select.addEventListener("change", () => view.send("set", { name, text: select.value }));
  const chosen = () => {
    select.value = view.get(name);
    select.disabled = view.get(options).length < 2 || view.gone;
  };
  view.follow(options, (all) => {
    select.replaceChildren(...all.map(([label, value]) => h("option", { value }, label)));
    chosen();
  });
  view.follow(name, chosen);
  return h("div", { class: "labs-row labs-prompt" }, h("label", { for: id }, view.words[name]), select);
}

function radios(view) {
  const name = unique("view");
  const choices = ["chart", "table"].map((value) => {
    const id = unique(value);
    const box = h("input", { id, type: "radio", name, value, "data-kernel": "" });
    box.addEventListener("change", () => view.send("set", { name: "view", text: value }));
    view.follow("view", (now) => { box.checked = now === value; });
    return h("span", {}, box, h("label", { for: id }, view.words[`as_${value}`]));
  });
  return h("div", { class: "labs-row labs-prompt", role: "radiogroup", "aria-label": view.words.view },
    h("span", { "aria-hidden": "true" }, view.words.view), ...choices);
}

/** A box to tick for each model: a list with multiple choice would need Ctrl and the mouse. */
function models(view) {
  const boxes = h("div", { class: "labs-ticks" });
  const part = h("div", { role: "group", "aria-label": view.words.models }, h("span", { "aria-hidden": "true" }, view.words.models), boxes);
  const drawn = new Map();
  view.follow("models", (names) => {
    drawn.clear();
    boxes.replaceChildren(...names.map((name) => {
      const id = unique("model");
      const box = h("input", { id, type: "checkbox", "data-kernel": "" });
      box.addEventListener("change", () => view.send("tick", { name, on: box.checked }));
      drawn.set(name, box);
      return h("div", {}, box, h("label", { for: id }, name));
    }));
    tick();
    part.hidden = !names.length;
  });
  function tick() {
    for (const [name, box] of drawn) box.checked = view.get("ticked").includes(name);
  }
  view.follow("ticked", tick);
  return part;
}
