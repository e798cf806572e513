// The page inside a notebook, as anywidget shows it. Python joins this file with those it imports.

import { widgetLink } from "./link.js";
import { Page } from "./page.js";

function render({ model, el }) {
  const root = el.attachShadow({ mode: "open" }); // styles of the notebook stay outside
  const style = document.createElement("style");
  style.textContent = model.get("styles");
  const holder = document.createElement("div");
  holder.className = "holder";
  holder.innerHTML = `<div class="page inside">${model.get("body")}</div>`;
  root.append(style, holder);
  el.dataset.lmSuppressShortcuts = "true"; // keys are for the page, not for cells
  const link = widgetLink(model), keys = holder.firstElementChild;
  for (const kind of ["keydown", "keypress", "keyup"]) holder.addEventListener(kind, (event) => event.stopPropagation());
  const page = new Page(keys, link, keys);
  page.start();
  return () => {
    page.end();
    link.end();
  };
}

export default { render };
