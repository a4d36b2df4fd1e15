// Draws the figures of the page anew from their data: surfaces turn, and a seed is singled out in all of them at once.
// Without it the page shows the same as pictures.
(() => {
  "use strict";
  const MARGIN = { left: 58, right: 14, top: 12, bottom: 46 };
  const NEAR = 24; // pixels from a line, within which the pointer means it
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const views = [];
  let chosen = null; // a seed
  let pointed = null; // the seeds of the line under the pointer

  const colourOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  // As it is, and lighter on a dark page.
  function shade(hex) {
    if (!dark.matches) return hex;
    const parts = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    return `rgb(${parts.map((part) => Math.round(part + 0.4 * (255 - part)))})`;
  }

  function element(tag, parent, properties = {}) {
    return parent.appendChild(Object.assign(document.createElement(tag), properties));
  }

  function told(value) {
    return value === null ? "no number" : String(Number(value.toPrecision(4)));
  }

  // Makes it as sharp as the screen is, and says how large it is.
  function prepare(canvas) {
    const { width, height } = canvas.getBoundingClientRect();
    const scale = devicePixelRatio || 1;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.font = "13px system-ui, sans-serif";
    return { pen, width, height };
  }

  function ticks(low, high, count) {
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
    return found;
  }

  function logTicks(low, high) {
    const found = [];
    const factors = high / low > 300 ? [1] : [1, 2, 5];
    for (let k = Math.floor(Math.log10(low)); 10 ** k <= high; k++) {
      found.push(...factors.map((factor) => factor * 10 ** k).filter((tick) => tick >= low && tick <= high));
    }
    return found.length > 1 ? found : ticks(low, high, 4);
  }

  // A pair of axes: where values stand, with grid, ticks and labels drawn.
  function axes(canvas, { x, y, log, xlabel, ylabel, whole }) {
    const { pen, width, height } = prepare(canvas);
    const inner = { width: width - MARGIN.left - MARGIN.right, height: height - MARGIN.top - MARGIN.bottom };
    const of = (value, [low, high]) => (value - low) / (high - low || 1);
    const scaled = log ? y.map(Math.log) : y;
    const at = {
      x: (value) => MARGIN.left + of(value, x) * inner.width,
      y: (value) => MARGIN.top + (1 - of(log ? Math.log(value) : value, scaled)) * inner.height,
      value: (place) => x[0] + ((place - MARGIN.left) / inner.width) * (x[1] - x[0]),
    };
    pen.strokeStyle = colourOf("line");
    pen.fillStyle = colourOf("soft");
    pen.lineWidth = 1;
    pen.textAlign = "center";
    const across = ticks(...x, Math.max(2, inner.width / 90)).filter((tick) => !whole || Number.isInteger(tick));
    for (const tick of across) {
      line(pen, [[at.x(tick), MARGIN.top], [at.x(tick), MARGIN.top + inner.height]]);
      pen.fillText(told(tick), at.x(tick), MARGIN.top + inner.height + 18);
    }
    pen.fillText(xlabel, MARGIN.left + inner.width / 2, height - 6);
    pen.textAlign = "right";
    for (const tick of log ? logTicks(...y) : ticks(...y, 5)) {
      line(pen, [[MARGIN.left, at.y(tick)], [MARGIN.left + inner.width, at.y(tick)]]);
      pen.fillText(told(tick), MARGIN.left - 7, at.y(tick) + 4);
    }
    pen.save();
    pen.translate(13, MARGIN.top + inner.height / 2);
    pen.rotate(-Math.PI / 2);
    pen.textAlign = "center";
    pen.fillText(ylabel, 0, 0);
    pen.restore();
    return { pen, at, inner };
  }

  function line(pen, points) {
    pen.beginPath();
    points.forEach(([x, y], place) => (place ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    pen.stroke();
  }

  // Lines of seeds over one pair of axes.
  function panelView(panel, canvas) {
    const ys = panel.series.flatMap((series) => [series.median, ...series.lines]).flat();
    const finite = ys.filter((value) => value !== null && (!panel.log || value > 0));
    const [low, high] = [Math.min(...finite), Math.max(...finite)];
    const margin = 0.04 * (high - low) || 0.5;
    const foot = low >= 0 ? Math.max(0, low - margin) : low - margin;
    const y = panel.log ? [low / 1.1, high * 1.1] : [foot, high + margin];
    const xs = panel.series.flatMap((series) => series.x);
    const x = [Math.min(...xs), Math.max(...xs)];
    let at = null;
    let where = x[1]; // at which the values are told
    if (x[0] === x[1]) x.splice(0, 2, x[0] - 0.5, x[1] + 0.5);

    function draw() {
      const drawn = axes(canvas, { x, y, whole: xs.every(Number.isInteger), ...panel });
      at = drawn.at;
      const pen = drawn.pen;
      const place = (series, values) => values.map((value, k) => [at.x(series.x[k]), at.y(value)]);
      const stroke = (series, values, colour, width, alpha) => {
        pen.strokeStyle = pen.fillStyle = colour;
        pen.lineWidth = width;
        pen.globalAlpha = alpha;
        const points = place(series, values);
        line(pen, points);
        if (points.length === 1) pen.fillRect(points[0][0] - 3, points[0][1] - 3, 6, 6);
        pen.globalAlpha = 1;
      };
      const single = chosen !== null || pointed;
      for (const series of panel.series) {
        const faint = (single ? 0.12 : 0.3) * Math.min(1, 24 / Math.max(series.lines.length, 1)) ** 0.5;
        for (const values of series.lines) stroke(series, values, shade(series.colour), 1, faint);
        if (series.band) {
          const [lower, upper] = series.band.map((values) => place(series, values));
          pen.fillStyle = shade(series.colour);
          pen.globalAlpha = single ? 0.1 : 0.2;
          pen.beginPath();
          [...lower, ...upper.reverse()].forEach(([px, py], k) => (k ? pen.lineTo(px, py) : pen.moveTo(px, py)));
          pen.fill();
          pen.globalAlpha = 1;
        }
        if (!series.band) pen.setLineDash([6, 4]);
        stroke(series, series.median, shade(series.colour), single ? 1.4 : 2.4, single ? 0.6 : 1);
        pen.setLineDash([]);
      }
      for (const wanted of [pointed, chosen === null ? null : [chosen]]) {
        if (!wanted) continue;
        for (const series of panel.series) {
          series.seeds.forEach((seeds, k) => {
            if (!seeds.some((seed) => wanted.includes(seed))) return;
            stroke(series, series.lines[k], colourOf("card"), 6, 1);
            stroke(series, series.lines[k], shade(series.colour), 3, 1);
          });
        }
      }
    }

    function closest(values, wanted) {
      const distances = values.map((value) => Math.abs(value - wanted));
      return distances.indexOf(Math.min(...distances));
    }

    function nearest(px, py) {
      let found = null;
      let best = NEAR;
      for (const series of panel.series) {
        if (!series.lines.length) continue;
        const k = closest(series.x, at.value(px));
        series.lines.forEach((values, row) => {
          const distance = Math.abs(at.y(values[k]) - py);
          if (distance < best) [best, found] = [distance, series.seeds[row]];
        });
      }
      where = at.value(px);
      return found;
    }

    function tell(seed) {
      let said = "";
      for (const series of panel.series) {
        const row = series.seeds.findIndex((seeds) => seeds.includes(seed));
        if (row < 0) continue;
        const k = closest(series.x, where);
        const partner = series.seeds[row].filter((other) => other !== seed).map((other) => ` with seed ${other}`);
        said ||= `${panel.ylabel} at ${panel.xlabel} ${told(series.x[k])}${partner}:`;
        said += ` ${series.name.split(" (")[0]} ${told(series.lines[row][k])},`;
      }
      return said.slice(0, -1);
    }
    return { draw, nearest, tell, seeds: panel.series.flatMap((series) => series.seeds).flat() };
  }

  // How many seeds ended where.
  function histogramView(part, canvas) {
    const x = [part.edges[0], part.edges.at(-1)];
    const y = [0, 1.08 * Math.max(...part.counts)];
    let at = null;

    function draw() {
      const drawn = axes(canvas, { x, y, xlabel: part.label, ylabel: "number of seeds" });
      at = drawn.at;
      const pen = drawn.pen;
      const foot = at.y(0);
      pen.fillStyle = shade(part.colour);
      pen.globalAlpha = chosen === null && !pointed ? 0.55 : 0.3;
      part.counts.forEach((count, k) => {
        const left = at.x(part.edges[k]);
        pen.fillRect(left, at.y(count), at.x(part.edges[k + 1]) - left - 1, foot - at.y(count));
      });
      pen.fillStyle = colourOf("ink");
      pen.globalAlpha = 0.15;
      if (part.ci95) {
        const [from, to] = part.ci95.map(at.x);
        pen.fillRect(from, MARGIN.top, to - from, foot - MARGIN.top);
      }
      pen.globalAlpha = 1;
      const upright = (value, height, width, colour) => {
        pen.strokeStyle = colour;
        pen.lineWidth = width;
        line(pen, [[at.x(value), foot], [at.x(value), foot - height]]);
      };
      for (const value of part.values) upright(value, 10, 1, colourOf("ink"));
      upright(part.mean, foot - MARGIN.top, 1.5, colourOf("ink"));
      const marked = [...(pointed || []), chosen].filter((seed) => part.seeds.includes(seed));
      for (const seed of marked) {
        const value = part.values[part.seeds.indexOf(seed)];
        upright(value, foot - MARGIN.top, 7, colourOf("card"));
        upright(value, foot - MARGIN.top, 3.5, shade(part.colour));
      }
    }

    function nearest(px) {
      const distances = part.values.map((value) => Math.abs(at.x(value) - px));
      const best = distances.indexOf(Math.min(...distances));
      return distances[best] < NEAR ? [part.seeds[best]] : null;
    }

    function tell(seed) {
      const k = part.seeds.indexOf(seed);
      return k < 0 ? "" : `${part.label} ${told(part.values[k])}, place ${part.rank[k]} of ${part.of} from the lowest`;
    }
    return { draw, nearest, tell, seeds: part.seeds };
  }

  // A loss over a plane, which turns; the faces are drawn from the farthest to the nearest.
  function surfaceView(part, canvas) {
    let [turn, tilt] = [-0.65, 0.5];
    const level = (loss) => (part.log ? Math.log(loss) : loss);
    const finite = part.loss.flat().filter((loss) => loss !== null);
    const [low, high] = [level(Math.min(...finite)), level(Math.max(...finite))];
    const height = (loss) => (loss === null ? null : (level(loss) - low) / (high - low || 1));
    const scale = (value, values) => (2 * (value - values[0])) / (values.at(-1) - values[0]) - 1;
    const xs = part.x.map((value) => scale(value, part.x));
    const ys = part.y.map((value) => scale(value, part.y));
    const heights = part.loss.map((row) => row.map(height));
    canvas.classList.add("turns");
    canvas.tabIndex = 0;

    function draw() {
      const { pen, width, height: tall } = prepare(canvas);
      const size = Math.min((width - 76) / 2.83, tall / 2.7);
      const [sine, cosine] = [Math.sin(turn), Math.cos(turn)];
      const [up, flat] = [Math.cos(tilt), Math.sin(tilt)];
      const place = (x, y, h) => {
        const [across, deep] = [x * cosine - y * sine, x * sine + y * cosine];
        return [width / 2 + size * across, tall * 0.53 - size * (deep * flat + (1.35 * h - 0.6) * up), deep];
      };
      const ink = colourOf("soft");
      const corners = [[-1, -1], [1, -1], [1, 1], [-1, 1]];
      pen.strokeStyle = colourOf("line");
      pen.fillStyle = ink;
      pen.lineWidth = 1;
      line(pen, [...corners, corners[0]].map(([x, y]) => place(x, y, 0)));

      // The vertical axis stands at the corner farthest to the left, the labels at the two nearest sides.
      const [left, side] = corners.reduce((a, b) => (place(...a, 0)[0] <= place(...b, 0)[0] ? a : b));
      line(pen, [place(left, side, 0), place(left, side, 1)]);
      pen.textAlign = "right";
      const losses = [Math.min(...finite), Math.max(...finite)];
      for (const tick of losses[0] === losses[1] ? [losses[0]] : part.log ? logTicks(...losses) : ticks(...losses, 4)) {
        const [x, y] = place(left, side, height(tick));
        line(pen, [[x - 5, y], [x, y]]);
        pen.fillText(told(tick), x - 8, y + 4);
      }
      const [x, y] = place(left, side, 1);
      pen.textAlign = "left";
      pen.fillText(part.log ? "loss, log scale" : "loss", Math.max(2, x - 40), Math.max(14, y - 12));

      const faces = [];
      for (let i = 0; i + 1 < xs.length; i++) {
        for (let j = 0; j + 1 < ys.length; j++) {
          const four = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]];
          const tops = four.map(([a, b]) => heights[a][b]);
          if (tops.includes(null)) continue;
          const points = four.map(([a, b], k) => place(xs[a], ys[b], tops[k]));
          const deep = points.reduce((sum, point) => sum + point[2], 0);
          faces.push({ points, deep, mean: tops.reduce((a, b) => a + b) / 4 });
        }
      }
      faces.sort((a, b) => b.deep - a.deep);
      for (const { points, mean } of faces) {
        pen.beginPath();
        points.forEach(([px, py], k) => (k ? pen.lineTo(px, py) : pen.moveTo(px, py)));
        pen.closePath();
        pen.fillStyle = pen.strokeStyle = part.colours[Math.round(mean * (part.colours.length - 1))];
        pen.fill();
        pen.stroke();
        pen.strokeStyle = "rgb(255 255 255 / 0.35)";
        pen.lineWidth = 0.6;
        pen.stroke();
        pen.lineWidth = 1;
      }

      const way = part.path.filter(([, , loss]) => loss !== null);
      const drawn = way.map(([a, b, loss]) => place(scale(a, part.x), scale(b, part.y), height(loss)));
      for (const [colour, wide] of [["#ffffff", 5], ["#000000", 2.2]]) {
        pen.strokeStyle = colour;
        pen.lineWidth = wide;
        line(pen, drawn);
      }
      drawn.forEach(([px, py], k) => {
        const last = k === drawn.length - 1;
        pen.beginPath();
        pen.arc(px, py, last ? 7 : 3, 0, 2 * Math.PI);
        pen.fillStyle = last ? "#D55E00" : "#000000";
        pen.strokeStyle = "#ffffff";
        pen.lineWidth = last ? 2 : 1;
        pen.fill();
        pen.stroke();
      });
      pen.fillStyle = colourOf("ink");
      pen.textAlign = "center";
      const sides = [-1.22, 1.22].flatMap((off) => [[part.xlabel, [0, off]], [part.ylabel, [off, 0]]]);
      for (const [label, [a, b]] of sides) {
        const [px, py, deep] = place(a, b, 0);
        const half = pen.measureText(label).width / 2 + 4;
        const lower = width < 480 && label === part.ylabel ? 38 : 8; // else they meet
        if (deep < 0) pen.fillText(label, Math.min(Math.max(px, half), width - half), Math.min(py + lower, tall - 6));
      }
    }

    function rotate(across, down) {
      turn += across;
      tilt = Math.min(Math.max(tilt + down, 0.08), 1.5);
      draw();
    }
    let held = null;
    canvas.addEventListener("pointerdown", (event) => {
      held = [event.clientX, event.clientY];
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!held) return;
      rotate((event.clientX - held[0]) / 150, (event.clientY - held[1]) / 150);
      held = [event.clientX, event.clientY];
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (held = null));
    canvas.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[event.key];
      if (!way) return;
      event.preventDefault();
      rotate(...way);
    });
    return { draw, seeds: [] };
  }

  const VIEWS = { Panel: panelView, Histogram: histogramView, Surface: surfaceView };

  function build(figure, data) {
    const picture = figure.querySelector(".scroll");
    const alt = figure.querySelector("img").alt;
    const legend = new Map(data.parts.flatMap((part) => part.series || []).map((series) => [series.name, series]));
    const box = Object.assign(document.createElement("div"), { className: "drawn" });
    if (legend.size) {
      const list = Object.assign(document.createElement("div"), { className: "legend" });
      for (const [name, series] of legend) {
        const item = element("span", list);
        const swatch = element("i", item, { className: series.band ? "" : "dashed" });
        item.append(name);
        views.push({ seeds: [], draw: () => (swatch.style.color = shade(series.colour)) });
      }
      picture.before(list);
    }
    picture.before(box);
    const own = data.parts.map((part) => {
      const canvas = element("canvas", box);
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", alt);
      const view = VIEWS[part.kind](part, canvas);
      if (view.nearest) listen(canvas, view);
      views.push(view);
      return view;
    });
    const turns = own.some((view) => !view.nearest);
    const said = Object.assign(document.createElement("p"), { className: "told" });
    if (!turns) said.setAttribute("role", "status");
    box.after(said);
    views.push({
      seeds: [],
      draw() {
        const seed = pointed ? pointed[0] : chosen;
        const parts = seed === null ? [] : own.map((view) => view.tell?.(seed)).filter(Boolean);
        const hint = turns
          ? "Drag it to turn it, or use the arrow keys."
          : "Click a seed, or choose it at the head of the page, to single it out in all figures.";
        said.textContent = parts.length ? `Seed ${seed}: ${parts.join("; ")}.` : hint;
      },
    });
    if (data.whole) {
      const plain = document.createElement("details");
      element("summary", plain, { textContent: "The plain figure" });
      picture.before(plain);
      plain.append(picture);
    }
  }

  function listen(canvas, view) {
    const under = (event) => {
      const { left, top } = canvas.getBoundingClientRect();
      return view.nearest(event.clientX - left, event.clientY - top);
    };
    const point = (seeds) => {
      pointed = seeds;
      draw();
    };
    canvas.addEventListener("pointermove", (event) => event.pointerType === "mouse" && point(under(event)));
    canvas.addEventListener("pointerleave", () => point(null));
    canvas.addEventListener("click", (event) => {
      const seeds = under(event);
      choose(seeds && seeds[0] !== chosen ? seeds[0] : null);
    });
  }

  let waiting = false;
  function draw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      for (const view of views) view.draw();
    });
  }

  let picker = null;
  function choose(seed) {
    chosen = seed;
    if (picker) picker.value = seed ?? "";
    draw();
  }

  for (const data of document.querySelectorAll('figure script[type="application/json"]')) {
    build(data.closest("figure"), JSON.parse(data.textContent));
  }
  const seeds = [...new Set(views.flatMap((view) => view.seeds))].sort((a, b) => a - b);
  if (seeds.length) {
    const label = element("label", document.querySelector("nav > div"), { textContent: "Seed " });
    picker = element("select", label);
    element("option", picker, { value: "", textContent: "all" });
    for (const seed of seeds) element("option", picker, { value: seed, textContent: seed });
    picker.addEventListener("change", () => choose(picker.value === "" ? null : Number(picker.value)));
  }
  addEventListener("resize", draw);
  dark.addEventListener("change", draw);
  for (const view of views) view.draw();
})();
