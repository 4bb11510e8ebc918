// The page Ask: a form, a model or two, and answers that can be taken apart.

import { megabytes } from "./assets.js";
import { element } from "./elements.js";
import { Engine, Model } from "./engine.js";
import { options } from "./requests.js";
import { clean, LONGEST } from "./text.js";
import { facts, promptView, tokenView } from "./token-view.js";
import { asTrouble, Trouble } from "./troubles.js";
import { _, _n } from "./words.js";

const ROOT = new URL("../../", import.meta.url);
const NAMES = ["instruct-tiny", "instruct-previous-tiny"];
const at = (id) => document.getElementById(id);

const engine = new Engine(ROOT);
const models = NAMES.map((name) => new Model(name, engine));
const said = []; // the conversation with each model: [[{role, content}, ...], ...]
NAMES.forEach(() => said.push([]));
let stopping; // the AbortController of what runs

// -- loading ------------------------------------------------------------------------------------------------------

async function load(model) {
  let [got, loading] = [0, true];
  const heard = (bytes) => {
    got += bytes;
    if (!loading) return; // it has failed, and what still arrives must not hide why
    say(_("Loading {model}: {size}.", { model: model.name, size: megabytes(got) }));
    at("progress").value = Math.min(1, got / 5.4e6);
  };
  say(_("Loading {model}.", { model: model.name }));
  at("progress").hidden = false;
  at("again").hidden = at("load").hidden = true;
  try {
    await model.load(heard);
    say(_("{model} is ready, in this page and without a server.", { model: model.name }));
    at("state").dataset.state = "ready";
  } catch (error) {
    say(asTrouble(error).message);
    at("state").dataset.state = "trouble";
    at("again").hidden = false;
    throw error;
  } finally {
    loading = false;
    at("progress").hidden = true;
  }
}

function say(text) {
  at("state-text").textContent = text;
}

function problem(error) {
  at("problem").textContent = error ? asTrouble(error).message : "";
  at("problem").hidden = !error;
}

// -- counting while a person types --------------------------------------------------------------------------------

let counting;
function count() {
  clearTimeout(counting);
  counting = setTimeout(show, 60);
}

async function show() {
  const text = at("question").value;
  if (text.length > LONGEST) {
    at("count").textContent = _n("{count} character: more than this page takes.", "{count} characters: more than this page takes.", text.length);
    return;
  }
  try {
    const tokenizer = await models[0].tokenizer;
    const own = tokenizer.plain(clean(text)).length;
    const prompt = tokenizer.prompt(conversation(0, text)).ids.length;
    const tokens = _n("{count} token", "{count} tokens", own);
    if (at("question").value === text) at("count").textContent = _("{tokens}; with the template, a prompt of {prompt}", { tokens, prompt });
  } catch {
    at("count").textContent = _("Tokens are counted once the tokenizer is there.");
  }
}

function conversation(which, question) {
  return [...(at("remember").checked ? said[which] : []), { role: "user", content: question }];
}

// -- asking -------------------------------------------------------------------------------------------------------

function settings() {
  return options(Object.fromEntries(["temperature", "topP", "seed", "maxTokens"].map((name) => [name, at(name).value])));
}

async function ask(question) {
  problem();
  stopping?.abort();
  try {
    if (!clean(question).trim()) throw new Trouble("empty");
    if (question.length > LONGEST) {
      throw new Trouble("endless", { count: question.length.toLocaleString("en"), most: LONGEST.toLocaleString("en") });
    }
  } catch (error) {
    problem(error);
    return;
  }
  const run = (stopping = new AbortController());
  const asked = at("both").checked ? models : models.slice(0, 1);
  const columns = asked.map((model) => new Column(model));
  const turn = element(
    "article",
    { class: "turn", "aria-busy": "true" },
    element("h2", {}, question),
    element("div", { class: "columns" }, ...columns.map((column) => column.box)),
  );
  at("answers").prepend(turn);
  turn.scrollIntoView({ block: "nearest" });
  at("stop").disabled = false;
  const how = settings();
  const done = await Promise.allSettled(columns.map((column, which) => column.fill(conversation(which, question), how, run.signal)));
  done.forEach(({ status, value, reason }, which) => {
    if (status === "rejected") columns[which].fail(reason);
    else said[which].push({ role: "user", content: question }, { role: "assistant", content: value.text });
  });
  turn.removeAttribute("aria-busy");
  if (stopping === run) at("stop").disabled = true;
  const answered = done.filter(({ status }) => status === "fulfilled").map(({ value }) => `${value.model}: ${value.text}`);
  if (answered.length) at("heard").textContent = answered.join(" "); // what a screen reader says
}

