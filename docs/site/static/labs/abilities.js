// What the engine needs of a browser, asked before anything is fetched.

import { Trouble } from "./troubles.js";

// The smallest modules that use what they are named after (from WebAssembly's own feature tests).
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];
const EXCEPTIONS = [0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 10, 8, 1, 6, 0, 6, 64, 25, 11, 11];

/** Throws a Trouble where the model cannot run, as far as the browser tells at once. */
export function required() {
  if (typeof WebAssembly !== "object" || typeof WebAssembly.validate !== "function") throw new Trouble("noWebAssembly");
  const needed = {
    "WebAssembly SIMD": () => WebAssembly.validate(new Uint8Array(SIMD)),
    "WebAssembly exceptions": () => WebAssembly.validate(new Uint8Array(EXCEPTIONS)),
    DecompressionStream: () => typeof DecompressionStream === "function",
  };
  for (const [what, there] of Object.entries(needed)) if (!there()) throw new Trouble("oldBrowser", { what });
}

/** Throws a Trouble where this page may start no worker: some settings and extensions forbid it without an error. */
export async function workers() {
  const there = await new Promise((resolve) => {
    try {
      const url = URL.createObjectURL(new Blob(["postMessage(1)"], { type: "text/javascript" }));
      const worker = new Worker(url, { type: "module" });
      const end = (there) => {
        clearTimeout(timer);
        worker.terminate();
        URL.revokeObjectURL(url);
        resolve(there);
      };
      const timer = setTimeout(() => end(false), 8000);
      worker.onmessage = () => end(true);
      worker.onerror = () => end(false);
    } catch {
      resolve(false);
    }
  });
  if (!there) throw new Trouble("blockedWorker");
}

/** Whether the smaller, faster build of the engine runs here: it needs 64-bit memory, and Firefox needs no more. */
export function modern() {
  try {
    new WebAssembly.Memory({ address: "i64", initial: 1n });
  } catch {
    return false;
  }
  return "Suspending" in WebAssembly || navigator.userAgent.includes("Firefox/");
}
