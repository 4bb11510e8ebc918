// The theme before anything is drawn. The documents (Furo) keep their choice under the same name.
(() => {
  let kept = "auto";
  try {
    kept = localStorage.getItem("theme") || "auto";
  } catch {
    // storage is forbidden: the system decides
  }
  document.documentElement.dataset.theme = kept;
})();
