// A photograph in grey before the same in color, and a line between them that the pointer and the arrow keys move.
// Also in the files that colorize/before_after.py writes.
function compare(stage) {
  const range = stage.querySelector("input[type=range]");
  const show = () => {
    stage.style.setProperty("--at", range.value + "%");
    range.setAttribute("aria-valuetext", Math.round(range.value) + " percent grey");
  };
  const follow = event => {
    const box = stage.getBoundingClientRect();
    range.value = 100 * (event.clientX - box.left) / box.width;
    show();
  };
  range.addEventListener("input", show);
  stage.addEventListener("pointerdown", event => {
    if (event.button || event.target.closest("button") || stage.classList.contains("placing")) return;
    event.preventDefault();
    range.focus({preventScroll: true});
    stage.setPointerCapture(event.pointerId);
    follow(event);
  });
  stage.addEventListener("pointermove", event => {
    if (stage.hasPointerCapture(event.pointerId)) follow(event);
  });
  show();
}
