// The files of the engine and the models: from the cache of an earlier visit, or from the server this page came from.
//
// Names that end with .gz are compressed, because plain web servers compress nothing. Each address holds the version of
// its content, so an old file is never taken for a new one.

import { scarce, Trouble } from "./troubles.js";
import { _ } from "./words.js";

const CACHE = "phi35-labs-files"; // service-worker.js has the same name, and removes what the site no longer has

let listing; // one for a page: what it loads together belongs together

/** What the site's build says about these files: {files: {name: {bytes, unpacked, version}}, models: {...}}. */
export function manifest(root) {
  listing ??= fetchedManifest(root).catch((error) => {
    listing = undefined;
    throw error;
  });
  return listing;
}

async function fetchedManifest(root) {
  let answer;
  try {
    answer = await fetch(new URL("model/manifest.json", root));
  } catch (error) {
    throw new Trouble("network", { name: _("The list of files"), reason: error.message });
  }
  if (!answer.ok) throw new Trouble("network", { name: _("The list of files"), reason: _("status {status}", { status: answer.status }) });
  const listed = await answer.json();
  if (!listed.files["wllama.js"]) throw new Trouble("noEngine");
  return listed;
}

export function address(name, listed, root) {
  return new URL(`model/${name}?v=${listed.files[name].version}`, root).href;
}

/** A file as bytes, unpacked and complete. heard(bytes): called with the number of bytes of each piece. */
export async function bytes(name, listed, root, heard = () => {}) {
  const url = address(name, listed, root);
  const cache = await opened();
  const kept = await cache?.match(url).catch(() => undefined);
  if (kept) {
    try {
      return await whole(kept, name, listed.files[name], heard);
    } catch {
      await cache.delete(url); // fetched again below
    }
  }
  const found = await fetched(url, name);
  const copy = cache && found.clone();
  const data = await whole(found, name, listed.files[name], heard);
  await cache?.put(url, copy).catch(() => {}); // no room is no trouble: the next visit fetches it again
  return data;
}

const inPage = new Map(); // addresses of this page alone, where no service worker answers

/**
 * The address at which a worker finds a file unpacked. The site itself has it packed only; where a service worker is
 * there it answers from the cache, and the browser keeps what it compiled from that address for the next visit. Else it
 * is an address in this page.
 */
export async function place(name, type, listed, root, heard) {
  const packed = address(`${name}.gz`, listed, root);
  const unpacked = packed.replace(".gz?", "?");
  const answers = async () => navigator.serviceWorker?.controller && (await opened());
  if (await (await answers())?.match(unpacked).catch(() => undefined)) return unpacked;
  if (inPage.has(unpacked)) return inPage.get(unpacked);
  const data = new Blob([await bytes(`${name}.gz`, listed, root, heard)], { type });
  try {
    const cache = await answers();
    if (cache) {
      await cache.put(unpacked, new Response(data));
      await cache.delete(packed); // one of the two is enough
      return unpacked;
    }
  } catch {
    // no room is no trouble
  }
  inPage.set(unpacked, URL.createObjectURL(data));
  return inPage.get(unpacked);
}

async function opened() {
  try {
    return await globalThis.caches?.open(CACHE); // not there without https, and forbidden in some private windows
  } catch {
    return undefined;
  }
}

async function fetched(url, name) {
  let answer;
  try {
    answer = await fetch(url);
  } catch (error) {
    throw new Trouble("network", { name, reason: error.message });
  }
  if (!answer.ok) throw new Trouble("network", { name, reason: _("status {status}", { status: answer.status }) });
  return answer;
}

async function whole(answer, name, entry, heard) {
  const data = await read(answer, name, heard);
  // A server may unpack by itself what ends with .gz; then the first two bytes are not those of gzip.
  const packed = data[0] === 0x1f && data[1] === 0x8b;
  const wanted = packed ? entry.bytes : entry.unpacked;
  if (data.length !== wanted) throw new Trouble("half", { name, got: megabytes(data.length), wanted: megabytes(wanted) });
  if (!packed) return data;
  try {
    const stream = new Blob([data]).stream().pipeThrough(new DecompressionStream("gzip"));
    const unpacked = new Uint8Array(await new Response(stream).arrayBuffer());
    if (unpacked.length === entry.unpacked) return unpacked;
  } catch (error) {
    if (scarce(error)) throw error;
  }
  throw new Trouble("damaged", { name });
}

async function read(answer, name, heard) {
  const parts = [];
  const reader = answer.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      heard(value.length);
    }
  } catch (error) {
    throw new Trouble("network", { name, reason: error.message });
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

export function megabytes(count) {
  return `${(count / 1e6).toFixed(1)} MB`;
}
