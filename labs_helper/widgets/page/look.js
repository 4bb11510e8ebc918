// The page of `look`: where pictures come from, the cards of the list, the question, the answers.

function show(view) {
  const cards = cardList(view);
  const sources = sourcesOf(view);
  const ask = questionOf(view);
  view.el.setAttribute("role", "group");
  view.el.setAttribute("aria-label", view.get("title"));
  view.el.append(
    titleLine(view, view.get("title")),
    sources.box,
    cards.box,
    tilesOf(view),
    ask.box,
    turnLog(view, { label: view.words.log, nothing: view.words.nothing, actions: (turn) => [again(view, turn, ask)] }).box,
    folded(view.words.settings, numberFields(view)),
  );
  cards.whenEmpty = () => sources.choose;
}

/** Bring a question back into its field. */
function again(view, turn, ask) {
  const act = () => {
    ask.put(turn.question);
    ask.field.focus();
  };
  return pressable(view.words.again, act, { hint: view.words.again_hint, local: true });
}

// -- where pictures come from ------------------------------------------------------------------------------------------

function sourcesOf(view) {
  const taker = fileTaker(view);
  const files = h("input", {
    type: "file", multiple: "", accept: "image/*,video/*", class: "labs-aside", tabindex: "-1", "aria-hidden": "true",
    onchange: () => { taker.take([...files.files]); files.value = ""; },
  });
  const choose = pressable(view.words.choose, () => files.click(), { hint: view.words.limits });
  const zone = h("div", { class: "labs-drop" }, h("span", {}, view.words.drop), choose, h("small", {}, view.words.limits));
  for (const name of ["dragenter", "dragover"]) {
    view.el.addEventListener(name, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      event.stopPropagation();
      zone.classList.add("labs-over");
    });
  }
  view.el.addEventListener("dragleave", (event) => {
    if (!view.el.contains(event.relatedTarget)) zone.classList.remove("labs-over");
  });
  view.el.addEventListener("drop", (event) => {
    zone.classList.remove("labs-over");
    if (!event.dataTransfer?.files.length) return;
    event.preventDefault();
    event.stopPropagation(); // JupyterLab would copy the file into its folder
    taker.take([...event.dataTransfer.files]);
  });
  // Anywhere in the view: what is pasted into the question and is a picture belongs to the list.
  view.el.addEventListener("paste", (event) => {
    const pasted = [...(event.clipboardData?.files || [])];
    if (!pasted.length && event.target.closest("textarea, input")) return;
    event.preventDefault();
    event.stopPropagation();
    taker.take(pasted);
  });
  const said = h("ul", { class: "labs-arrived" });
  view.follow("arrived", (lines) => {
    said.replaceChildren(
      ...lines.map(({ words: text, refused }) =>
        h("li", { class: refused ? "labs-refused" : null }, h("span", { "aria-hidden": "true" }, refused ? "✗ " : "✓ "), text)),
    );
  });
  const box = h("div", { class: "labs-sources" }, zone, files, courseStrip(view), pathOf(view), h("div", { role: "status" }, taker.progress, said));
  return { box, choose };
}

/** Sends files one after the other: each is a message of its own, and the next waits until the last one was read. */
function fileTaker(view) {
  const progress = h("span", { class: "labs-count" });
  let batch = Date.now() % 1_000_000_000;
  let queue = Promise.resolve();
  const send = async (file, own) => {
    const most = view.get("most_bytes");
    if (file.size > most) return view.send("too_large", { batch: own, name: file.name, tenths: Math.ceil(file.size / 1e5) });
    let bytes;
    try {
      bytes = await file.arrayBuffer();
    } catch {
      return view.send("unreadable", { batch: own, name: file.name }); // a folder, or gone since it was chosen
    }
    return view.send("file", { batch: own, name: file.name, data: null }, [bytes]);
  };
  const take = (files) => {
    batch += 1;
    const own = batch;
    if (!files.length) {
      view.send("no_file", { batch: own });
      return;
    }
    queue = queue.then(async () => {
      for (const [place, file] of files.entries()) {
        progress.textContent = words(view.words.reading, { place: place + 1, count: files.length });
        if (view.gone) break;
        await send(file, own);
      }
      progress.textContent = "";
    });
  };
  return { take, progress };
}

