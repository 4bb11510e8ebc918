// The checkpoint's own tokenizer (tokenizer.json: byte-pair encoding with byte fallback) and its chat template.
//
// A prompt is a list of parts, each a mark of the template or a text. Only the template writes marks, so nothing that
// is typed can become one. A test compares the ids with those of the course's package, in Python.

import { clean } from "./text.js";
import { _ } from "./words.js";

const SPACE = "\u2581"; // SentencePiece's sign for a space
const WHITE = /^[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/; // as the Rust library sees it
const OPENING = { system: "<|system|>", user: "<|user|>", assistant: "<|assistant|>" };
const END = "<|end|>";
// The pattern that tokenizer.json has, in JavaScript's spelling. `Tokenizer` refuses a file with another one.
const RUST_PATTERN =
  "\\p{N}|[\\p{Han}\\p{Hangul}\\p{Hiragana}\\p{Katakana}ー]|▁?[\\p{Latin}\\p{M}]+|\\n|▁|[^\\p{N}\\p{L}\\p{M}▁\\n]|\\p{L}";
const PATTERN = new RegExp(
  "\\p{N}|[\\p{Script=Han}\\p{Script=Hangul}\\p{Script=Hiragana}\\p{Script=Katakana}ー]" +
    "|▁?[\\p{Script=Latin}\\p{M}]+|\\n|▁|[^\\p{N}\\p{L}\\p{M}▁\\n]|\\p{L}",
  "gu",
);

/** The parts of a conversation's prompt, up to the mark that begins the answer. */
export function template(messages) {
  const parts = [];
  for (const { role, content } of messages) {
    if (!(role in OPENING) || (role === "system" && !content)) continue;
    parts.push({ mark: OPENING[role] }, { text: `\n${content}` }, { mark: END }, { text: "\n" });
  }
  return [...parts, { mark: OPENING.assistant }, { text: "\n" }];
}

export class Tokenizer {
  /** described: what tokenizer.json holds. */
  constructor(described) {
    const pattern = described.pre_tokenizer?.pattern?.Regex;
    if (described.model?.type !== "BPE" || pattern !== RUST_PATTERN) {
      throw new Error(_("This page does not know how this tokenizer cuts words."));
    }
    this.vocabulary = new Map(Object.entries(described.model.vocab));
    this.ranks = new Map(described.model.merges.map((pair, rank) => [pair.join("\0"), rank]));
    this.marks = new Map(described.added_tokens.map((token) => [token.content, token]));
    this.pieces = new Map([...this.vocabulary].map(([piece, id]) => [id, piece]));
    this.special = new Set(described.added_tokens.map((token) => token.id));
    for (const { id, content } of described.added_tokens) this.pieces.set(id, content);
    this.known = new Map(); // word -> ids: words come again
  }

  /** The exact prompt of a conversation: its text, and its tokens with a readable piece each. */
  prompt(messages) {
    const parts = template(messages.map((message) => ({ ...message, content: clean(message.content) })));
    const ids = [];
    let swallow = false; // whether the mark before takes the white space after it
    for (const part of parts) {
      if ("mark" in part) {
        const mark = this.marks.get(part.mark);
        ids.push(mark.id);
        swallow = mark.rstrip;
      } else {
        ids.push(...this.plain(swallow ? part.text.replace(WHITE, "") : part.text));
        swallow = false;
      }
    }
    return { text: parts.map((part) => part.mark ?? part.text).join(""), ids, pieces: ids.map((id) => this.readable(id)) };
  }

  /** The ids of a text in which nothing is special. */
  plain(text) {
    if (!text) return [];
    return (SPACE + text.replaceAll(" ", SPACE)).match(PATTERN).flatMap((word) => this.word(word));
  }

  word(word) {
    if (!this.known.has(word)) {
      if (this.known.size > 20000) this.known.clear();
      this.known.set(word, this.merged([...word]).flatMap((piece) => this.numbers(piece)));
    }
    return this.known.get(word);
  }

  /** Join the pair that was learnt first, until none is left. */
  merged(pieces) {
    for (;;) {
      let best = Infinity;
      let at = -1;
      for (let place = 0; place + 1 < pieces.length; place += 1) {
        const rank = this.ranks.get(`${pieces[place]}\0${pieces[place + 1]}`);
        if (rank < best) [best, at] = [rank, place];
      }
      if (at < 0) return pieces;
      pieces.splice(at, 2, pieces[at] + pieces[at + 1]);
    }
  }

  numbers(piece) {
    if (this.vocabulary.has(piece)) return [this.vocabulary.get(piece)];
    return [...new TextEncoder().encode(piece)].map((byte) => this.vocabulary.get(byteName(byte)));
  }

  /** The bytes that a token adds to a text; none for marks. */
  bytes(id) {
    const piece = this.pieces.get(id);
    if (piece === undefined || this.special.has(id)) return new Uint8Array();
    const byte = /^<0x([0-9A-F]{2})>$/.exec(piece);
    return byte ? Uint8Array.of(parseInt(byte[1], 16)) : new TextEncoder().encode(piece.replaceAll(SPACE, " "));
  }

  /** A token as a person can read it: its text, its name, or its bytes if they are no character yet. */
  readable(id) {
    const piece = this.pieces.get(id);
    if (piece === undefined) return `<id ${id}>`;
    if (this.special.has(id)) return piece;
    const bytes = this.bytes(id);
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      return `<0x${[...bytes].map((byte) => byte.toString(16).toUpperCase().padStart(2, "0")).join(" ")}>`;
    }
  }

  /** Turns ids into text, one at a time; bytes of an unfinished character wait for the next token. */
  stream() {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    let first = true;
    return (id) => {
      const text = decoder.decode(this.bytes(id), { stream: true });
      if (!first || !text) return text;
      first = false;
      return text.replace(/^ /, ""); // SentencePiece puts a space before the first word
    };
  }
}

function byteName(byte) {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
}
