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
})();
