// "Try it here" below a cell of a solved lab: ask the cell's questions again, in the browser, beside what is stored.

import { megabytes } from "./assets.js";
import { element } from "./elements.js";
import { Engine, Model } from "./engine.js";
import { tokenView } from "./token-view.js";
import { asTrouble } from "./troubles.js";
import { _ } from "./words.js";

const loaded = new Map(); // name -> Model: all buttons of a page share it

/** Put the button into its place. place.dataset.asked: {model, options, answers: [[messages, stored answer], ...]}. */
export function show(place, root) {
  const asked = JSON.parse(place.dataset.asked);
  const state = element("span", { class: "small", role: "status" });
  const results = element("div", {});
  const button = element("button", { type: "button", onclick: () => run(asked, root, button, state, results) }, _("Try it here"));
  place.append(element("p", {}, button, " ", state), results);
}

async function run(asked, root, button, state, results) {
  button.disabled = true; // until all is done or something has failed
  let got = 0;
  try {
    if (!loaded.has("engine")) loaded.set("engine", new Engine(root));
    if (!loaded.has(asked.model)) loaded.set(asked.model, new Model(asked.model, loaded.get("engine")));
    const model = loaded.get(asked.model);
    state.textContent = _("Loading {model}.", { model: asked.model });
    await model.load((bytes) => {
      got += bytes;
      if (button.disabled) state.textContent = _("Loading {model}: {size}.", { model: asked.model, size: megabytes(got) });
    });
    results.replaceChildren();
    let same = 0;
    for (const [messages, stored] of asked.answers) {
      const answer = await model.ask(messages, asked.options);
      const equal = answer.text.trim() === stored.trim();
      same += equal;
      results.append(
        element("dl", {}, element("dt", {}, messages.at(-1).content), element("dd", {}, _("stored: {answer}", { answer: stored })), element("dd", {}, _("here: {answer}", { answer: answer.text }))),
        tokenView(answer.tokens),
      );
    }
    const all = asked.answers.length;
    state.textContent = same === all ? _("The same as stored.") : _("{same} of {all} the same as stored.", { same, all });
  } catch (error) {
    state.textContent = asTrouble(error).message;
  } finally {
    button.disabled = false;
  }
}
