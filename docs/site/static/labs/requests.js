// One question: its options, its limits, and the loop that asks an engine for one token after another.

export const DEFAULTS = Object.freeze({ temperature: 0, topP: 1, seed: 1, maxTokens: 128, alternatives: 5 });

/** Options as they may be used: numbers within their bounds, the usual ones instead of what is no number. */
export function options(given) {
  const number = (name, least, most, whole) => {
    const value = Number(given[name]);
    if (given[name] === "" || given[name] == null || !Number.isFinite(value)) return DEFAULTS[name];
    const inside = Math.min(most, Math.max(least, value));
    return whole ? Math.round(inside) : inside;
  };
  return {
    temperature: number("temperature", 0, 5),
    topP: number("topP", 0.01, 1),
    seed: number("seed", 0, 2 ** 32 - 1, true),
    maxTokens: number("maxTokens", 1, 512, true),
    alternatives: number("alternatives", 0, 20, true),
  };
}

/**
 * The tokens that the context must hold. The LongRoPE table is chosen for prompt and answer together, as in the
 * package: the short one up to `original` tokens, the long one up to `most`. undefined: it does not fit.
 */
export function room(tokens, { original, most }) {
  return tokens <= original ? original : tokens <= most ? most : undefined;
}

/** A seed for one place of an answer, so that a token depends on nothing but the seed and its place. */
export function seedAt(seed, place) {
  let mixed = (seed ^ Math.imul(place + 1, 0x9e3779b1)) >>> 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b) >>> 0;
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35) >>> 0;
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

/**
 * Ask for one token after another until a stop token, the limit or `signal`.
 *
 * next(ids, options, place): the next token, {id, logprob, alternatives: [{id, logprob}]}.
 * Each token: {id, piece, text, logprob, alternatives: [{id, piece, logprob}]}; the text of a stop token is empty.
 */
export async function* tokens(prompt, how, tokenizer, stops, next, signal) {
  const add = tokenizer.stream();
  const ids = [...prompt.ids];
  for (let place = 0; place < how.maxTokens; place += 1) {
    if (signal?.aborted) return;
    const token = await next(ids, how, place);
    const stop = stops.has(token.id);
    yield {
      ...token,
      stop,
      piece: tokenizer.readable(token.id),
      text: stop ? "" : add(token.id),
      alternatives: token.alternatives.map((other) => ({ ...other, piece: tokenizer.readable(other.id) })),
    };
    if (stop) return;
    ids.push(token.id);
  }
}
