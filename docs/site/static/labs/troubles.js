// What can go wrong, each as two sentences: what happened, and what to do.

import { _ } from "./words.js";

const SENTENCES = {
  noWebAssembly: [
    _("This browser does not run WebAssembly, which the model needs."),
    _("Open this page in a current Firefox, Chrome, Edge or Safari, or allow WebAssembly in the browser's settings."),
  ],
  oldBrowser: [
    _("This browser is too old for the model: it lacks {what}."),
    _("Update it, or open this page in a current Firefox, Chrome, Edge or Safari."),
  ],
  blockedWorker: [
    _("The browser does not let this page start a worker, the background program in which the model runs."),
    _("Allow scripts and workers for this page, turn off the extension that blocks them, or use another browser."),
  ],
  memory: [
    _("This device has too little free memory for the model, which needs about 200 MB."),
    _("Close other tabs and load the page again, or use another device."),
  ],
  network: [
    _("{name} did not arrive ({reason})."),
    _("Check the connection, then press Try again."),
  ],
  half: [
    _("Only a part of {name} arrived: {got} of {wanted}."),
    _("Press Try again; what is damaged is not kept."),
  ],
  damaged: [
    _("{name} arrived, but it is damaged."),
    _("Press Try again. If it happens twice, the copy on the server is damaged: tell the person who runs this site."),
  ],
  noEngine: [
    _("This copy of the site was built without the engine that runs the model."),
    _("Build it with a network (make site), or install the course: then every lab answers on your computer."),
  ],
  engine: [
    _("The engine ended unexpectedly ({reason})."),
    _("Press Try again. If it happens twice, load the page again."),
  ],
  slow: [
    _("The engine did not start within {seconds} seconds."),
    _("Close other tabs, then press Try again."),
  ],
  empty: [_("There is no question yet."), _("Type one, or press one of the examples.")],
  endless: [
    _("The text has {count} characters, and this page takes {most} at most."),
    _("Use a part of it."),
  ],
  tooLong: [
    _("Prompt and answer would need {tokens} tokens, and the model's context holds {most}."),
    _("Shorten the question, start a new conversation, or lower the longest answer."),
  ],
};

/** An error that a person can act on. */
export class Trouble extends Error {
  constructor(kind, values = {}) {
    const fill = (text) => text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
    const [what, todo] = SENTENCES[kind].map(fill);
    super(`${what} ${todo}`);
    Object.assign(this, { name: "Trouble", kind, what, todo });
  }
}

/** Whether an error says that memory is missing. */
export function scarce(error) {
  return error instanceof RangeError || /memory|allocat/i.test(String(error?.message ?? error));
}

/** What the engine or the browser threw, as something that a person can act on. */
export function asTrouble(error) {
  if (error instanceof Trouble) return error;
  if (scarce(error)) return new Trouble("memory");
  const reason = String(error?.message ?? error).split("\n")[0].slice(0, 160);
  return new Trouble("engine", { reason });
}
