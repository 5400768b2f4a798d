// Small photographs to choose from: {items: [{name, url, told}], at: which one is shown, removable}.
const list = element.querySelector("ul");

function button(label, kind, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = kind;
  made.title = label;
  made.setAttribute("aria-label", label);
  made.addEventListener("click", act);
  return made;
}

function render() {
  const {items = [], at = -1, removable = false} = props.value || {};
  const focused = [...list.querySelectorAll("button")].indexOf(document.activeElement);
  list.replaceChildren(...items.map((item, i) => {
    const entry = document.createElement("li");
    const show = button(`Show ${item.name}` + (item.told ? `, ${item.told}` : ""), "thumbnail-item",
      () => trigger("turn", {index: i}));
    if (i === at) show.setAttribute("aria-current", "true");
    const image = document.createElement("img");
    image.src = item.url;
    image.alt = item.name;
    show.append(image);
    if (item.told) {
      const badge = document.createElement("span");
      badge.className = "badge";
      badge.textContent = "i";
      badge.ariaHidden = "true";
      show.append(badge);
    }
    entry.append(show);
    if (removable) {
      const remove = button(`Remove ${item.name}`, "remove", () => trigger("drop_one", {index: i}));
      remove.textContent = "\u00d7";
      entry.append(remove);
    }
    return entry;
  }));
  list.hidden = !items.length;
  if (focused >= 0) list.querySelectorAll("button")[focused]?.focus({preventScroll: true});
}

watch("value", render);
render();
