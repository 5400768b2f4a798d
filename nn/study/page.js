const $ = id => document.getElementById(id);
const make = (tag, parent, text, cls) => {
  const e = parent.appendChild(document.createElement(tag));
  if (text !== undefined) e.textContent = text;
  if (cls) e.className = cls;
  return e;
};
const number = n => n.toLocaleString("en");
const ms = t => t < 10 ? t.toFixed(2) : t.toFixed(0);
const layers = data.layers, byName = Object.fromEntries(layers.map(l => [l.name, l]));
const whats = {  // what an operation does, for the reader
  conv3x3: "Each number is a weighted sum over a window of 3 x 3 pixels and all channels below, plus a bias.",
  upsample2x_conv3x3: "Every pixel becomes 2 x 2, then a 3 x 3 convolution follows; computed as four convolutions of " +
    "2 x 2, one for each position in the block.",
  fusion: "At each pixel a weighted sum of its mid-level channels and of the global vector. The vector is the same for " +
    "all pixels, so its part is computed once, and backward its gradient is a sum over the pixels.",
  linear: "Each number is a weighted sum of all numbers of the layer below, plus a bias."};
const whys = {
  low: "Low-level: edges, textures, gradients of light. Local and global way share these layers.",
  mid: "Mid-level: what is where; it keeps the place of things.",
  fusion: "Here what is where meets what the whole picture is.",
  color: "Colorization: from features to a* and b*, twice enlarged on the way.",
  global: "Global: the picture shrinks until a few pixels describe all of it.",
  global_fc: "What the whole picture is like, as one vector: indoors or outdoors, noon or dusk.",
  class: "Scores of the scenes. They teach the global layers in training, and are not needed for color."};
const isMap = l => l.shape.length === 3;

make("p", $("about"), `${data.photo}, its middle square at ${data.side} x ${data.side}; weights: ${data.weights}; ` +
  `computed by ${data.backend}, ${data.dtype}`);

if (!data.trained) $("untrained").hidden = false;

// pictures
let output;
for (const [name, url] of Object.entries(data.outputs)) {
  const ours = name === data.colored, figure = make("figure", $("outputs"), undefined, ours ? "large" : "");
  const frame = make("div", figure, undefined, "seen"), img = make("img", frame);
  img.src = url; img.alt = name;
  make("figcaption", figure, name);
  if (ours) { output = frame; frame.id = "output"; frame.tabIndex = 0; frame.setAttribute("role", "application");
              frame.setAttribute("aria-label", "output picture; arrow keys move the pixel"); }
  if (name === "grey") frame.dataset.layer = "photo";
}

// the network, drawn as in the paper: the way of the picture above, the global branch below
const flows = [["low", "mid", "fusion", "color"], ["global", "global_fc", "class"]];
const titles = {low: "low-level", mid: "mid-level", fusion: "fusion", color: "colorization", global: "global, from low.5",
  global_fc: "fully connected; the last goes to fusion", class: "classes, from global_fc.1"};
const thumb = l => isMap(l) ? 2.1 + 0.6 * Math.max(0, Math.log2(64 * l.shape[0] / data.side) - 1) : 2.8;  // rem
for (const [row, parts] of flows.entries()) {
  const flow = make("div", $("network"), undefined, row ? "flow branch" : "flow");
  for (const [k, part] of parts.filter(p => layers.some(l => l.part === p)).entries()) {
    if (k && part !== "class") make("span", flow, "→");
    const box = make("div", flow, undefined, "part");
    make("b", box, titles[part]);
    const nodes = make("div", box, undefined, "nodes");
    for (const l of layers.filter(l => l.part === part)) {
      const b = make("button", nodes), seen = make("div", b, undefined, "seen pixels");
      b.id = "layer-" + l.name; b.setAttribute("aria-expanded", "false");
      seen.style.width = seen.style.height = thumb(l) + "rem";
      seen.style.backgroundImage = `url(${l.maps})`;
      if (isMap(l)) seen.style.backgroundSize = `${l.channels.length * 100}% 100%`;
      seen.dataset.layer = l.name;
      make("span", b, l.name);
      b.onclick = () => open(l);
    }
  }
}

