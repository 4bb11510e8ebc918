// The parts that the pages of all our views are made of. Python puts this text before that of a view and ends the
// module; see labs_helper/widgets/view.py. What people and models have written goes in as text (`h`), or by `fill` as
// HTML that Python has made safe.

const PATIENCE = 4000; // milliseconds until the page says that the kernel does not answer

/** An element. `given`: attributes, "on..." listeners, and the properties below; children are nodes or text. */
function h(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (["value", "disabled", "hidden", "open", "checked"].includes(name)) element[name] = value;
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Fill an element with HTML. Only for what Python has escaped or made: `markdown`, `escape`, a `Figure`. */
function fill(element, html) {
  element.innerHTML = html;
  return element;
}

let made = 0;
/** An id that no other element of the page has. */
function unique(words = "part") {
  made += 1;
  return `labs-${words}-${made}-${Math.random().toString(36).slice(2, 8)}`;
}

/** "a {b}" with {b: "c"} is "a c". */
function words(template, given = {}) {
  return template.replace(/\{(\w+)\}/g, (whole, name) => (name in given ? String(given[name]) : whole));
}

/** Whether a key belongs to an input method: Enter then ends a syllable or a choice, and the text is not complete. */
function composing(event) {
  return event.isComposing || event.keyCode === 229; // Safari ends the composition before it reports the key
}

/** Enter in a field acts, and Shift+Enter begins a line. With Shift or Ctrl the notebook would run the cell, and begin anew. */
function onEnter(field, act) {
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.altKey || composing(event)) return;
    event.stopPropagation();
    if (event.shiftKey) return;
    event.preventDefault();
    if (!event.repeat) act();
  });
}

// -- keys ------------------------------------------------------------------------------------------------------------

// In command mode JupyterLab's selectors match a control itself: arrow keys leave a list, and "d d" on a button deletes
// the cell. JupyterLab listens on the document. So a key that a control of ours uses ends at the body, after the
// control has had it; every other one goes on: Tab, Escape, Ctrl+S, Ctrl+Shift+C. Notebook 7 listens before the control
// has the key; it passes over what has the attribute UNSEEN.
const CONTROL = "button, input, select, textarea, a, summary, [tabindex]";
const EDITS = /^([acvxyz]|Arrow.*|Home|End|Backspace|Delete|Insert|Enter)$/i;
const UNSEEN = "data-lm-suppress-shortcuts";
function isOurs(event) {
  const view = event.target.closest?.(".labs-view");
  if (!view || !view.contains(event.target.closest(CONTROL))) return false;
  const typing = event.target.matches("textarea, input:not([type=checkbox], [type=radio])");
  if (event.ctrlKey || event.metaKey || event.altKey) {
    return typing && !(event.shiftKey && !event.key.startsWith("Arrow")) && EDITS.test(event.key);
  }
  return !(/^(Tab|Escape|F[0-9]+)$/.test(event.key) || (!typing && event.shiftKey && event.key === "Enter"));
}
function keepKeys(event) {
  if (isOurs(event)) event.stopPropagation();
}
function hideKeys(event) {
  if (!isOurs(event)) return;
  const { target } = event;
  target.setAttribute(UNSEEN, "");
  setTimeout(() => target.removeAttribute(UNSEEN));
}

// -- the view --------------------------------------------------------------------------------------------------------

class View {
  constructor({ model, el, signal }) {
    Object.assign(this, { model, el, signal, gone: false });
    this.words = model.get("words");
    this.key = model.get("key");
    this.sent = new Map(); // number of a message -> what waits for its answer
    this.number = 0;
    this.kinds = new Map();
    model.on("msg:custom", (content) => this.heard(content));
    this.notice = h("p", { class: "labs-notice", role: "alert" });
    this.watchKernel();
  }

  get(name) {
    return this.model.get(name);
  }

  /** Call `act` with the value of a trait, now and when it changes. */
  follow(name, act) {
    this.model.on(`change:${name}`, () => act(this.model.get(name)));
    act(this.model.get(name));
  }

  /** Call `act` with each message of a kind that Python sends. */
  on(kind, act) {
    this.kinds.set(kind, act);
  }

