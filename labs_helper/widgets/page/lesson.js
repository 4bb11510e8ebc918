// The page of a lesson while it runs; see lesson.py.

function show(view) {
  view.el.setAttribute("role", "group");
  view.el.setAttribute("aria-label", view.words.title);
  const picture = h("div", { class: "labs-drawing" });
  view.follow("picture", (html) => fill(picture, html));
  view.el.append(
    titleLine(view, view.words.title),
    h("div", { class: "labs-buttons" }, stopButton(view)),
    statusLine(view),
    picture,
  );
}
