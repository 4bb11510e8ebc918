// An answer, token by token: a strip of buttons, and beneath it what else the chosen one could have been.

import { counted, element } from "./elements.js";
import { percent, visible } from "./text.js";

/** The strip of an answer's tokens. The least sure one is chosen first; arrow keys move between them. */
export function tokenView(tokens) {
  const below = element("div", { class: "alternatives" });
  const buttons = tokens.map((token, place) =>
    element(
      "button",
      { type: "button", class: "token", tabindex: "-1", "aria-pressed": "false", onclick: () => choose(place), onkeydown: move },
      element("span", { class: "piece", style: `border-bottom-width:${1 + Math.round(5 * Math.exp(token.logprob))}px` }, visible(token.piece)),
      " ",
      element("small", {}, percent(token.logprob)),
    ),
  );

  function choose(place, focus = true) {
    buttons.forEach((button, other) => {
      button.setAttribute("aria-pressed", String(other === place));
      button.tabIndex = other === place ? 0 : -1;
    });
    below.replaceChildren(alternatives(tokens[place], place));
    if (focus) buttons[place].focus();
  }

  function move(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const here = buttons.indexOf(event.currentTarget);
    const next = event.key === "Home" ? 0 : event.key === "End" ? buttons.length - 1 : here + (step ?? 0);
    if (next === here || !buttons[next]) return;
    event.preventDefault();
    choose(next);
  }

  const least = tokens.reduce((worst, token, place) => (token.logprob < tokens[worst].logprob ? place : worst), 0);
  if (tokens.length) choose(least, false);
  const strip = element("div", { class: "strip", role: "group", "aria-label": "Tokens of the answer: arrow keys move" }, ...buttons);
  return element("div", { class: "token-view" }, strip, below);
}

function alternatives(token, place) {
  const rows = token.alternatives.map((other) =>
    element(
      "tr",
      { class: other.id === token.id ? "taken" : undefined },
      element("th", { scope: "row" }, visible(other.piece)),
      element("td", {}, String(other.id)),
      element("td", {}, percent(other.logprob)),
      element("td", {}, element("span", { class: "bar", style: `width:${(100 * Math.exp(other.logprob)).toFixed(1)}%` }), other.id === token.id ? "taken" : ""),
    ),
  );
  const head = element("tr", {}, ...["token", "id", "probability", ""].map((word, column) => element(column < 3 ? "th" : "td", column < 3 ? { scope: "col" } : {}, word)));
  const outside = token.alternatives.some((other) => other.id === token.id) ? "" : ` It was drawn from further down: ${percent(token.logprob)}.`;
  const caption = `Token ${place + 1}, ${visible(token.piece)}: what was likeliest here.${outside}`;
  return element("table", {}, element("caption", {}, caption), element("thead", {}, head), element("tbody", {}, ...rows));
}

/** The exact prompt: its text, and each of its tokens with its id. */
export function promptView(prompt) {
  const chips = prompt.ids.map((id, place) =>
    element("li", { class: /^<\|.*\|>$/.test(prompt.pieces[place]) ? "mark" : undefined }, visible(prompt.pieces[place]), " ", element("small", {}, String(id))),
  );
  return element(
    "details",
    { class: "prompt" },
    element("summary", {}, `The exact prompt, and its ${counted(prompt.ids.length, "token")}`),
    element("pre", { tabindex: "0", "aria-label": "The exact prompt" }, prompt.text),
    element("ol", { class: "chips" }, ...chips),
    element("p", { class: "small" }, "Marks such as <|user|> are one token each, and only the template writes them. The line break after one belongs to it."),
  );
}

/** What is known about an answer besides its text, in one line. */
export function facts(answer) {
  const ended = { stop: "ended by itself", length: "reached the longest answer", cancelled: "stopped" }[answer.ended];
  const { temperature, topP, seed } = answer.how;
  const drawn = temperature > 0 ? `temperature ${temperature}, top-p ${topP}, seed ${seed}` : "the likeliest token each time";
  return `${counted(answer.prompt.ids.length, "prompt token")}, ${counted(answer.tokens.length, "token")} in ${answer.seconds.toFixed(2)} s, ${ended}; ${drawn}`;
}