  heard(content) {
    if (!content || typeof content.kind !== "string") return;
    if (content.kind === "ack") {
      this.sent.get(content.id)?.(content.refused || "");
      this.sent.delete(content.id);
      if (!this.sent.size) this.say("");
    } else {
      this.kinds.get(content.kind)?.(content);
    }
  }

  /** Ask Python. The promise gives "" when it was done, or else the reason why not, in words. */
  send(kind, content = {}, buffers = []) {
    if (this.gone) return Promise.resolve(this.words.gone);
    this.number += 1;
    const id = this.number;
    const answer = new Promise((done) => this.sent.set(id, done));
    this.model.send({ kind, id, ...content }, undefined, buffers);
    setTimeout(() => {
      if (this.sent.has(id) && !this.gone) this.say(this.words.slow);
    }, PATIENCE);
    return answer;
  }

  /** One sentence about the kernel, beside the title. */
  say(sentence) {
    if (this.gone) sentence = this.words.gone;
    if (this.notice.textContent !== sentence) this.notice.textContent = sentence;
  }

  // ipywidgets marks a view whose kernel is gone with a class; a kernel that died by itself is known to JupyterLab only.
  watchKernel() {
    const marked = () => this.el.classList.contains("jupyter-widgets-disconnected");
    const observer = new MutationObserver(() => {
      if (marked()) this.lost();
    });
    observer.observe(this.el, { attributes: true, attributeFilter: ["class"] });
    this.model.on("comm_live_update", () => setTimeout(() => marked() && this.lost()));
    this.model.on("comm:close", () => this.lost());
    const changed = this.model.widget_manager?.kernel?.statusChanged;
    const status = (_kernel, now) => {
      if (["restarting", "autorestarting", "dead", "terminating"].includes(now)) this.lost();
    };
    changed?.connect?.(status);
    this.signal?.addEventListener("abort", () => {
      observer.disconnect();
      changed?.disconnect?.(status);
    });
    if (marked()) this.lost();
  }

  /** The kernel that held the widget is gone. What is on the page stays to be read; nothing more can be asked. */
  lost() {
    if (this.gone) return;
    this.gone = true;
    this.el.classList.add("labs-gone");
    this.say(this.words.gone);
    for (const control of this.el.querySelectorAll("[data-kernel]")) {
      if (control.matches("textarea, input")) control.readOnly = true;
      else control.disabled = true;
    }
    for (const done of this.sent.values()) done(this.words.gone);
    this.sent.clear();
    this.whenLost?.();
  }

  /** Put the focus into a field, unless the reader has gone elsewhere meanwhile. */
  focus(field) {
    const active = document.activeElement;
    if (!active || active === document.body || this.el.contains(active)) field.focus({ preventScroll: true });
  }
}

function start({ model, el, signal }, show) {
  el.classList.add("labs-widget", "labs-view");
  if (!window.labsViewKeys) {
    window.labsViewKeys = keepKeys;
    document.body.addEventListener("keydown", keepKeys);
    window.addEventListener("keydown", hideKeys, true);
  }
  show(new View({ model, el, signal }));
}

// -- parts -----------------------------------------------------------------------------------------------------------

/** The first line of a view. A sentence about the kernel is beside it: a line of its own would move what is below. */
function titleLine(view, text) {
  return h("div", { class: "labs-title" }, h("strong", {}, text), view.notice);
}

/** A button. `primary`: the one that the view is about; `local`: it works without the kernel. */
function pressable(label, act, { hint = "", primary = false, local = false } = {}) {
  return h(
    "button",
    {
      type: "button",
      class: primary ? "labs-button labs-primary" : "labs-button",
      title: hint || null,
      "data-kernel": local ? null : "",
      onclick: act,
    },
    label,
  );
}

/** Switch buttons; without a kernel they stay off. */
function switchable(view, on, ...buttons) {
  for (const button of buttons) button.disabled = !on || view.gone;
}

/** A view's `status` and `count`. Only the first is read aloud: the other changes with every token. */
function statusLine(view) {
  const status = h("span", {});
  const count = h("span", { class: "labs-count", "aria-live": "off" });
  view.follow("status", (text) => { status.textContent = text; });
  view.follow("count", (text) => { count.textContent = text ? ` ${text}` : ""; });
  return h("div", { class: "labs-status", role: "status" }, status, count);
}

