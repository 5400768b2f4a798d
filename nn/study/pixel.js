const data = /*DATA*/null;
// A pixel of a map, written out: its window, the filter, the products and their sum, from the layer below.
const float16 = h => {  // a 16-bit float
  const e = h >> 10 & 31, m = h & 1023, sign = h >> 15 ? -1 : 1;
  return sign * (e ? (e === 31 ? (m ? NaN : Infinity) : 2 ** (e - 15) * (1 + m / 1024)) : 2 ** -14 * m / 1024);
};
const unpacked = {};
function floats(layer, kind) {
  return unpacked[layer + kind] ??= Float32Array.from(new Uint16Array(
    Uint8Array.from(atob(data.values[layer][kind]), c => c.charCodeAt(0)).buffer), float16);
}
const stored = (layer, i, j, c) => {
  const [, width, channels] = data.values[layer].shape;
  return floats(layer, "y")[(i * width + j) * channels + c];
};
const told = layer => byName[layer].maps && data.values[layer]?.w !== undefined;
const SETS = [[[0], [1, 2]], [[0, 1], [2]]];  // taps summed into v_pq: kernels/upsample2x_conv3x3/README.md, (2)

// [{source, channel, size, cells: [{x, w, at}], sum}], the largest sums first: what the pixel adds up, channel by channel
function contributions(l, k, i, j) {
  const w = floats(l.name, "w"), n = l.channels.length, reads = data.values[l.name].reads, found = [];
  const weight = (tap, cin, c) => w[(tap * cin + c) * n + k];
  const group = (source, channel, size, cells) =>
    found.push({source, channel, size, cells, sum: cells.reduce((s, cell) => s + cell.x * cell.w, 0)});
  const [height, width, cin] = data.values[reads[0]].shape;
  const seen = (h, m, c) => h >= 0 && m >= 0 && h < height && m < width ? stored(reads[0], h, m, c) : 0;
  if (l.op === "conv3x3" || l.op === "upsample2x_conv3x3") {
    const up = l.op !== "conv3x3", size = up ? 2 : 3, [p, q] = [i % 2, j % 2];
    for (let c = 0; c < cin; c++) {
      const cells = [];
      for (let r = 0; r < size; r++) for (let s = 0; s < size; s++) {
        const at = up ? [(i >> 1) + p + r - 1, (j >> 1) + q + s - 1] : [i * l.stride + r - 1, j * l.stride + s - 1];
        const taps = up ? SETS[p][r].flatMap(a => SETS[q][s].map(b => 3 * a + b)) : [3 * r + s];
        cells.push({x: seen(...at, c), w: taps.reduce((sum, tap) => sum + weight(tap, cin, c), 0), at});
      }
      group(reads[0], c, size, cells);
    }
  } else {  // fusion: the vector's channels come first in w; without global branch there is no vector
    const vector = reads[1] ? data.values[reads[1]].shape[2] : 0;
    for (let c = 0; c < vector; c++)
      group(reads[1], c, 1, [{x: stored(reads[1], 0, 0, c), w: weight(0, 0, c), at: [0, 0]}]);
    for (let c = 0; c < cin; c++) group(reads[0], c, 1, [{x: seen(i, j, c), w: weight(0, 0, vector + c), at: [i, j]}]);
  }
  return found.sort((a, b) => Math.abs(b.sum) - Math.abs(a.sum));
}
const short = (x, digits = 3) => x === 0 ? "0" : Math.abs(x) >= 100 ? x.toFixed(0) :
  Math.abs(x) >= 0.001 ? x.toPrecision(digits) : x.toExponential(digits - 2);
const acts = {relu: z => Math.max(0, z), sigmoid: z => 1 / (1 + Math.exp(-z)), none: z => z};

// a small table of numbers, stronger colored the larger they are
function grid(parent, values, size, caption) {
  const most = Math.max(...values.map(Math.abs)) || 1, box = make("figure", parent, undefined, "grid");
  const table = make("table", box);
  for (let r = 0; r < size; r++) {
    const tr = make("tr", table);
    for (let s = 0; s < size; s++) {
      const v = values[r * size + s], td = make("td", tr, short(v, 2));
      const share = 55 * Math.abs(v) / most;
      td.style.background = `color-mix(in srgb, var(${v < 0 ? "--minus" : "--plus"}) ${share}%, transparent)`;
      td.title = String(v);
    }
  }
  make("figcaption", box, caption);
}

