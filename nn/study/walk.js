// A guided walk: stops in the order of the picture's way, by button, arrow keys or touch; then everyone roams.
const layerCard = () => innerWidth < 640 && document.querySelector("#detail .maps") || $("detail");
const STOPS = [
  {title: "A grey picture", show: () => document.querySelector("[data-layer=photo]"), text:
    "This is all that the network is given: for each pixel one number, how bright it is. Everything else it must guess."},
  {layer: "low.0", title: "The first filters", text:
    "Small windows of 3 x 3 pixels slide over the picture. Each filter weighs the nine numbers and adds them up: some " +
    "answer to edges, some to bright or dark spots. Each map shows where one filter answers."},
  {layer: "low.5", title: "Smaller and richer", text:
    "Six layers later the side is an eighth, but there are many maps: each number now sees a large part of the picture, " +
    "and answers to mixtures of what the layers before found."},
  {layer: "global.3", title: "The way of the whole picture", text:
    "Here the ways part. One goes on shrinking until a few pixels describe everything: is it indoors, is it a landscape?"},
  {layer: "global_fc.2", title: "One vector", text:
    "Where things stand is given up now. The whole picture has become one list of numbers, drawn as stripes."},
  {layer: "class.1", title: "A guess at the scene", show: () => $("classes"), text:
    "From nearly the same numbers the network names the scene. Colors do not need that name, but learning it taught the " +
    "global layers what pictures are about."},
  {layer: "mid.1", title: "The way of every place", text:
    "The other way kept the maps: what is where. It knows a texture like grass, but not whether it is noon or dusk."},
  {layer: "fusion", title: "Both meet", show: () => $("fusion"), text:
    "At every pixel the vector of the whole picture is added to what stands there. The maps below show at which places the " +
    "one or the other counts more."},
  {layer: "color.1", title: "Growing again", text:
    "Each pixel becomes 2 x 2, twice in all, and the maps turn from features into colors. Choose a pixel of a map: its " +
    "window, its filter and the sum are written out."},
  {title: "Colors", show: () => output, text:
    "Two numbers a pixel, a* (green to red) and b* (blue to yellow), joined with the brightness that was there from the " +
    "start. Move over the picture to see what each pixel looked at. From here on, roam."},
].filter(stop => !stop.layer || byName[stop.layer]);

let stopAt = -1;
function walkTo(k) {
  document.querySelectorAll(".here").forEach(e => e.classList.remove("here"));
  stopAt = k;
  $("stop").hidden = k < 0;
  document.body.classList.toggle("walking", k >= 0);
  if (k < 0) return $("walk").focus();
  const stop = STOPS[k];
  if (stop.layer) open(byName[stop.layer]);
  const there = (stop.show || layerCard)();
  there.classList.add("here");
  there.scrollIntoView({block: there.offsetHeight > innerHeight / 2 ? "start" : "center"});
  $("stop-title").textContent = `${k + 1} of ${STOPS.length}: ${stop.title}`;
  $("stop-text").textContent = stop.text;
  $("before").disabled = k === 0;
  $("after").textContent = k === STOPS.length - 1 ? "Roam" : "Next";
}
const after = () => walkTo(stopAt < STOPS.length - 1 ? stopAt + 1 : -1);
$("walk").textContent = `Take the walk: ${STOPS.length} stops`;
$("walk").onclick = () => { walkTo(0); $("after").focus({preventScroll: true}); };
$("before").onclick = () => walkTo(stopAt - 1);
$("after").onclick = after;
$("leave").onclick = () => walkTo(-1);
$("stop").onkeydown = e => {
  if (e.key === "ArrowRight") after();
  else if (e.key === "ArrowLeft" && stopAt > 0) walkTo(stopAt - 1);
  else if (e.key === "Escape") walkTo(-1);
};
document.body.dataset.ready = Math.round(performance.now());
