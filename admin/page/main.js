// The frame: sections, who is signed in, the run under way, the theme.

import { get } from "./api.js";
import * as banner from "./banner.js";
import { announce, h, put } from "./dom.js";
import * as me from "./me.js";
import * as session from "./session.js";
import { showSignIn } from "./sign-in.js";
import { showCertificates } from "./certificates.js";
import { showEditor } from "./editor.js";
import { showGraph } from "./graph.js";
import { showLogs } from "./logs.js";
import { showRun } from "./run.js";
import { showRuns } from "./runs.js";
import { showServices } from "./services.js";

const SECTIONS = [
  ["services", "Services"],
  ["graph", "Graph"],
  ["deploys", "Deploys"],
  ["logs", "Logs"],
  ["certificates", "Certificates"],
];
const ROUTES = [
  [/^#\/services$/, "Services", showServices],
  [/^#\/graph$/, "Graph", showGraph],
  [/^#\/deploys$/, "Deploys", showRuns],
  [/^#\/deploys\/([0-9a-z-]+)$/, "Deploy", showRun],
  [/^#\/new(?:\/([0-9a-z-]+))?$/, "New deploy", showEditor],
  [/^#\/logs(?:\/([a-z0-9-]+))?$/, "Logs", showLogs],
  [/^#\/certificates$/, "Certificates", showCertificates],
];

const main = document.getElementById("main");
const nav = document.getElementById("nav");
let leave = new AbortController();
let first = true;

function show() {
  leave.abort();
  leave = new AbortController();
  if (!session.signedIn()) {
    frame(false);
    document.title = "Sign in – KarstKit";
    put(main, showSignIn(start));
    return;
  }
  const hash = location.hash || "#/services";
  const found = ROUTES.map(([pattern, title, view]) => ({ title, view, match: pattern.exec(hash) })).find(
    (each) => each.match,
  );
  if (!found) {
    location.replace("#/services");
    return;
  }
  frame(true, hash);
  document.title = `${found.title} – KarstKit`;
  const root = h("div", { class: "view" });
  put(main, root);
  found.view(root, { signal: leave.signal, argument: found.match[1] ?? "" });
  if (!first) {
    // As after a page load: whoever listens hears where they are, and the keyboard goes on from the top.
    main.focus({ preventScroll: true });
    window.scrollTo(0, 0);
    announce(found.title);
  }
  first = false;
}

function frame(on, hash = "") {
  nav.hidden = !on;
  document.getElementById("sign-out").hidden = !on;
  if (!on) banner.stop();
  put(
    nav,
    SECTIONS.map(([path, title]) =>
      h(
        "a",
        {
          href: `#/${path}`,
          "aria-current":
            hash.startsWith(`#/${path}`) || (path === "deploys" && hash.startsWith("#/new")) ? "page" : null,
        },
        title,
      ),
    ),
  );
}

/** After signing in, or when a tab is opened that is signed in: who are we, then the view. */
async function start() {
  try {
    me.set(await get("/v1/me"));
  } catch (err) {
    if (session.signedIn()) {
      frame(false);
      put(
        main,
        h(
          "div",
          { class: "card narrow" },
          h("h1", {}, "Not allowed in"),
          h("p", { role: "alert" }, err.message),
          err.hint && h("p", { class: "hint" }, err.hint),
          h(
            "div",
            { class: "actions" },
            h("button", { type: "button", class: "primary", onclick: start }, "Try again"),
            h("button", { type: "button", onclick: () => session.signOut() }, "Use another account"),
          ),
        ),
      );
    }
    return;
  }
  const { name, subject, role, stack } = me.me();
  put(document.getElementById("who"), name || subject, " ", h("span", { class: "role" }, role));
  document.getElementById("stack").textContent = stack;
  banner.start();
  show();
}

const theme = document.getElementById("theme");
function paintTheme() {
  const dark =
    (document.documentElement.dataset.theme ??
      (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  theme.textContent = dark ? "☀" : "☾";
  theme.setAttribute("aria-label", dark ? "Switch to the light theme" : "Switch to the dark theme");
  theme.title = theme.getAttribute("aria-label");
  return dark;
}
theme.addEventListener("click", () => {
  document.documentElement.dataset.theme = paintTheme() ? "light" : "dark";
  try {
    localStorage.setItem("karst-theme", document.documentElement.dataset.theme);
  } catch {
    // Not kept, then.
  }
  paintTheme();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paintTheme);
paintTheme();

document.getElementById("sign-out").addEventListener("click", () => session.signOut());
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
window.addEventListener("hashchange", show);
session.watch((reason) => {
  put(document.getElementById("who"));
  document.getElementById("stack").textContent = "";
  show();
  if (reason) main.querySelector("[role=alert]").textContent = reason;
});
if (session.signedIn()) start();
else show();
