
// Who is about to leave with photographs on the page is asked first. Gradio closes its connection without waiting for
// the answer, and all would be deleted though the person stays: not so. Who does leave closes it by that.
const leaving = () => document.querySelector("#slider .result:not([hidden])");
window.addEventListener("beforeunload", event => { if (leaving()) event.preventDefault(); });
const abort = AbortController.prototype.abort;
AbortController.prototype.abort = function (reason) {
  if (!(window.event?.type === "beforeunload" && leaving())) abort.call(this, reason);
};
