// Text at the door: what is typed becomes text that a model may read. As labs_helper/engines/door.py and pieces.py do.

import { _ } from "./words.js";

export const LONGEST = 20000; // characters; far more than the model's context holds

/** Valid Unicode in normal form C: macOS pastes Korean in pieces (form D), which no model has learnt to read. */
export function clean(text) {
  return [...text].map((sign) => (/^[\ud800-\udfff]$/.test(sign) ? "\ufffd" : sign)).join("").normalize("NFC");
}

/** The marks of a template that were typed in a text, each once. They are plain text there. */
export function typedMarks(text, marks) {
  const found = marks.filter((mark) => text.includes(mark));
  return found.sort((one, other) => text.indexOf(one) - text.indexOf(other));
}

const SIGNS = { " ": "\u2423", "\n": "\u21b5", "\t": "\u21e5", "\r": "\u240d" };

/** A token with its spaces and line breaks shown as signs. */
export function visible(piece) {
  if (piece === "") return _("(empty)");
  return [...piece].map((sign) => SIGNS[sign] ?? (/\p{C}/u.test(sign) ? "\ufffd" : sign)).join("");
}

/** The probability behind a natural logarithm, as text. */
export function percent(logprob) {
  const value = 100 * Math.exp(Math.min(0, logprob));
  if (Number.isNaN(value)) return _("unknown");
  if (value < 0.1) return "<0.1 %";
  return value >= 99.95 ? "100 %" : `${value.toFixed(1)} %`;
}