/** The pictures of the course, as small ones to press. One of them is a stop of Tab; arrow keys go to the others. */
function courseStrip(view) {
  const strip = h("div", { class: "labs-strip", role: "group", "aria-label": view.words.strip });
  const kind = h("select", { id: unique("kind"), class: "labs-field labs-kind" });
  const head = h("div", { class: "labs-row" }, h("span", {}, view.words.strip), h("label", { for: kind.id }, view.words.kind), kind);
  const box = h("div", { hidden: true }, head, strip);
  const drawn = new Map();
  const seen = () => [...strip.children].filter((button) => !button.hidden);
  const stop = (button) => {
    for (const other of strip.children) other.tabIndex = other === button ? 0 : -1;
  };
  strip.addEventListener("keydown", (event) => {
    const all = seen();
    const at = all.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined || at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const next = all[Math.max(0, Math.min(all.length - 1, to))];
    stop(next);
    next.focus();
  });
  kind.addEventListener("change", () => {
    for (const button of strip.children) button.hidden = Boolean(kind.value) && button.dataset.kind !== kind.value;
    stop(seen()[0]);
  });
  view.on("strip", ({ pictures, kinds }) => {
    strip.replaceChildren(
      ...pictures.map((picture) => {
        const image = h("img", { alt: "", width: 88, height: 66 });
        const button = pressable("", () => { stop(button); view.send("course", { name: picture.name }); }, { hint: picture.about });
        button.className = "labs-thumb";
        button.dataset.kind = picture.kind;
        button.append(image, h("span", {}, picture.name));
        drawn.set(picture.name, image);
        return button;
      }),
    );
    kind.replaceChildren(h("option", { value: "" }, view.words.all_kinds), ...kinds.map((name) => h("option", { value: name }, name)));
    box.hidden = !pictures.length;
    if (pictures.length) stop(strip.firstChild);
  });
  view.on("thumb", ({ name, small }) => drawn.get(name)?.setAttribute("src", small));
  view.send("strip");
  return box;
}

/** A path on the computer where the kernel is; for large files. */
function pathOf(view) {
  const id = unique("path");
  const field = h("input", { id, type: "text", class: "labs-field", "data-kernel": "", autocomplete: "off", spellcheck: "false" });
  const wrong = h("span", { class: "labs-wrong", id: `${id}-wrong`, role: "alert" });
  field.setAttribute("aria-describedby", wrong.id);
  const add = async () => {
    const refused = await view.send("path", { text: field.value });
    wrong.textContent = refused;
    if (!refused) field.value = "";
    view.focus(field);
  };
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || composing(event) || event.repeat) return;
    event.preventDefault();
    event.stopPropagation();
    add();
  });
  const row = h("div", { class: "labs-row" }, h("label", { for: id }, view.words.path), field, pressable(view.words.add_path, add));
  return folded(view.words.by_path, row, wrong);
}

// -- the list ----------------------------------------------------------------------------------------------------------

function cardList(view) {
  const list = h("ol", { class: "labs-cards", "aria-label": view.words.list });
  const total = h("span", { class: "labs-total" });
  const said = h("span", {});
  const undo = pressable(view.words.undo, () => view.send("undo"), {});
  const clear = pressable(view.words.clear, () => view.send("clear"), { hint: view.words.clear_hint });
  const crops = cropsOf(view);
  const part = { box: null, whenEmpty: () => null };
  const drawn = new Map();
  const rest = () => {
    // The button that was pressed is gone, or off: the next best one has the keyboard.
    const held = document.activeElement;
    if (held && held !== document.body && !held.disabled) return;
    const { id, at, button } = part.pressed || {};
    part.pressed = null;
    if (at === undefined) return;
    const card = drawn.get(id) || drawn.get(view.get("cards")[Math.min(at, view.get("cards").length - 1)]?.id);
    const next = card && [card[button], card.earlier, card.later, card.remove].find((one) => one && !one.disabled);
    (next || part.whenEmpty())?.focus();
  };
  const act = (kind, id, button, given = {}) => () => {
    part.pressed = { id, button, at: view.get("cards").findIndex((card) => card.id === id) };
    view.send(kind, { picture: id, ...given });
  };
  const draw = (id) => {
    const address = view.get("small")[id];
    if (address) drawn.get(id).image.src = address;
  };
  const make = (id) => {
    const image = h("img", {});
    const name = h("strong", {});
    const facts = h("small", {});
    const field = h("input", { id: unique("alt"), type: "text", class: "labs-field", "data-kernel": "", autocomplete: "off" });
    field.addEventListener("change", () => view.send("describe", { picture: id, text: field.value }));
    const earlier = pressable("←", act("move", id, "earlier", { by: -1 }));
    const later = pressable("→", act("move", id, "later", { by: 1 }));
    const remove = pressable("×", act("remove", id, "remove"));
    remove.classList.add("labs-cross");
    const alt = h("label", { for: field.id }, view.words.alt);
    const box = h("li", { class: "labs-card" }, remove, image, h("div", { class: "labs-facts-of" }, name, h("br"), facts), alt, field,
      h("div", { class: "labs-buttons" }, earlier, later));
    return { box, image, name, facts, field, earlier, later, remove };
  };
  view.follow("cards", (cards) => {
    const kept = new Set(cards.map((card) => card.id));
    for (const [id, { box }] of drawn) {
      if (!kept.has(id)) {
        box.remove();
        drawn.delete(id);
      }
    }
    const held = document.activeElement;
    cards.forEach((given, at) => {
      if (!drawn.has(given.id)) drawn.set(given.id, make(given.id));
      const card = drawn.get(given.id);
      if (list.children[at] !== card.box) list.insertBefore(card.box, list.children[at] || null);
      card.name.textContent = words(view.words.place, { number: at + 1, name: given.name });
      card.facts.textContent = given.facts;
      card.image.alt = given.alt || given.name;
      draw(given.id);
      if (document.activeElement !== card.field) card.field.value = given.alt;
      const about = { number: at + 1, name: given.name };
      signed(card.earlier, words(view.words.earlier, about));
      signed(card.later, words(view.words.later, about));
      signed(card.remove, words(view.words.remove, about));
      switchable(view, at > 0, card.earlier);
      switchable(view, at < cards.length - 1, card.later);
    });
    if (held && held !== document.activeElement && view.el.contains(held)) held.focus(); // moved within the page
    rest();
    clear.hidden = cards.length < 2;
    crops.hidden = !cards.length;
  });
  view.follow("small", () => drawn.forEach((_card, id) => draw(id)));
  view.follow("total", (text) => { total.textContent = text; });
  view.follow("list_said", (text) => { said.textContent = text; });
  view.follow("can_undo", (can) => { undo.hidden = !can; });
  part.box = h("div", { class: "labs-list" }, list,
    h("div", { class: "labs-row" }, total, crops, clear),
    h("div", { class: "labs-row" }, h("span", { role: "status" }, said), undo));
  return part;
}

