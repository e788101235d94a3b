"use strict";
(() => {
  const all = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const root = document.documentElement;
  const config = { displayModeBar: false, responsive: true };
  let chosen = 0;

  const colour = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();

  function layout(more) {
    const axis = { gridcolor: colour("grid"), zerolinecolor: colour("edge"), linecolor: colour("edge"), automargin: true };
    const { xaxis = {}, yaxis = {}, ...rest } = more;
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: colour("text"), family: getComputedStyle(document.body).fontFamily, size: 12 },
      margin: { l: 44, r: 10, t: 10, b: 40 },
      hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("edge"), font: { color: colour("text") } },
      legend: { orientation: "h", y: 1.15, x: 0 },
      dragmode: false,
      xaxis: { ...axis, ...xaxis }, yaxis: { ...axis, ...yaxis }, ...rest,
    };
  }

  function plot(id, traces, more) {
    const element = byId(id);
    if (element) Plotly.react(element, traces, layout(more), config);
  }

  function drawTraining() {
    if (!all.training) return;
    for (const quantity of ["loss", "accuracy"]) {
      const traces = Object.entries(all.training[quantity]).map(([part, points], index) => ({
        type: "scatter", mode: "lines+markers", name: part, x: points.map((p) => p[0]), y: points.map((p) => p[1]),
        line: { color: colour(`series-${index + 1}`), dash: index ? "dash" : "solid" },
        marker: { symbol: index ? "square" : "circle", size: 5 },
        hovertemplate: `epoch %{x}: %{y:.4f}<extra>${part}</extra>`,
      }));
      plot(`plot-${quantity}`, traces, { xaxis: { title: { text: "epoch" } }, showlegend: true });
    }
  }

  function bitsOf(text, nRows, nSteps) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return Array.from({ length: nRows }, (_, row) => Array.from({ length: nSteps }, (_, step) => {
      const bit = row * nSteps + step;
      return (bytes[bit >> 3] >> (7 - (bit & 7))) & 1;
    }));
  }

  function drawRasters(data, sample) {
    data.layers.forEach((layer, index) => {
      const z = bitsOf(sample.rasters[index], layer.rows.length, data.steps);
      plot(`raster-${index}`, [{
        type: "heatmap", z, zmin: 0, zmax: 1, showscale: false, xgap: 1, ygap: layer.rows.length > 64 ? 0 : 1,
        colorscale: [[0, colour("panel")], [1, colour("series-1")]],
        customdata: layer.rows.map((neuron) => Array(data.steps).fill(neuron)),
        hovertemplate: "neuron %{customdata}, step %{x}: %{z} spike<extra></extra>",
      }], {
        xaxis: { title: { text: "time step" }, showgrid: false, zeroline: false, dtick: Math.max(1, Math.ceil(data.steps / 8)) },
        yaxis: {
          showgrid: false, zeroline: false, autorange: "reversed",
          tickvals: ticks(layer.rows.length), ticktext: ticks(layer.rows.length).map((row) => String(layer.rows[row])),
        },
      });
    });
    if (!data.layers.length) return;
    const names = data.layers.map((layer) => layer.name);
    plot("plot-rates", [{
      type: "bar", orientation: "h", y: names, x: sample.rates, marker: { color: colour("series-1") },
      hovertemplate: "%{y}: %{x:.4f}<extra></extra>",
    }], { yaxis: { autorange: "reversed", type: "category" }, xaxis: { rangemode: "tozero" } });
    fill("rates", data.layers.map((layer, index) => [layer.name, layer.n.toLocaleString("en"), sample.rates[index].toFixed(4)]));
  }

  function ticks(n) {
    const step = Math.max(1, Math.ceil(n / 8));
    return Array.from({ length: Math.ceil(n / step) }, (_, index) => index * step);
  }

  const SVG = "http://www.w3.org/2000/svg";
  function shape(parent, kind, attributes, words) {
    const element = document.createElementNS(SVG, kind);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (words !== undefined) element.textContent = words;
    parent.append(element);
    return element;
  }

  function drawBloch(sample) {
    const place = byId("bloch");
    if (!place || !sample.bloch) return;
    place.replaceChildren(...sample.bloch.map(([x, y, z], qubit) => {
      const svg = document.createElementNS(SVG, "svg");
      svg.setAttribute("viewBox", "0 0 100 116");
      svg.dataset.bloch = `${x} ${y} ${z}`;
      shape(svg, "title", {}, `qubit ${qubit}: x ${x}, y ${y}, z ${z}`);
      shape(svg, "circle", { cx: 50, cy: 50, r: 42, fill: "none", stroke: colour("edge"), "stroke-width": 1.5 });
      shape(svg, "ellipse", { cx: 50, cy: 50, rx: 42, ry: 12, fill: "none", stroke: colour("edge"), "stroke-dasharray": "3 3" });
      shape(svg, "line", { x1: 50, y1: 8, x2: 50, y2: 92, stroke: colour("edge"), "stroke-dasharray": "3 3" });
      const tip = [50 + 42 * x, 50 - 42 * z];
      shape(svg, "line", { x1: 50, y1: 50, x2: tip[0], y2: tip[1], stroke: colour("series-1"), "stroke-width": 3 });
      shape(svg, "circle", {
        cx: tip[0], cy: tip[1], r: 5, stroke: colour("series-1"), "stroke-width": 2,
        fill: y >= 0 ? colour("series-1") : colour("bg"),
      });
      shape(svg, "text", { x: 50, y: 112, "text-anchor": "middle", "font-size": 13, fill: colour("text") }, `q${qubit}`);
      return svg;
    }));
  }

  function drawQubits(data, sample) {
    const names = sample.z.map((_, qubit) => `q${qubit}`);
    plot("plot-z", [{
      type: "bar", x: names, y: sample.z, marker: { color: colour("series-1") },
      hovertemplate: "%{x}: %{y:.4f}<extra></extra>",
    }], { yaxis: { range: [-1.05, 1.05] }, xaxis: { type: "category" } });
    const perQubit = sample.angles && sample.counts.length >= 3 * sample.z.length ? 3 : 1;
    fill("qubits", sample.z.map((z, qubit) => {
      const counts = sample.counts.slice(qubit * perQubit, (qubit + 1) * perQubit).join(", ");
      const row = [`q${qubit}`, counts + (sample.isOther ? " *" : "")];
      if (sample.angles) {
        const angles = perQubit === 3 ? sample.angles[qubit] : [sample.angles[qubit][1]];
        row.push(angles.map((angle) => angle.toFixed(4)).join(", "), ...sample.bloch[qubit].map((value) => value.toFixed(4)));
      }
      return [...row, z.toFixed(4)];
    }));
  }

  function drawLogits(data, sample) {
    const colours = data.classes.map((name) => colour(name === sample.predicted ? "series-2" : "series-1"));
    plot("plot-logits", [{
      type: "bar", x: data.classes.map((_, k) => k), y: sample.logits, marker: { color: colours },
      customdata: data.classes, hovertemplate: "%{customdata}: %{y:.4f}<extra></extra>",
    }], { xaxis: { tickvals: ticks2(data.classes.length), ticktext: ticks2(data.classes.length).map((k) => plain(data.classes[k])) } });
    fill("logits", data.classes.map((name, k) => [name, sample.logits[k].toFixed(4)]));
  }

  const ticks2 = (n) => Array.from({ length: Math.ceil(n / Math.ceil(n / 20)) }, (_, index) => index * Math.ceil(n / 20));
  // plotly reads a few HTML tags in its words
  const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").slice(0, 24);

  function fill(id, rows) {
    const body = byId(id);
    if (!body) return;
    body.replaceChildren(...rows.map((cells) => {
      const row = document.createElement("tr");
      cells.forEach((cell, index) => {
        const element = document.createElement(index ? "td" : "th");
        if (index) element.className = "number"; else element.scope = "row";
        element.textContent = cell;
        row.append(element);
      });
      return row;
    }));
  }

  function drawSample() {
    const data = all.samples;
    if (!data) return;
    const sample = data.samples[chosen];
    const picture = byId("picture");
    picture.hidden = !sample.image;
    if (sample.image) { picture.src = sample.image; picture.alt = `Image ${sample.id}`; }
    const facts = [["sample", sample.id], ["label", sample.label === null ? "unknown" : sample.label], ["predicted", sample.predicted]];
    byId("chosen-facts").replaceChildren(...facts.flatMap(([name, value]) => {
      const dt = document.createElement("dt"), dd = document.createElement("dd");
      dt.textContent = name; dd.textContent = value;
      return [dt, dd];
    }));
    if (sample.rasters) drawRasters(data, sample);
    drawBloch(sample);
    drawQubits(data, sample);
    drawLogits(data, sample);
  }

  function choose(index, isSaid = true) {
    const n = all.samples.samples.length;
    chosen = (index + n) % n;
    byId("sample").value = String(chosen);
    drawSample();
    const sample = all.samples.samples[chosen];
    if (isSaid) byId("said").textContent = `Sample ${chosen + 1} of ${n}: ${sample.id}, predicted ${sample.predicted}${sample.isWrong ? `, label ${sample.label}, wrong` : ""}.`;
  }

  function drawAll() { drawTraining(); drawSample(); }

  if (all.samples) {
    byId("sample").addEventListener("change", (event) => choose(Number(event.target.value)));
    byId("previous").addEventListener("click", () => choose(chosen - 1));
    byId("next").addEventListener("click", () => choose(chosen + 1));
    for (const button of document.querySelectorAll("[data-sample]")) {
      button.addEventListener("click", () => {
        choose(Number(button.dataset.sample));
        byId("samples").scrollIntoView();
        byId("sample").focus({ preventScroll: true });
      });
    }
    byId("sample").value = "0";
  }
  drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  // A4 and Letter between their margins; the page is laid out for paper only after this event.
  const PRINTED = 640;
  function resize(width) {
    for (const element of document.querySelectorAll(".plot")) {
      if (!element.data) continue;
      const share = element.classList.contains("raster") ? 3 : element.closest(".pair") ? 2 : 1;
      Plotly.relayout(element, width ? { width: width / share - 8, autosize: false } : { width: undefined, autosize: true });
    }
  }
  addEventListener("beforeprint", () => { drawAll(); resize(PRINTED); });
  addEventListener("afterprint", () => { drawAll(); resize(0); });
  root.dataset.ready = "true";
})();
