// The page's sentences in the language of the page. The build puts a dictionary into pages in other languages than
// English: {sentence: translation, plural sentence: [translation of each form]}. English stands in the scripts.

const carried = globalThis.document?.getElementById("labs-words");
const words = carried ? JSON.parse(carried.textContent) : {};

/** A sentence with its {places} filled. */
export function _(text, values = {}) {
  return filled(words[text] ?? text, values);
}

/** The sentence for one or for many; {count} is written with commas. */
export function _n(one, many, count) {
  const forms = words[many] ?? [one, many];
  return filled(forms[count === 1 ? 0 : forms.length - 1], { count: count.toLocaleString("en") });
}

function filled(text, values) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}
