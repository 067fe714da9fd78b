// Sets the theme before the first paint, then starts the app, again and again until it runs: an agent that stalls or is
// restarted meanwhile leaves a page that says so, never an empty one. Runs before the page is parsed: no document.body here.
(function () {
  var root = document.documentElement, here = document.currentScript.src, words = "";
  try {
    var theme = localStorage.getItem("muster.theme"), density = localStorage.getItem("muster.density");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    if (density === "compact" || density === "roomy") root.dataset.density = density;
  } catch (e) { /* storage may be forbidden: the system's theme it is */ }
  // Only the static page has this place.
  var show = function () {
    var place = document.querySelector(".boot .say");
    if (place && words) place.textContent = words;
  };
  var say = function (text) { words = text; show(); };
  // The app replaces the static page, so it must not be quicker than the rest of the page that carries it.
  var parsed = new Promise(function (yes) { document.addEventListener("DOMContentLoaded", yes); });
  parsed.then(show);
  var start = function (tries) {
    // A module that failed once is never asked for again under the same name.
    var name = tries ? "?" + tries : "";
    var slow = setTimeout(say, 3000, "The agent is slow to send the dashboard. Waiting for it.");
    var late = new Promise(function (_, no) { setTimeout(no, 30000, "it did not come within 30 s"); });
    var app = Promise.all([import("./{{app.js}}" + name), parsed]).then(function (both) {
      return both[0].default({ module_or_path: new URL("{{app.wasm}}" + name, here) });
    });
    Promise.race([app, late]).catch(function (error) {
      console.warn(error);
      if (typeof WebAssembly !== "object") return say("The dashboard needs WebAssembly, which this browser does not have.");
      say("The dashboard could not be loaded from the agent: " + error + ". Trying again.");
      setTimeout(start, 2000, tries + 1);
    }).then(function () { clearTimeout(slow); });
  };
  start(0);
})();