// where a layer reads one that does not stand before it
const links = [["low.5", "global.0"], ["global_fc.2", "fusion"], ["global_fc.1", "class.0"]];
const svg = tag => document.createElementNS("http://www.w3.org/2000/svg", tag);
function connect() {
  const over = $("links"), base = $("network").getBoundingClientRect();
  over.querySelectorAll(":scope > path").forEach(p => p.remove());
  for (const [a, b] of links.filter(pair => pair.every(name => byName[name]))) {
    const path = over.appendChild(svg("path"));
    const [x1, x2] = [a, b].map(name => $("layer-" + name).getBoundingClientRect())
      .map(r => r.left + r.width / 2 - base.left);
    const [from, to] = [a, b].map(name => $("layer-" + name).closest(".part").getBoundingClientRect());
    const down = to.top > from.bottom, up = to.bottom < from.top;
    const y1 = (up ? from.top : from.bottom) - base.top, y2 = (down ? to.top : to.bottom) - base.top;
    const bend = down ? [y1 + 24, y2 - 24] : up ? [y1 - 24, y2 + 24] : [y1 + 24, y2 + 24];
    path.setAttribute("d", `M${x1} ${y1} C${x1} ${bend[0]} ${x2} ${bend[1]} ${x2} ${y2}`);
    path.setAttribute("marker-end", "url(#head)");
  }
}
const over = $("network").appendChild(svg("svg"));
over.id = "links";
over.setAttribute("aria-hidden", "true");
over.innerHTML = '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="5" markerHeight="5" ' +
  'orient="auto"><path d="M0 0 8 4 0 8z"/></marker>';
addEventListener("resize", connect);

function open(l) {
  for (const b of document.querySelectorAll("button")) b.setAttribute("aria-expanded", b.id === "layer-" + l.name);
  const d = $("detail");
  d.replaceChildren();
  make("h3", d, l.name);
  make("p", d, (data.trained ? whys[l.part] + " " : "") + whats[l.op]);
  const facts = {operation: l.op + (l.stride > 1 ? ", stride " + l.stride : ""), activation: l.activation,
    input: l.input.join(" x "), output: l.shape.join(" x "), parameters: number(l.parameters),
    "multiply-adds": number(l.macs), forward: ms(l.forward) + " ms", backward: ms(l.backward) + " ms",
    "gradient (root mean square)": l.gradient.toExponential(2)};
  if (l.dead !== null) facts["channels that are 0 everywhere"] = (100 * l.dead).toFixed(0) + " %";
  const list = make("dl", d);
  for (const [k, v] of Object.entries(facts)) { const pair = make("div", list); make("dt", pair, k); make("dd", pair, v); }
  const place = isMap(l) ? l.shape.slice(0, 2).map(n => n / 2 | 0).join(" ") + " " + l.channels[0][0] : "0 0 0";
  const hint = make("p", d, "One number of it, written out: ", "soft");
  make("code", hint, `ltbc explain ${l.name} ${place} ${data.words}`);
  if (!isMap(l)) {
    make("p", d, "A vector: each stripe is one of its numbers, dark small, bright large.", "soft");
    const img = make("img", d, undefined, "pixels"); img.src = l.maps; img.alt = "the vector";
    img.style.cssText = "width:100%;height:2.2rem;border-radius:4px";
    return;
  }
  make("p", d, "The maps of most variance, each from its smallest value (dark) to its largest (bright). Beside each the " +
    "loss's derivative by it: where the loss falls if the map grows (blue), or rises (orange). Below: channel, " +
    "standard deviation.", "soft");
  const maps = make("div", d, undefined, "maps"), n = l.channels.length;
  l.channels.forEach(([c, std], k) => {
    const one = make("div", maps), pair = make("div", one, undefined, "pair");
    const tile = make("div", pair, undefined, "map pixels"), slope = make("div", pair, undefined, "pixels");
    slope.style.background = `url(${l.gradients}) ${n > 1 ? 100 * k / (n - 1) : 0}% 0 / ${n * 100}% 100%`;
    slope.title = "the loss's derivative by this map";
    tile.style.background = `url(${l.maps}) ${n > 1 ? 100 * k / (n - 1) : 0}% 0 / ${n * 100}% 100%`;
    make("span", one, `${c}: ${std.toPrecision(2)}`);
    makeChoosable(tile, l, k);
  });
  make("p", d, "Point at a map for its values; choose a pixel to see what it is made of.", "soft").id = "hover";
  make("section", d).id = "pixel";
}

