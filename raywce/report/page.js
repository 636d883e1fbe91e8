"use strict";
(() => {
  const plots = JSON.parse(document.getElementById("plots").textContent);
  const narrow = window.matchMedia("(max-width: 40rem)");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const touch = window.matchMedia("(pointer: coarse)");

  // A plot's colours are names such as var(--baseline): the page's own, which depend on the scheme.
  const coloured = (value, style) => {
    if (typeof value === "string") {
      const name = /^var\((--[\w-]+)\)$/.exec(value);
      return name ? style.getPropertyValue(name[1]).trim() : value;
    }
    if (Array.isArray(value)) return value.map((inner) => coloured(inner, style));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, coloured(inner, style)]));
  };

  const draw = (id) => {
    const { data, layout } = coloured(plots[id], getComputedStyle(document.documentElement));
    if (touch.matches) layout.dragmode = false;  // a finger scrolls the page
    if (narrow.matches) layout.font = { size: 11 };  // the rest of it is the template's
    return Plotly.react(id, data, layout, { responsive: true, displayModeBar: false, displaylogo: false });
  };

  // One after the other, from the top: the page can be read and scrolled meanwhile.
  const drawAll = async () => {
    for (const id of Object.keys(plots)) {
      if (document.getElementById(id).getBoundingClientRect().top > innerHeight) {
        document.documentElement.dataset.shown = "";  // all that is on the screen
      }
      await draw(id);
      await new Promise((done) => setTimeout(done));
    }
    document.documentElement.dataset.shown = "";
    document.documentElement.dataset.drawn = dark.matches ? "dark" : "light";
  };
  // plotly.js is large: the page is shown first.
  const start = async () => {
    const script = document.createElement("script");
    script.textContent = document.getElementById("plotly").textContent;
    document.head.append(script);
    await drawAll();
    dark.addEventListener("change", drawAll);
    narrow.addEventListener("change", drawAll);
  };
  window.addEventListener("load", () => requestAnimationFrame(() => setTimeout(start)));

  const value = (row, column) => {
    const cell = row.cells[column];
    const number = cell.querySelector("data");
    return number ? Number(number.value) : cell.textContent.trim();
  };
  const compare = (one, other) => {
    if (one === "" || other === "") return (one === "") - (other === "");
    return typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(String(other));
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    for (const head of table.tHead.rows[0].cells) {
      head.querySelector("button").addEventListener("click", () => {
        const direction = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", direction);
        const sign = direction === "ascending" ? 1 : -1;
        const rows = [...table.tBodies[0].rows];
        rows.sort((one, other) => sign * compare(value(one, head.cellIndex), value(other, head.cellIndex)));
        table.tBodies[0].append(...rows);
      });
    }
  }
})();
