// Keeps the site for a visit without a network. The build fills in the version and what belongs to the shell.
//
// Pages come from the network while there is one, so that nobody reads an old one. The engine and the models are large
// and their addresses hold their version: once here, they are never fetched again (assets.js puts them here).

const VERSION = __VERSION__;
const SHELL = __SHELL__;
const FILES = __FILES__;
const PREFIX = `phi35-labs-pages ${self.registration.scope} `;
const PAGES = PREFIX + VERSION;
const LARGE = "phi35-labs-files";

self.addEventListener("install", (event) => {
  event.waitUntil(keep().then(() => self.skipWaiting()));
});

async function keep() {
  await (await caches.open(PAGES)).addAll(SHELL);
  // The first visit imports the engine's script before this worker is there to see it.
  await (await caches.open(LARGE)).addAll(FILES.filter((file) => file.includes("/wllama.js?")));
}

self.addEventListener("activate", (event) => {
  event.waitUntil(clean().then(() => self.clients.claim()));
});

async function clean() {
  for (const name of await caches.keys()) if (name.startsWith(PREFIX) && name !== PAGES) await caches.delete(name);
  const large = await caches.open(LARGE);
  const wanted = new Set(FILES.map((file) => new URL(file, self.registration.scope).href));
  for (const url of [...wanted]) wanted.add(url.replace(".gz?", "?")); // unpacked, by assets.js
  for (const { url } of await large.keys()) {
    if (url.startsWith(self.registration.scope) && !wanted.has(url)) await large.delete(url);
  }
}

self.addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  if (method !== "GET" || !url.startsWith(self.registration.scope)) return;
  event.respondWith(url.includes("/model/") && url.includes("?v=") ? large(event.request) : page(event));
});

async function large(request) {
  const cache = await caches.open(LARGE);
  const kept = await cache.match(request.url);
  if (kept) return kept;
  const answer = await fetch(request);
  // Scripts are not read by assets.js, so they are put here.
  if (answer.ok && request.url.includes(".js?")) await cache.put(request.url, answer.clone());
  return answer;
}

async function page(event) {
  const { request } = event;
  const cache = await caches.open(PAGES);
  try {
    const answer = await fetch(request);
    // The reader does not wait until it is kept.
    if (answer.ok && answer.type === "basic") event.waitUntil(cache.put(request.url, answer.clone()).catch(() => {}));
    return answer;
  } catch (error) {
    const kept = (await cache.match(request.url, { ignoreSearch: true })) ?? (await folder(cache, request.url));
    if (kept) return kept;
    throw error;
  }
}

/** The page of a folder: ask/ is ask/index.html. */
async function folder(cache, url) {
  const path = url.replace(/[?#].*$/, "");
  return path.endsWith("/") ? cache.match(`${path}index.html`) : undefined;
}