const way = ["low", "mid", "fusion", "color"], order = l => way.indexOf(l.part) * 100 + layers.indexOf(l);
// receptive fields: rows lo..hi of a layer's output, back to rows of its input
function back(l, [lo, hi]) {
  if (l.op === "upsample2x_conv3x3") return [Math.floor((lo - 1) / 2), Math.floor((hi + 1) / 2)];
  if (l.op === "conv3x3") return [lo * l.stride - 1, hi * l.stride + 1];
  return [lo, hi];
}
const clip = ([lo, hi], n) => [Math.max(0, lo), Math.min(n - 1, hi)];
function fields(i, j) {
  const found = {};
  let rows = [i, i], columns = [j, j];
  for (const l of layers.filter(l => way.includes(l.part)).sort((a, b) => order(b) - order(a))) {
    [rows, columns] = [clip(rows, l.shape[0]), clip(columns, l.shape[1])];
    found[l.name] = [rows, columns, l.shape[0]];
    [rows, columns] = [back(l, rows), back(l, columns)];
  }
  found.photo = [clip(rows, data.side), clip(columns, data.side), data.side];
  for (const l of layers.filter(l => l.part === "global")) {
    const whole = [0, l.shape[0] - 1];
    found[l.name] = [whole, whole, l.shape[0]];
  }
  return found;
}

const half = data.side / 2;
let at = [half / 2 | 0, half / 2 | 0];
function mark(i, j) {
  at = [Math.max(0, Math.min(half - 1, i)), Math.max(0, Math.min(half - 1, j))];
  const found = fields(...at);
  const put = (frame, [[top, bottom], [left, right], n]) => {
    const box = frame.querySelector("i") || make("i", frame);
    box.style.cssText = `top:${100 * top / n}%;left:${100 * left / n}%;` +
      `height:${100 * (bottom - top + 1) / n}%;width:${100 * (right - left + 1) / n}%`;
  };
  for (const frame of document.querySelectorAll("[data-layer]"))
    if (found[frame.dataset.layer]) put(frame, found[frame.dataset.layer]);
  put(output, [[at[0], at[0]], [at[1], at[1]], half]);
  const [rows, columns] = found.photo;
  $("pointer").textContent = `Output pixel (${at[0]}, ${at[1]}) of ${half} x ${half} sees ` +
    `${rows[1] - rows[0] + 1} x ${columns[1] - columns[0] + 1} pixels of the picture` +
    (byName["global.0"] ? ", and all of it through the global vector." : ".");
}
output.onpointermove = e => {
  const box = output.getBoundingClientRect();
  mark(Math.floor((e.clientY - box.top) / box.height * half), Math.floor((e.clientX - box.left) / box.width * half));
};
output.onpointerdown = output.onpointermove;  // touch
output.onkeydown = e => {
  const step = ARROWS[e.key];
  if (step) { e.preventDefault(); mark(at[0] + step[0], at[1] + step[1]); }
};

$("follow").onclick = () => {
  const last = byName["color.4"];
  open(last); choose(last, 0, ...at); $("detail").scrollIntoView({block: "start"});
};