const LARGEST = 4;
function explainPixel(l, k, i, j) {
  const box = $("pixel"), [channel] = l.channels[k], y = data.values[l.name] && stored(l.name, i, j, channel);
  box.replaceChildren();
  make("h3", box, `${l.name}, channel ${channel}, row ${i}, column ${j}` + (y === undefined ? "" : `: ${short(y)}`));
  if (!told(l.name)) {
    make("p", box, "The filters of this layer were left out, to keep the page small. The command below writes them out.");
  } else {
    const found = contributions(l, k, i, j), b = data.values[l.name].b[k], z = found.reduce((s, g) => s + g.sum, b);
    const count = found.reduce((s, g) => s + g.cells.length, 0);
    make("p", box, `The sum of ${number(count)} products and a bias. By channel of the layer below, the largest first; ` +
      "choose one to go there:");
    for (const g of found.slice(0, LARGEST)) {
      const row = make("div", box, undefined, "products");
      const name = g.source === "photo" ? "the picture" : `${g.source}, channel ${g.channel}`;
      const middle = g.cells[g.cells.length >> 1].at, there = byName[g.source];
      const where = there?.channels?.findIndex(([c]) => c === g.channel) ?? -1;
      if (where >= 0) {
        const go = make("button", row, name, "go");
        const inside = middle.map((n, axis) => Math.max(0, Math.min(there.shape[axis] - 1, n)));
        go.onclick = () => { open(there); choose(there, where, ...inside); };
      } else make("span", row, name, "go");
      grid(row, g.cells.map(c => c.x), g.size, g.size > 1 ? "window" : "value");
      make("span", row, "×");
      grid(row, g.cells.map(c => c.w), g.size, {3: "filter", 2: "v: sums of weights", 1: "weight"}[g.size]);
      make("span", row, "=");
      grid(row, g.cells.map(c => c.x * c.w), g.size, `sum ${short(g.sum)}`);
    }
    const rest = found.slice(LARGEST), other = rest.reduce((s, g) => s + g.sum, 0);
    const lines = [...(rest.length ? [[`the other ${rest.length} channels`, other]] : []), ["bias", b], ["z, the sum of all", z],
      [l.activation === "none" ? "y = z" : `y = ${l.activation}(z)`, acts[l.activation](z)]];
    const table = make("table", box, undefined, "narrow sums");
    for (const [what, value] of lines) { const tr = make("tr", table); make("td", tr, what); make("td", tr, short(value)); }
    make("p", box, `Stored: ${short(y)}. Numbers here have 11 bits; the command gives all.`, "soft");
  }
  const more = make("p", box, "All of it: ", "soft");
  make("code", more, `ltbc explain ${l.name} ${i} ${j} ${channel} ${data.words}`);
  make("span", more, `. Why: kernels/${l.op}/README.md, equation (1); as code: kernels/${l.op}/reference.py, forward.`);
}

// the chosen pixel of an open layer's map k, marked there
function choose(l, k, i, j) {
  chosen = [l, k, i, j];
  document.querySelectorAll("#detail .map i").forEach(e => e.remove());
  const mark = make("i", document.querySelectorAll("#detail .map")[k]), [height, width] = l.shape;
  mark.style.cssText = `top:${100 * i / height}%;left:${100 * j / width}%;height:${100 / height}%;width:${100 / width}%`;
  explainPixel(l, k, i, j);
}
let chosen = null;

const ARROWS = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
// makes a map's tile answer to pointer, touch and keys
function makeChoosable(tile, l, k) {
  const [height, width] = l.shape, [channel] = l.channels[k];
  const place = e => {
    const box = tile.getBoundingClientRect(), clip = (x, n) => Math.max(0, Math.min(n - 1, Math.floor(x * n)));
    return [clip((e.clientY - box.top) / box.height, height), clip((e.clientX - box.left) / box.width, width)];
  };
  tile.tabIndex = 0;
  tile.setAttribute("role", "button");
  tile.setAttribute("aria-label", `channel ${channel}: Enter chooses a pixel, arrow keys move it`);
  tile.onclick = e => choose(l, k, ...(e.detail ? place(e) : [height >> 1, width >> 1]));
  tile.onpointermove = e => {
    const [i, j] = place(e);
    if (data.values[l.name])
      $("hover").textContent = `${l.name}[${i}, ${j}, ${channel}] = ${short(stored(l.name, i, j, channel))}`;
  };
  tile.onkeydown = e => {
    const step = {...ARROWS, Enter: [0, 0], " ": [0, 0]}[e.key];
    if (!step) return;
    e.preventDefault();
    const [i, j] = chosen?.[0] === l && chosen[1] === k ? chosen.slice(2) : [height >> 1, width >> 1];
    choose(l, k, Math.max(0, Math.min(height - 1, i + step[0])), Math.max(0, Math.min(width - 1, j + step[1])));
  };
}
