"use strict";
// Draws the charts of each topic from the JSON beside it. Colours come from the style sheet, so that they follow
// the light or dark scheme.
(() => {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const SYMBOLS = { start: "diamond", cut: "square", interval: "line-ns-open", problem: "x" };
  const CONFIG = {
    displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    toImageButtonOptions: { format: "svg", filename: "gaze" },
  };

  function axis(extra) {
    return Object.assign({
      gridcolor: colour("grid"), linecolor: colour("line"), zeroline: false, fixedrange: false,
      tickfont: { size: 11 }, title: { font: { size: 12 } },
    }, extra);
  }

  function layout(extra) {
    return Object.assign({
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, color: colour("ink") },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("soft"), activecolor: colour("accent") },
      hoverlabel: { bgcolor: colour("card"), bordercolor: colour("line"), font: { size: 12, color: colour("ink") } },
    }, extra);
  }

  function series(box, data) {
    const narrow = box.clientWidth < 560;
    const traces = [];
    const unit = ["", "", " dB"];
    data.lines.forEach((line, number) => {
      const y = "y" + (number ? number + 1 : "");
      traces.push({
        x: data.x, y: line.values, yaxis: y, name: line.name, mode: "lines", type: "scatter", connectgaps: false,
        line: { width: 1, color: colour("raw") }, hovertemplate: "%{y:.4~g}" + unit[number],
      });
      traces.push({
        x: data.x, y: line.average, yaxis: y, name: "moving average", mode: "lines", type: "scatter",
        line: { width: 2, color: colour("accent") }, hovertemplate: "%{y:.4~g}" + unit[number],
      });
    });
    if (data.identical.x.length) {
      traces.push({
        x: data.identical.x, y: data.identical.x.map(() => data.identical.y), yaxis: "y3", mode: "markers",
        type: "scatter", name: "PSNR", hovertemplate: "∞ dB (identical)",
        marker: { symbol: "triangle-up", size: 6, color: colour("accent") },
      });
    }
    for (const [kind, events] of Object.entries(data.events)) {
      const wrong = kind === "problem";
      traces.push({
        x: events.x, y: events.x.map(() => kind), yaxis: "y4", mode: "markers", type: "scatter", name: kind,
        text: events.text, hovertemplate: "%{text}",
        marker: {
          symbol: SYMBOLS[kind] || "circle", size: wrong ? 8 : 9,
          color: colour(wrong ? "bad" : "key"), line: { width: 1.5, color: colour(wrong ? "bad" : "key") },
        },
      });
    }
    const kinds = Object.keys(data.events);
    const lane = Math.max(0.05, 0.042 * Math.max(kinds.length, 1));
    const step = (1 - lane - 0.03) / 3;
    const domain = (number) => [Math.max(0, (2 - number) * step + 0.02), (3 - number) * step - 0.02];
    const side = { automargin: true, anchor: "x" };
    Plotly.react(box, traces, layout({
      margin: { l: narrow ? 46 : 64, r: 12, t: 34, b: 44 }, showlegend: false, hovermode: "x unified",
      hoversubplots: "axis", dragmode: "zoom",
      xaxis: axis({ title: { text: data.title, font: { size: 12 } }, anchor: "y3", showspikes: true, spikemode: "across",
        spikethickness: 1, spikedash: "dot", spikecolor: colour("soft"), hoverformat: data.seconds ? ".3f" : "d",
        unifiedhovertitle: { text: data.seconds ? "%{x} s" : "frame %{x}" } }),
      yaxis: axis({ ...side, domain: domain(0), title: { text: "tokens a frame", font: { size: 12 } }, rangemode: "tozero" }),
      yaxis2: axis({ ...side, domain: domain(1), title: { text: "gaze ratio", font: { size: 12 } }, rangemode: "tozero" }),
      yaxis3: axis({ ...side, domain: domain(2), title: { text: "PSNR (dB)", font: { size: 12 } } }),
      yaxis4: axis({ ...side, domain: [1 - lane, 1], type: "category", categoryarray: kinds, showgrid: true, fixedrange: true,
        range: [-0.6, Math.max(kinds.length, 1) - 0.4] }),
      shapes: data.marks.map((x) => ({
        type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1 - lane, layer: "below",
        line: { width: 1, dash: "dot", color: colour("key") },
      })),
    }), CONFIG);
  }

  function histogram(box, data) {
    const lines = data.marks.map(([x]) => ({
      type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1, line: { width: 1.5, dash: "dash", color: colour("ink") },
    }));
    Plotly.react(box, [{
      type: "bar", x: data.centres, y: data.counts, width: data.width, marker: { color: colour("bar") }, name: "frames",
      customdata: data.labels, hovertemplate: "%{customdata} ms: %{y} frames<extra></extra>",
    }], layout({
      margin: { l: 52, r: 12, t: 46, b: 42 }, bargap: 0, showlegend: false,
      xaxis: axis({ rangemode: "nonnegative", title: { text: "compute (ms a frame)", font: { size: 12 } } }),
      yaxis: axis({ title: { text: "frames", font: { size: 12 } }, automargin: true }),
      shapes: lines,
      annotations: data.marks.map(([x, text], number) => ({
        x, y: 1, xref: "x", yref: "paper", yanchor: "bottom", text, showarrow: false, font: { size: 11 },
        // The first label reads to the left of its line and the second to the right, as the lines may be close.
        xanchor: number ? "left" : "right",
      })),
    }), CONFIG);
  }

  const DRAW = { series, histogram };
  const boxes = [...document.querySelectorAll(".chart[data-of]")];
  const drawn = new Set();

  function draw(box) {
    box.querySelector(".wait")?.remove();
    const data = JSON.parse(document.getElementById(box.dataset.of).textContent);
    DRAW[box.dataset.chart](box, data);
    drawn.add(box);
  }

  async function library() {
    const bytes = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  }

  async function start() {
    if (!boxes.length) return;
    try {
      await library();
    } catch (error) {
      boxes.forEach((box) => { box.querySelector(".wait").textContent = "This browser can't draw the charts: " + error; });
      return;
    }
    // Charts far down wait until they come near: a report of many topics opens fast.
    const near = new IntersectionObserver((entries) => entries.filter((e) => e.isIntersecting).forEach((e) => {
      near.unobserve(e.target);
      draw(e.target);
    }), { rootMargin: "900px" });
    boxes.forEach((box) => near.observe(box));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach(draw));
    addEventListener("beforeprint", () => boxes.filter((box) => !drawn.has(box)).forEach(draw));
  }
  start();
})();
