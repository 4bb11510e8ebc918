// An answer, token by token: a strip of buttons, and beneath it what else the chosen one could have been.

import { element } from "./elements.js";
import { percent, visible } from "./text.js";
import { _, _n } from "./words.js";

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
  const strip = element("div", { class: "strip", role: "group", "aria-label": _("Tokens of the answer: arrow keys move") }, ...buttons);
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
      element("td", {}, element("span", { class: "bar", style: `width:${(100 * Math.exp(other.logprob)).toFixed(1)}%` }), other.id === token.id ? _("taken") : ""),
    ),
  );
  const head = element("tr", {}, ...[_("token"), _("id"), _("probability"), ""].map((word, column) => element(column < 3 ? "th" : "td", column < 3 ? { scope: "col" } : {}, word)));
  const outside = token.alternatives.some((other) => other.id === token.id) ? "" : ` ${_("It was drawn from further down: {percent}.", { percent: percent(token.logprob) })}`;
  const caption = _("Token {place}, {piece}: what was likeliest here.", { place: place + 1, piece: visible(token.piece) }) + outside;
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
    element("summary", {}, _n("The exact prompt, and its {count} token", "The exact prompt, and its {count} tokens", prompt.ids.length)),
    element("pre", { tabindex: "0", "aria-label": _("The exact prompt") }, prompt.text),
    element("ol", { class: "chips" }, ...chips),
    element("p", { class: "small" }, _("Marks such as <|user|> are one token each, and only the template writes them. The line break after one belongs to it.")),
  );
}

/** What is known about an answer besides its text, in one line. */
export function facts(answer) {
  const ended = { stop: _("ended by itself"), length: _("reached the longest answer"), cancelled: _("stopped") }[answer.ended];
  const { temperature, topP, seed } = answer.how;
  const drawn = temperature > 0 ? _("temperature {temperature}, top-p {topP}, seed {seed}", { temperature, topP, seed }) : _("the likeliest token each time");
  const prompt = _n("{count} prompt token", "{count} prompt tokens", answer.prompt.ids.length);
  const made = _n("{count} token", "{count} tokens", answer.tokens.length);
  return _("{prompt}, {tokens} in {seconds} s, {ended}; {drawn}.", { prompt, tokens: made, seconds: answer.seconds.toFixed(2), ended, drawn });
}