/** A button that shows a sign only: its name is read aloud, and shown where the mouse rests. */
function signed(button, name) {
  button.setAttribute("aria-label", name);
  button.title = name;
}

function cropsOf(view) {
  const id = unique("crops");
  const select = h("select", { id, class: "labs-field labs-kind", "data-kernel": "", onchange: () => view.send("crops", { value: Number(select.value) }) });
  view.follow("crop_choices", (choices) => {
    select.replaceChildren(...choices.map(([label, value]) => h("option", { value: String(value) }, label)));
    select.value = String(view.get("crops"));
  });
  view.follow("crops", (value) => { select.value = String(value); });
  return h("span", { class: "labs-row" }, h("label", { for: id }, view.words.crops), select);
}

/** What the model sees, drawn only while this is open. */
function tilesOf(view) {
  const inside = h("div", {});
  const fold = folded(view.words.tiles, inside);
  fold.addEventListener("toggle", () => {
    if (fold.open !== view.get("tiles_open")) view.send("tiles", { on: fold.open });
  });
  view.follow("tiles_open", (open) => { if (fold.open !== open) fold.open = open; });
  view.follow("tiles", (figures) => inside.replaceChildren(...figures.map((html) => fill(h("div", {}), html))));
  view.follow("cards", (cards) => { fold.hidden = !cards.length; });
  return fold;
}

// -- the question --------------------------------------------------------------------------------------------------------

function questionOf(view) {
  const last = () => view.get("shown").at(-1)?.question || "";
  const ask = composer(view, { label: view.words.question, hint: view.words.keys, send: (text) => view.send("ask", { text }), last });
  const press = () => {
    ask.submit();
    ask.field.focus();
  };
  const button = pressable(view.words.ask, press, { hint: view.words.ask_hint, primary: true });
  view.follow("running", (state) => switchable(view, !state, button));
  let proposed = ""; // what Python put there: it may be replaced, what a person wrote may not
  view.follow("question", (text) => {
    if (!ask.field.value || ask.field.value === proposed) ask.put(text);
    proposed = text;
  });
  const chips = h("div", { class: "labs-buttons labs-suggest" });
  view.follow("suggestions", (texts) => {
    const chip = (text) => pressable(text, () => { ask.put(text); ask.field.focus(); }, { hint: view.words.suggested_hint, local: true });
    chips.hidden = !texts.length;
    chips.replaceChildren(h("span", {}, view.words.suggested), ...texts.map(chip));
  });
  const seconds = h("span", { class: "labs-count", "aria-live": "off" });
  const status = h("div", { class: "labs-row" }, statusLine(view), seconds);
  clock(view, seconds);
  const buttons = h("div", { class: "labs-buttons" }, button, stopButton(view, () => ask.field.focus()));
  const box = h("div", { class: "labs-ask" }, ask.box, buttons, chips, status);
  return { box, put: ask.put, field: ask.field };
}

/** The seconds since the question, while it is answered. Not read aloud: the status says what is happening. */
function clock(view, seconds) {
  let timer = 0;
  let since = 0;
  const tick = () => { seconds.textContent = words(view.words.seconds, { seconds: Math.floor((performance.now() - since) / 1000) }); };
  const end = () => {
    clearInterval(timer);
    timer = 0;
    seconds.textContent = "";
  };
  view.follow("running", (state) => {
    if (state && !timer) {
      since = performance.now();
      timer = setInterval(tick, 1000);
    } else if (!state) {
      end();
    }
  });
  view.signal?.addEventListener("abort", end);
  view.whenLost = end;
}
