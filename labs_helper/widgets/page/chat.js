// The page of `chat`; see conversation.py.

function show(view) {
  const w = view.words;
  view.el.setAttribute("role", "group");
  view.el.setAttribute("aria-label", w.title);

  // -- the conversation ----------------------------------------------------------------------------------------------
  const opened = new Map(); // number of a turn -> the button that shows its tokens
  const log = turnLog(view, { label: w.log, nothing: w.empty, actions });
  const more = (number) => log.turn(number)?.querySelector(".labs-more");

  function actions(turn) {
    const idle = (button) => { button.dataset.idle = ""; return button; };
    const again = idle(pressable(w.again, () => ask(view.send("again", { number: turn.number })),
      { hint: w.again_hint }));
    again.classList.add("labs-again"); // the last one only: see chat.css
    const edit = idle(pressable(w.edit, () => begin(turn), { hint: w.edit_hint }));
    if (turn.failed) return [again, edit];
    const tokens = pressable(w.tokens, () => {
      if (tokens.getAttribute("aria-expanded") === "true") {
        more(turn.number).replaceChildren();
        tokens.setAttribute("aria-expanded", "false");
      } else {
        opened.set(turn.number, tokens);
        view.send("tokens", { number: turn.number }).then((refused) => { if (refused) view.say(refused); });
      }
    });
    tokens.setAttribute("aria-expanded", "false");
    return [copyButton(w.copy, () => turn.text), again, edit, tokens];
  }
  view.on("tokens", ({ number, html }) => {
    const place = more(number);
    if (!place || !opened.has(number)) return;
    fill(place, html);
    opened.get(number).setAttribute("aria-expanded", "true");
    opened.delete(number);
  });
  function copyButton(label, text) {
    const button = pressable(label, async () => {
      said.textContent = (await copy(text())) ? w.copied : w.not_copied;
      setTimeout(() => { said.textContent = ""; }, 5000);
      button.focus({ preventScroll: true });
    }, { local: true });
    return button;
  }
  const said = h("span", { class: "labs-aloud", "aria-live": "polite" });

  // -- the message ---------------------------------------------------------------------------------------------------
  let edited = 0; // the number of the question that is edited
  let mine = false; // whether this page has asked: two tabs may show one chat
  const message = composer(view, {
    label: w.message,
    hint: w.keys,
    last: () => view.get("shown").at(-1)?.question || "",
    send: async (text) => {
      mine = true;
      const refused = await (edited ? view.send("edit", { number: edited, text }) : view.send("send", { text }));
      if (!refused) edit(0);
      return refused;
    },
  });
  const editing = h("span", { "aria-live": "polite" });
  const cancel = pressable(w.cancel, () => { edit(0); message.put(""); view.focus(message.field); }, { local: true });
  const strip = h("div", { class: "labs-buttons labs-editing", hidden: true }, editing, cancel);
  function edit(number) {
    edited = number;
    strip.hidden = !number;
    editing.textContent = number ? words(w.editing, { number }) : "";
  }
  function begin(turn) {
    edit(turn.number);
    message.put(turn.question);
    message.field.focus();
  }
  message.field.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !edited || composing(event)) return;
    event.stopPropagation();
    edit(0);
    message.put("");
  });
  // A question that the model could not take, because it is too long, comes back to be mended.
  view.on("failed", ({ text, why }) => {
    if (!mine || message.field.value) return;
    message.put(text);
    message.why.textContent = why;
  });

  // -- buttons -------------------------------------------------------------------------------------------------------
  async function ask(answer) {
    view.focus(message.field);
    message.why.textContent = await answer;
  }
  const send = pressable(w.send, () => { message.submit(); view.focus(message.field); }, { primary: true });
  const stop = stopButton(view, () => view.focus(message.field));
  const fresh = pressable(w.new, () => { view.send("new"); edit(0); }, { hint: w.new_hint });
  fresh.dataset.idle = "";
  const all = copyButton(w.copy_all, () => {
    const asked = view.get("asked"); // an answer that never ended, too
    const turns = [...view.get("shown"), ...(asked.number ? [{ ...asked, text: view.get("growing") }] : [])];
    return turns.map((turn) => `${w.you}: ${turn.question}\n${view.get("name")}: ${turn.text}`).join("\n\n");
  });
  view.follow("shown", (turns) => { all.hidden = !turns.length; });
  view.follow("running", (state) => {
    switchable(view, !state, send);
    const idle = view.el.querySelectorAll("[data-idle]");
    switchable(view, !state, ...idle);
  });

  // -- settings, context, file ---------------------------------------------------------------------------------------
  const system = textLine(view, { name: "system", label: w.system, value: view.get("system") });
  view.follow("system", (text) => { if (document.activeElement !== system.field) system.field.value = text; });
  const settings = folded(w.settings, system.row, numberFields(view));

  const meter = h("meter", { class: "labs-meter", min: 0, "aria-hidden": "true" });
  const used = h("span");
  const hint = h("strong");
  const context = h("div", { class: "labs-context" }, `${w.context} `, meter, " ", used, " ", hint);
  view.follow("meter", (now) => {
    context.hidden = !now.most;
    if (!now.most) return;
    Object.assign(meter, { max: now.most, high: now.most * 0.75, value: now.used });
    used.textContent = now.words;
    hint.textContent = now.hint;
  });

  const file = h("div", { class: "labs-file" });
  const hide = h("style");
  view.follow("kept", (kept) => {
    // The output that the file keeps says what the view says: hidden while the view is there.
    const mark = `[data-labs-of="${kept.of}"]`;
    hide.textContent = `.jp-OutputArea-child:has(${mark}), ${mark} { display: none !important; }`;
    file.replaceChildren();
    if (kept.count) setTimeout(() => tellFile(kept, `${mark}[data-labs-count="${kept.count}"]`), 1500);
  });
  function tellFile(kept, mark) {
    if (kept !== view.get("kept") || !view.el.isConnected) return;
    if (document.querySelector(mark)) file.replaceChildren(h("small", {}, w.kept));
    else if (kept.code) {
      file.replaceChildren(h("span", {}, w.not_kept), " ", h("code", {}, kept.code), " ",
        copyButton(w.copy, () => kept.code));
    }
  }
  view.whenLost = () => {
    message.why.replaceChildren(w.lost);
    all.hidden = false;
  };

  view.el.append(
    hide,
    titleLine(view, w.title),
    log.box,
    strip,
    message.box,
    h("div", { class: "labs-buttons" }, send, stop, fresh, all, said),
    statusLine(view),
    context,
    settings,
    file,
  );
  if (view.gone) view.whenLost();
}