/** A button that follows `running`. `after`: called when it was pressed. */
function stopButton(view, after = () => {}) {
  const button = pressable(view.words.stop, () => { view.send("stop"); after(); }, { hint: view.words.stop_hint });
  view.follow("running", (state) => {
    button.textContent = state === "stopping" ? view.words.stopping : view.words.stop;
    switchable(view, state === "running", button);
  });
  return button;
}

/** What can be opened: settings, tokens. */
function folded(summary, ...children) {
  return h("details", { class: "labs-fold" }, h("summary", {}, summary), ...children);
}

/** A labelled field of one or more lines that tells Python its text when the reader leaves it, as message "set". */
function textLine(view, { name, label, value = "", lines = 1 }) {
  const id = unique(name);
  const field = h("textarea", { id, rows: lines, class: "labs-field", "data-kernel": "", value });
  const tell = () => view.send("set", { name, text: field.value });
  field.addEventListener("change", tell);
  field.addEventListener("input", () => grow(field));
  const row = h("div", { class: "labs-row" }, h("label", { for: id }, label), field);
  return { row, field, tell };
}

/** The numbers of a trait `numbers` (see numbers.py). What is typed stays, and what is wrong with it is beside it. */
function numberFields(view) {
  const box = h("div", { class: "labs-numbers" });
  const fields = new Map();
  const make = (number) => {
    const id = unique(number.name);
    const wrong = h("span", { class: "labs-wrong", id: `${id}-wrong`, role: "alert" });
    const field = h("input", {
      id, type: "text", inputmode: "decimal", class: "labs-number", autocomplete: "off", title: number.hint,
      "aria-describedby": wrong.id, "data-kernel": "", value: number.typed,
    });
    const tell = () => view.send("set", { name: number.name, text: field.value });
    field.addEventListener("change", tell);
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !composing(event)) tell();
      const by = { ArrowUp: number.step, ArrowDown: -number.step }[event.key];
      if (!by || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      const now = Number(field.value);
      if (!Number.isFinite(now) || field.value.trim() === "") return;
      const next = Math.min(number.most, Math.max(number.least, now + by));
      field.value = String(Number(next.toFixed(6)));
      tell();
    });
    box.append(h("div", { class: "labs-row" }, h("label", { for: id }, number.label), field, wrong));
    fields.set(number.name, { field, wrong });
  };
  view.follow("numbers", (numbers) => {
    for (const number of numbers) {
      if (!fields.has(number.name)) make(number);
      const { field, wrong } = fields.get(number.name);
      if (document.activeElement !== field) field.value = number.typed;
      if (wrong.textContent !== number.problem) wrong.textContent = number.problem;
      field.toggleAttribute("aria-invalid", false);
      if (number.problem) field.setAttribute("aria-invalid", "true");
    }
  });
  return box;
}

