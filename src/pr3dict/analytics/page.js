"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const still = matchMedia("(pointer: coarse)").matches;
  const charts = [];

  // A text "@name" in a figure is the colour (or font) that the style sheet calls --name.
  const themed = (value, style) => {
    if (typeof value === "string") {
      return value.startsWith("@") ? style.getPropertyValue("--" + value.slice(1)).trim() : value;
    }
    if (Array.isArray(value)) {
      return typeof value[0] === "number" ? value : value.map((one) => themed(one, style));
    }
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, themed(one, style)]));
    }
    return value;
  };

  const draw = (chart, width) => {
    const style = getComputedStyle(document.documentElement);
    const { data, layout } = themed(chart.figure(), style);
    Object.assign(layout, { height: chart.height, dragmode: still ? false : "zoom" });
    const narrow = (width || chart.box.clientWidth) < 500;
    for (const axis of Object.values(layout)) {
      if (axis && axis.type === "date") axis.nticks = narrow ? 4 : 9;
    }
    if (width) Object.assign(layout, { width });
    Plotly.react(chart.box, data, layout, { displayModeBar: false, responsive: !width, scrollZoom: false });
  };
  const drawAll = (width) => charts.forEach((chart) => draw(chart, width));

  for (const box of document.querySelectorAll(".chart")) {
    const panels = figures[box.id];
    const select = document.querySelector(`select[data-chart="${box.id}"]`);
    const chart = { box, height: Number(box.dataset.height), figure: () => panels[select ? select.selectedIndex : 0] };
    charts.push(chart);
    if (select) {
      select.addEventListener("change", () => {
        document.getElementById(box.id + "-chosen").textContent = select.selectedOptions[0].textContent;
        draw(chart);
      });
    }
  }
  drawAll();

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll());
  // On paper a chart is as wide as the page between its margins: 182 mm of A4, in CSS pixels.
  addEventListener("beforeprint", () => drawAll(Math.round(182 / 25.4 * 96)));
  addEventListener("afterprint", () => drawAll());

  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") === "descending";
        const key = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent;
        const words = head.classList.contains("words");
        const rows = [...table.tBodies[0].rows].sort((a, b) => {
          const order = words ? key(a).localeCompare(key(b)) : Number(key(a)) - Number(key(b));
          return up ? order : -order;
        });
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        table.tBodies[0].append(...rows);
      });
    });
  }
})();