// fusion, classes, costs
const percent = x => (100 * x).toFixed(0) + " %";
if (data.fusion) {
  const f = data.fusion, box = $("fusion");
  make("h2", box, "Where the fusion layer's values come from");
  make("p", box, `At each pixel the global vector adds the same ${f.global.toPrecision(3)} (mean size over the ` +
    `channels), the mid-level features add ${f.mid_range[0].toPrecision(3)} to ${f.mid_range[1].toPrecision(3)}. The ` +
    `global share is ${percent(f.mean)} on average. Where it is high, color follows from what the whole picture is ` +
    `taken for; where it is low, from what stands there.`);
  const row = make("div", box, undefined, "row");
  for (const [url, text] of [[data.outputs[data.colored], data.colored], [f.mid, "what the mid-level features add (dark: least, bright: most)"],
      [f.share, `share of the global vector: dark ${percent(f.range[0])}, bright ${percent(f.range[1])}`]]) {
    const figure = make("figure", row), img = make("img", figure, undefined, "pixels");
    img.src = url; img.alt = text; make("figcaption", figure, text);
  }
}
if (data.forks) {
  const box = $("forks"), exponent = x => x ? x.toExponential(1) : "–";
  make("h2", box, "Where the gradients meet");
  make("p", box, "Two layers are read twice, so on the way back two gradients add up there. How much comes along each way, " +
    "and from which loss (root mean squares; the scene's loss counts 1/300):");
  const table = make("table", make("div", box, undefined, "scroll"), undefined, "narrow"), head = make("tr", table);
  for (const h of ["meets at", "comes back from", "of the colors' loss", "of the scene's loss"]) make("th", head, h);
  const at = {"global vector": "global_fc.1", "class scores": "global_fc.1", "mid-level": "low.5", "global branch": "low.5"};
  for (const [name, sizes] of Object.entries(data.forks)) {
    const tr = make("tr", table);
    for (const text of [at[name], name, ...sizes.map(exponent)]) make("td", tr, text);
  }
}
if (data.classes) {
  make("h2", $("classes"), "What scene it takes it for");
  const table = make("table", make("div", $("classes"), undefined, "scroll"), undefined, "narrow");
  for (const [name, p] of data.classes) {
    const tr = make("tr", table);
    make("td", tr, name); make("td", tr, (100 * p).toFixed(1) + " %");
    make("span", make("td", tr, undefined, "left"), undefined, "bar").style.width = 8 * p + "rem";
  }
}
const slowest = Math.max(...layers.flatMap(l => [l.forward, l.backward]));
const head = make("tr", $("costs"));
for (const h of ["layer", "output", "forward ms", "backward ms", "both", "multiply-adds", "parameters", "gradient"])
  make("th", head, h, h === "both" ? "left" : "");
for (const l of layers) {
  const tr = make("tr", $("costs"));
  const cells = [l.name, l.shape.join(" x "), ms(l.forward), ms(l.backward)];
  for (const t of cells) make("td", tr, t);
  const bars = make("td", tr, undefined, "left");
  make("span", bars, undefined, "bar").style.width = 5 * l.forward / slowest + "rem";
  make("span", bars, undefined, "bar back").style.width = 5 * l.backward / slowest + "rem";
  for (const t of [number(l.macs), number(l.parameters), l.gradient.toExponential(1)]) make("td", tr, t);
}
for (const box of document.querySelectorAll(".scroll")) {
  box.tabIndex = 0; box.setAttribute("role", "region");
  box.setAttribute("aria-label", box.querySelector("table").id === "costs" ? "costs of the layers" : box.parentElement.id);
}
if (data.left_out.length) make("p", $("about"), `Left out, to keep this page below 5 MB: the sums behind pixels of ` +
  `${data.left_out.join(", ")} (ltbc explain writes them out).`);
$("loss").textContent = "The loss compares with the photograph's own colors" +
  (data.label === null ? "." : ` and with the scene “${data.label}”` +
    (data.guessed ? ", which the network finds most likely" : "") + " (choose another with --label).");
open(layers[0]);
connect();
mark(...at);
