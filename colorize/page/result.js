// The photograph before and after, what is told of it, and the colors that a person sets on it: props.value is
// {name, told, before, after, width, height, hints: [{x, y, color}]}, places in shares of width and height.
const stage = element.querySelector(".compare");
const [before, after] = stage.querySelectorAll("img");
const range = stage.querySelector("input");
const marks = stage.querySelector(".marks");
const cross = stage.querySelector(".cross");
const place = element.querySelector(".place");
const color = element.querySelector("input[type=color]");
const undo = element.querySelector(".undo");
const none = element.querySelector(".none");
const how = element.querySelector(".how");
const HOW = {
  false: "",
  true: "Click where the color belongs: it spreads within its region. By keyboard: arrow keys move the cross, Enter sets.",
};
let at = {x: 0.5, y: 0.5};

compare(stage);

function placing(on) {
  place.setAttribute("aria-pressed", on);
  stage.classList.toggle("placing", on);
  cross.hidden = !on;
  how.textContent = HOW[on];
  if (on) cross.focus({preventScroll: true});
}

function move(x, y) {
  at = {x: Math.min(Math.max(x, 0), 1), y: Math.min(Math.max(y, 0), 1)};
  cross.style.left = 100 * at.x + "%";
  cross.style.top = 100 * at.y + "%";
  cross.setAttribute("aria-label", `Set the color at ${Math.round(100 * at.x)} percent from the left, `
    + `${Math.round(100 * at.y)} percent from the top`);
}

const set = () => trigger("hint", {act: "add", ...at, color: color.value});

place.addEventListener("click", () => placing(place.getAttribute("aria-pressed") === "false"));
undo.addEventListener("click", () => trigger("hint", {act: "undo"}));
none.addEventListener("click", () => trigger("hint", {act: "none"}));
for (const swatch of element.querySelectorAll(".swatch"))
  swatch.addEventListener("click", () => { color.value = swatch.dataset.color; placing(true); });
color.addEventListener("change", () => placing(true));
stage.addEventListener("click", event => {
  if (!stage.classList.contains("placing") || event.target.closest("button")) return;
  const box = stage.getBoundingClientRect();
  move((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  set();
});
cross.addEventListener("click", set);
element.addEventListener("keydown", event => { if (event.key === "Escape") { placing(false); place.focus(); } });
cross.addEventListener("keydown", event => {
  const way = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
  if (!way) return;
  event.preventDefault();
  const step = event.shiftKey ? 0.1 : 0.01;
  move(at.x + step * way[0], at.y + step * way[1]);
});
element.querySelector(".full").addEventListener("click", () => stage.requestFullscreen());
element.querySelector(".remove").addEventListener("click", () => trigger("drop_this"));

function mark(hint, i) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "mark";
  made.title = `Remove the color ${hint.color} from here`;
  made.setAttribute("aria-label", `Remove the color ${hint.color}, ${Math.round(100 * hint.x)} percent from the left, `
    + `${Math.round(100 * hint.y)} percent from the top`);
  made.style.cssText = `left: ${100 * hint.x}%; top: ${100 * hint.y}%; background: ${hint.color}`;
  made.addEventListener("click", () => trigger("hint", {act: "remove", index: i}));
  return made;
}

function render() {
  const shown = props.value;
  element.querySelector(".result").hidden = !shown;
  if (!shown) return;
  if (before.alt !== `${shown.name}, grey`) placing(false);
  before.src = shown.before;
  before.alt = `${shown.name}, grey`;
  after.src = shown.after;
  after.alt = `${shown.name}, in color`;
  stage.style.setProperty("--ratio", shown.width / shown.height);
  range.setAttribute("aria-label", `How much of ${shown.name} is shown in grey`);
  const [head, ...notes] = shown.told;
  element.querySelector("#caption p").textContent = head;
  element.querySelector("#caption ul").replaceChildren(...notes.map(note => {
    const line = document.createElement("li");
    line.textContent = note;
    return line;
  }));
  element.querySelector(".remove").setAttribute("aria-label", `Remove ${shown.name} from the page`);
  element.querySelector(".full").setAttribute("aria-label", `Show ${shown.name} on the full screen`);
  marks.replaceChildren(...shown.hints.map(mark));
  undo.disabled = none.disabled = !shown.hints.length;
}

move(0.5, 0.5);
watch("value", render);
render();