/** One model's answer in a turn. */
class Column {
  constructor(model) {
    this.model = model;
    this.text = element("p", { class: "answer-text" }, "...");
    this.box = element("section", { class: "answer", "aria-label": _("Answer of {model}", { model: model.name }) }, element("h3", {}, model.name), this.text);
  }

  async fill(messages, how, signal) {
    if (!this.model.wllama) await load(this.model);
    let text = "";
    const answer = await this.model.ask(messages, how, {
      signal,
      heard: (token) => {
        text += token.text;
        this.text.textContent = text;
      },
    });
    this.text.textContent = answer.text || _("(no text)");
    const notice = answer.notices.length
      ? element("p", { class: "small" }, _("{marks}: typed as text, and read as text. Only the template writes control tokens.", { marks: answer.notices.join(", ") }))
      : null;
    this.box.append(element("p", { class: "small facts" }, facts(answer)), ...(notice ? [notice] : []), tokenView(answer.tokens), promptView(answer.prompt));
    return answer;
  }

  fail(error) {
    this.text.textContent = asTrouble(error).message;
    this.text.classList.add("problem");
  }
}

async function compare() {
  const button = at("compare-now");
  button.disabled = true;
  const rows = element("tbody", {});
  const head = element("tr", {}, ...[_("question"), ...[...NAMES].reverse()].map((word) => element("th", { scope: "col" }, word)));
  at("comparison").replaceChildren(element("table", { class: "compared" }, element("thead", {}, head), rows));
  try {
    for (const model of models) if (!model.wllama) await load(model);
    for (const { textContent: question } of document.querySelectorAll("#compared li")) {
      const messages = [{ role: "user", content: question }];
      const [now, before] = await Promise.all(models.map((model) => model.ask(messages)));
      rows.append(element("tr", {}, element("th", { scope: "row" }, question), element("td", {}, before.text), element("td", {}, now.text)));
    }
    at("comparison").focus();
  } catch (error) {
    at("comparison").append(element("p", { class: "problem" }, asTrouble(error).message));
  } finally {
    button.disabled = false;
  }
}

// -- the page -----------------------------------------------------------------------------------------------------

function start() {
  at("asking").hidden = false;
  const question = at("question");
  at("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    ask(question.value);
  });
  question.addEventListener("keydown", (event) => {
    // While an input method is composing (Korean, Japanese, Chinese), Enter belongs to it.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    ask(question.value);
  });
  for (const button of document.querySelectorAll("[data-question]")) {
    button.addEventListener("click", () => {
      askFor(button.dataset.question);
    });
  }
  for (const name of ["temperature", "topP"]) at(name).addEventListener("input", () => (at(`${name}-shown`).value = at(name).value));
  question.addEventListener("input", count);
  at("remember").addEventListener("change", () => {
    said.forEach((turns) => turns.splice(0)); // a new conversation begins when it is switched on
    count();
  });
  at("stop").addEventListener("click", () => stopping?.abort());
  at("compare-now").addEventListener("click", compare);
  for (const id of ["again", "load"]) at(id).addEventListener("click", () => load(models[0]).catch(() => {}));
  const asked = new URLSearchParams(location.hash.slice(1)).get("q");
  if (navigator.connection?.saveData && !asked) {
    say(_("The model has about 5 MB. It is loaded when you ask."));
    at("progress").hidden = true;
    at("load").hidden = false;
  } else {
    load(models[0]).catch(() => {});
  }
  if (asked) askFor(asked);
  addEventListener("hashchange", () => {
    const next = new URLSearchParams(location.hash.slice(1)).get("q");
    if (next) askFor(next);
  });
  count();
}

function askFor(text) {
  at("question").value = text.slice(0, LONGEST);
  count();
  ask(at("question").value);
}

start();

export { models }; // for the tests
