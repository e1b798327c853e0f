// Before the first paint: the theme that was chosen here, else the system's. Not a module, so that nothing flashes.
"use strict";
(() => {
  const root = document.documentElement;
  try {
    const chosen = localStorage.getItem("karst-theme");
    if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
  } catch {
    // No storage: the system's theme.
  }
  // A script that did not arrive would leave an empty page without a word.
  addEventListener(
    "error",
    (event) => {
      if (event.target?.localName !== "script") return;
      const note = document.createElement("p");
      note.textContent = "This page could not be loaded whole. Reload it.";
      note.setAttribute("role", "alert");
      document.getElementById("main")?.append(note);
    },
    true,
  );
})();
