// llama.cpp as WebAssembly (wllama) with one of the bundled models. One thread, no server, nothing leaves the device.

import { modern, required, workers } from "./abilities.js";
import { address, bytes, manifest, place } from "./assets.js";
import { options, room, seedAt, tokens } from "./requests.js";
import { Tokenizer } from "./tokenizer.js";
import { asTrouble, Trouble } from "./troubles.js";
import { clean, LONGEST, typedMarks } from "./text.js";

const START = 60; // seconds that the engine may take to start

/** The engine's own code, fetched once for all models of a page. */
export class Engine {
  constructor(root) {
    this.root = root;
    this.ready = undefined;
  }

  /** What the build says, and what looks up the address of the WebAssembly file. heard(bytes): what arrived. */
  load(heard) {
    this.ready ??= this.#load(heard).catch((error) => {
      this.ready = undefined; // so that Try again does
      throw asTrouble(error);
    });
    return this.ready;
  }

  async #load(heard = () => {}) {
    required();
    const [listed] = await Promise.all([manifest(this.root), workers()]);
    const build = modern() ? "wllama" : "compat";
    const module = import(address("wllama.js", listed, this.root)).catch((error) => {
      throw new Trouble("network", { name: "wllama.js", reason: error.message });
    });
    const code = () => place(`${build}.wasm`, "application/wasm", listed, this.root, heard);
    const [{ Wllama }] = await Promise.all([module, code()]);
    return { listed, Wllama, code, worker: build === "compat" && address("compat.js", listed, this.root) };
  }
}

/** One bundled model in the engine. */
export class Model {
  constructor(name, engine) {
    Object.assign(this, { name, engine, ready: undefined, context: 0, wllama: undefined, busy: Promise.resolve() });
  }

  /** The tokenizer alone: it is there long before the model. */
  get tokenizer() {
    this.tokens ??= this.#tokenizer().catch((error) => {
      this.tokens = undefined;
      throw asTrouble(error);
    });
    return this.tokens;
  }

  async #tokenizer() {
    const listed = await manifest(this.engine.root);
    const data = await bytes(`${this.name}.tokenizer.json`, listed, this.engine.root);
    return new Tokenizer(JSON.parse(new TextDecoder().decode(data)));
  }

  /** Fetch and open the model. heard(bytes): what arrived. */
  load(heard = () => {}) {
    this.ready ??= this.#load(heard).catch((error) => {
      this.ready = undefined;
      throw asTrouble(error);
    });
    return this.ready;
  }

  async #load(heard) {
    const whole = manifest(this.engine.root).then((listed) => bytes(`${this.name}.gguf.gz`, listed, this.engine.root, heard));
    whole.catch(() => {}); // awaited below; without this a browser would report it as unhandled meanwhile
    const loaded = await this.engine.load(heard);
    this.about = loaded.listed.models[this.name];
    this.weights = new Blob([await whole]);
    this.tokenizerNow = await this.tokenizer;
    await this.#open(this.about.context.original, loaded);
  }

  async #open(context, { Wllama, code, worker }) {
    if (this.wllama && this.context === context) return;
    const wasm = await code(); // anew for each model: the browser may have thrown it away meanwhile
    await this.wllama?.exit();
    const silent = { debug() {}, log() {}, warn() {}, error() {} };
    // Files come from assets.js: without these two, wllama looks for a storage that pages without https do not have.
    const own = { cacheManager: {}, modelManager: {} };
    const wllama = new Wllama({ default: wasm }, { logger: silent, suppressNativeLog: true, ...own });
    wllama.setCompat(worker ? { worker, wasm } : null, "firefox_safari"); // its own choice would be a server elsewhere
    const settings = {
      n_ctx: context,
      n_parallel: 1,
      n_threads: 1, // of a model this small, threads spend their time waiting for each other
      n_gpu_layers: 0,
      flash_attn: false,
      cache_type_k: "f32",
      cache_type_v: "f32",
      ctx_shift: false,
      warmup: false,
    };
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Trouble("slow", { seconds: START })), START * 1000);
    });
    try {
      await Promise.race([wllama.loadModel([this.weights], settings), late]);
    } catch (error) {
      await wllama.exit().catch(() => {});
      throw error;
    } finally {
      clearTimeout(timer);
    }
    [this.wllama, this.context] = [wllama, context];
  }

  /**
   * Ask a question. Requests of one model wait for each other.
   *
   * messages: [{role, content}]. given: see `options`. heard(token, prompt): each token as it comes.
   * Returns {model, text, prompt, tokens, ended, seconds, seed, notices}.
   */
  ask(messages, given = {}, { heard = () => {}, signal } = {}) {
    const answer = this.busy.then(() => this.#ask(messages, options(given), heard, signal));
    this.busy = answer.catch(() => {});
    return answer;
  }

  async #ask(messages, how, heard, signal) {
    const count = messages.reduce((sum, message) => sum + message.content.length, 0);
    if (count > LONGEST) throw new Trouble("endless", { count: count.toLocaleString("en"), most: LONGEST.toLocaleString("en") });
    await this.load();
    const prompt = this.tokenizerNow.prompt(messages);
    const total = prompt.ids.length + how.maxTokens;
    const context = room(total, this.about.context);
    if (!context) throw new Trouble("tooLong", { tokens: total, most: this.about.context.most });
    const made = [];
    let started;
    try {
      await this.#open(context, await this.engine.load());
      started = performance.now();
      const stops = new Set(this.about.stops);
      for await (const token of tokens(prompt, how, this.tokenizerNow, stops, this.#next.bind(this), signal)) {
        made.push(token);
        heard(token, prompt);
      }
    } catch (error) {
      await this.wllama?.exit().catch(() => {});
      this.wllama = this.ready = undefined; // what has failed is opened again for the next question
      throw asTrouble(error);
    }
    return {
      model: this.name,
      text: made.map((token) => token.text).join(""),
      prompt,
      tokens: made,
      ended: made.at(-1)?.stop ? "stop" : signal?.aborted ? "cancelled" : "length",
      seconds: (performance.now() - started) / 1000,
      how,
      table: context === this.about.context.original ? "short" : "long",
      notices: typedMarks(clean(messages.at(-1).content), [...this.tokenizerNow.marks.keys()]),
    };
  }

  async #next(ids, how, place) {
    const answer = await this.wllama.createCompletion({
      // wllama takes prompts as text only. The file names each token by its number (gguf_model.py), so this text is
      // exactly these ids, whatever was typed.
      prompt: ids.map((id) => `<${id}>`).join(""),
      max_tokens: 1,
      n_probs: Math.max(1, how.alternatives),
      temperature: how.temperature,
      top_p: how.topP,
      seed: seedAt(how.seed, place),
      samplers: ["top_p", "temperature"], // only these, in this order, as the package does
      cache_prompt: true,
    });
    const entry = answer.choices[0].logprobs.content[0];
    const alternatives = entry.top_logprobs.slice(0, how.alternatives).map(({ id, logprob }) => ({ id, logprob }));
    return { id: entry.id, logprob: entry.logprob, alternatives };
  }
}
