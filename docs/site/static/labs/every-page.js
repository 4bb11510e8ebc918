// What every page of the site does: keep itself for a visit without a network, let the reader choose a theme, and show
// "Try it here" where a cell's question can be asked in the browser.

import { _ } from "./words.js";

const ROOT = new URL("../../", import.meta.url);

if ("serviceWorker" in navigator) {
  navigator.serviceWorker.register(new URL("service-worker.js", ROOT)).catch(() => {}); // without it, online only
}

const button = document.getElementById("theme");
if (button) {
  const names = { auto: _("Theme: system"), light: _("Theme: light"), dark: _("Theme: dark") };
  const words = button.querySelector("span");
  const show = () => (words.textContent = names[document.documentElement.dataset.theme] ?? names.auto);
  button.hidden = false;
  button.addEventListener("click", () => {
    const order = Object.keys(names);
    const next = order[(order.indexOf(document.documentElement.dataset.theme) + 1) % order.length];
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("theme", next);
    } catch {
      // for this page only, then
    }
    show();
  });
  show();
}

// The question on the front page is asked on the page Ask. It stays behind the #, which no server is told.
const form = document.getElementById("ask-here");
if (form) {
  form.hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const question = form.querySelector("input").value;
    location.href = `${form.dataset.page}#${new URLSearchParams({ q: question })}`;
  });
}

// What can be moved sideways can be moved with the keyboard, too.
const wide = document.querySelectorAll("pre, figure, .table-wrapper, .math-wrapper, [style*=overflow]");
const watched = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
  }
});
for (const box of wide) watched.observe(box);

const places = document.querySelectorAll(".labs-try");
if (places.length) import("./try.js").then(({ show }) => places.forEach((place) => show(place, ROOT)));
