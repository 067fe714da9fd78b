// Sets the theme before the first paint, then starts the app. Runs before the page is parsed: no document.body here.
(function () {
  var root = document.documentElement, here = document.currentScript.src;
  try {
    var theme = localStorage.getItem("muster.theme"), density = localStorage.getItem("muster.density");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    if (density === "compact" || density === "roomy") root.dataset.density = density;
  } catch (e) { /* storage may be forbidden: the system's theme it is */ }
  import("./{{app.js}}")
    .then(function (app) { return app.default({ module_or_path: new URL("{{app.wasm}}", here) }); })
    .catch(function (error) {
      console.error(error);
      var say = function () {
        var main = document.querySelector("main"), text = document.createElement("p");
        text.className = "page";
        text.setAttribute("role", "alert");
        text.textContent = "The dashboard could not start in this browser: " + error;
        if (main && document.querySelector(".boot")) main.append(text);
      };
      document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", say) : say();
    });
})();