/** Make a field as high as its text, within what CSS allows. */
function grow(field) {
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight + field.offsetHeight - field.clientHeight}px`;
}

/**
 * The field for a message: it grows, Enter sends, Shift+Enter breaks the line, Up in the empty field brings the last
 * one. `send(text)` gives a promise of "" or of the reason why the text was refused; then the text is back.
 * What is not sent yet survives a reload of the page.
 */
function composer(view, { label, hint = "", send, last = () => "" }) {
  const id = unique("message");
  const why = h("div", { id: `${id}-why`, class: "labs-wrong", role: "alert" });
  const keys = h("small", { id: `${id}-keys`, class: "labs-keys" }, hint);
  const field = h("textarea", {
    id, rows: 1, class: "labs-field labs-message", "data-kernel": "", enterkeyhint: "send",
    "aria-describedby": `${why.id} ${keys.id}`,
  });
  const store = `labs-draft-${view.key}`;
  const put = (text, { select = false } = {}) => {
    field.value = text;
    keep();
    grow(field);
    field.setSelectionRange(select ? 0 : text.length, text.length);
  };
  const keep = () => {
    try {
      if (field.value) sessionStorage.setItem(store, field.value);
      else sessionStorage.removeItem(store);
    } catch {
      // A browser may forbid it; then a reload loses what was not sent.
    }
  };
  const submit = async () => {
    const text = field.value;
    why.textContent = "";
    if (text.trim() && !view.gone) put("");
    const refused = await send(text);
    if (!refused) return;
    why.textContent = refused;
    if (text.trim() && !field.value.startsWith(text)) put(field.value ? `${text}\n${field.value}` : text);
    view.focus(field);
  };
  field.addEventListener("input", () => { why.textContent = ""; keep(); grow(field); });
  onEnter(field, submit);
  field.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowUp" || composing(event) || field.value || !last()) return;
    event.preventDefault();
    put(last());
  });
  try {
    field.value = sessionStorage.getItem(store) || "";
  } catch {
    // As above.
  }
  requestAnimationFrame(() => grow(field));
  const row = h("div", { class: "labs-row labs-compose" }, h("label", { for: id }, label), field);
  return { box: h("div", {}, row, why, keys), field, submit, put, why };
}

/** Copy text; the promise says whether it worked. */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h("textarea", { class: "labs-aside", value: text });
    document.body.append(area);
    area.select();
    const worked = document.execCommand("copy"); // where the page has no https
    area.remove();
    return worked;
  }
}

/**
 * Questions and answers, of a `TurnView`. Traits: `shown`, the finished ones, each {number, about, question, html,
 * text, note, failed, facts}; `asked`, the one that is being answered, or {}; `growing`, its text so far.
 * `actions(turn)` gives the buttons below an answer. The whole is at its end while text grows, unless the reader has
 * scrolled up: a reversed column does that, and its one child keeps the order of reading and of Tab. Its height does
 * not follow the text, or Stop would leave the pointer with each line that comes.
 */
function turnLog(view, { label, nothing, actions = () => [] }) {
  const past = h("div", { role: "log", "aria-label": label, class: "labs-past" });
  const empty = h("p", { class: "labs-empty" }, nothing);
  // Outside of the log: a screen reader hears the answer once, when it is complete.
  const live = h("div", { class: "labs-live", "aria-live": "off" });
  const drawn = new Map();
  const you = (turn) =>
    h("div", { class: "labs-said labs-you" },
      h("div", { class: "labs-who" }, view.words.you),
      turn.about ? h("small", {}, turn.about) : null,
      h("div", { class: "labs-text" }, turn.question));
  const group = (turn, ...children) =>
    h("div", { class: "labs-turn", role: "group", "aria-label": words(view.words.turn, { number: turn.number }) },
      you(turn), ...children);
  const said = (...children) =>
    h("div", { class: "labs-said labs-model" }, h("div", { class: "labs-who" }, view.get("name")), ...children);
  const finished = (turn) => {
    const buttons = actions(turn);
    return group(turn, said(
      fill(h("div", { class: "labs-answer" }), turn.html),
      turn.note ? h("p", { class: "labs-note" }, turn.note) : null,
      turn.facts ? h("small", { class: "labs-facts", "aria-live": "off" }, turn.facts) : null,
      buttons.length ? h("div", { class: "labs-actions", "aria-live": "off" }, buttons) : null,
      h("div", { class: "labs-more", "aria-live": "off" }),
    ));
  };
  let text = null;
  const show = () => {
    const asked = view.get("asked");
    empty.hidden = view.get("shown").length > 0 || Boolean(asked.number);
    if (!asked.number) {
      live.replaceChildren();
      text = null;
      return;
    }
    if (!text) {
      text = h("div", { class: "labs-text" });
      live.replaceChildren(group(asked, said(text)));
    }
    text.textContent = view.get("growing") || "…";
  };
  view.follow("shown", (turns) => {
    const kept = new Set();
    turns.forEach((turn) => {
      const same = JSON.stringify(turn);
      kept.add(turn.number);
      const old = drawn.get(turn.number);
      if (old?.same === same) return;
      const element = finished(turn);
      if (old) old.element.replaceWith(element);
      else past.append(element);
      drawn.set(turn.number, { element, same });
    });
    for (const [number, { element }] of drawn) {
      if (!kept.has(number)) {
        element.remove();
        drawn.delete(number);
      }
    }
    show();
  });
  view.follow("asked", () => { text = null; show(); });
  view.follow("growing", show);
  const inside = h("div", { class: "labs-inside" }, empty, past, live);
  return { box: h("div", { class: "labs-scroll" }, inside), turn: (number) => drawn.get(number)?.element };
}
