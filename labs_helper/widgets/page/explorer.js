// The page of `tokens` and `experts`: one or two prompts over a view of their answers; see explorer.py.

function show(view) {
  view.el.setAttribute("role", "group");
  view.el.setAttribute("aria-label", view.get("title"));
  const lines = view.get("texts").map((given) => promptLine(view, given));
  const run = async () => {
    for (const line of lines) line.tell();
    problem.textContent = await view.send("show");
  };
  const problem = h("div", { class: "labs-wrong", role: "alert" });
  for (const line of lines) onEnter(line.field, run);
  view.follow("texts", (texts) => {
    texts.forEach(({ value }, at) => {
      const { field } = lines[at];
      if (document.activeElement !== field && field.value !== value) {
        field.value = value;
        grow(field);
      }
    });
  });
  const back = () => view.focus(lines[0].field);
  const button = pressable(view.words.run, () => { run(); back(); }, { hint: view.words.run_hint, primary: true });
  view.follow("running", (state) => switchable(view, !state, button));
  const drawing = h("div", { class: "labs-drawing" });
  view.follow("drawing", (html) => fill(drawing, html));
  view.el.append(
    titleLine(view, view.get("title")),
    ...lines.map((line) => line.row),
    h("div", { class: "labs-buttons" }, button, stopButton(view, back), h("small", { class: "labs-keys" }, view.words.keys)),
    problem,
    statusLine(view),
    choicesOf(view),
    folded(view.words.settings, numberFields(view)),
    drawing,
  );
}

function promptLine(view, given) {
  const line = textLine(view, { name: given.name, label: given.label, value: given.value });
  if (given.empty) line.field.placeholder = given.empty;
  line.row.classList.add("labs-prompt");
  return line;
}

/** What is drawn of the same answers. A choice that does nothing now is not there. */
function choicesOf(view) {
  const box = h("div", { class: "labs-row" });
  const drawn = new Map();
  const make = ({ name, label }) => {
    const id = unique(name);
    const select = h("select", { id, class: "labs-field labs-choice", "data-kernel": "" });
    select.addEventListener("change", () => view.send("set", { name, text: select.value }));
    const part = h("span", { class: "labs-row" }, h("label", { for: id }, label), select);
    box.append(part);
    drawn.set(name, { part, select, options: "" });
  };
  view.follow("choices", (choices) => {
    for (const choice of choices) {
      if (!drawn.has(choice.name)) make(choice);
      const own = drawn.get(choice.name);
      const options = JSON.stringify(choice.options);
      if (own.options !== options) {
        own.select.replaceChildren(...choice.options.map(([words, value]) => h("option", { value }, words)));
        own.options = options;
      }
      own.select.value = choice.value;
      own.part.hidden = !choice.acts;
    }
    box.hidden = !choices.some((choice) => choice.acts);
  });
  return box;
}
