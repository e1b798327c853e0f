// What runs, how it is, since when.

import { get, pause } from "./api.js";
import { h, put } from "./dom.js";
import { ago, full, plural, revision, seconds } from "./format.js";
import { expiryText } from "./certificates.js";
import { mayDeploy } from "./me.js";
import { healthPill, problemBox } from "./parts.js";

const EVERY = 4000;
const GOOD = new Set(["SERVING", "COMPLETED"]);

export async function showServices(root, { signal }) {
  const summary = h("p", { class: "lead" }, "Asking every service…");
  const list = h("ul", { class: "cards" });
  const trouble = h("div", {});
  put(
    root,
    h(
      "div",
      { class: "title" },
      h("h1", {}, "Services"),
      mayDeploy() && h("a", { class: "button primary", href: "#/new" }, "Deploy"),
    ),
    summary,
    trouble,
    list,
  );
  let ends = new Map();
  let services = null;
  get("/v1/certificates", signal).then(
    ({ certificates }) => {
      ends = new Map(certificates.map((each) => [each.name, each.not_after]));
      if (services) paint(services, ends, summary, list);
    },
    () => {},
  );
  while (!signal.aborted) {
    if (!document.hidden) {
      try {
        ({ services } = await get("/v1/services", signal));
        put(trouble);
        paint(services, ends, summary, list);
      } catch (err) {
        if (signal.aborted) return;
        put(trouble, problemBox(err));
      }
    }
    await pause(EVERY, signal);
  }
}

let painted = "";
function paint(services, ends, summary, list) {
  const ill = services.filter((each) => !GOOD.has(each.status));
  const look = `${plural(ill.length, "needs", "need")} a look: ${ill.map((each) => each.service).join(", ")}`;
  const text =
    services.length === 0
      ? "Nothing is deployed on this stack yet."
      : `${plural(services.length, "service")}, ${ill.length === 0 ? "all well" : look}.`;
  if (summary.textContent !== text) summary.textContent = text;
  // Cards are made anew only when something is different: a screen reader or a finger may be on one.
  const now = JSON.stringify([services, [...ends], Math.floor(Date.now() / 30_000)]);
  if (now === painted && list.childElementCount === services.length) return;
  painted = now;
  const focused = document.activeElement?.getAttribute("href");
  const order = [...ill, ...services.filter((each) => GOOD.has(each.status))];
  put(
    list,
    order.map((each) => card(each, ends.get(each.service))),
  );
  if (focused) [...list.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus();
}

function card(service, notAfter) {
  const since = service.since_ns ? service.since_ns / 1e9 : service.created;
  return h(
    "li",
    { class: `card service ${GOOD.has(service.status) ? "" : "ill"}` },
    h("div", { class: "card-head" }, h("h2", {}, service.service), healthPill(service.status)),
    service.reason && h("p", { class: "reason" }, service.reason),
    h(
      "dl",
      { class: "facts" },
      fact("Revision", h("code", { title: service.revision }, revision(service.revision) || "–")),
      fact("Age", h("time", { title: full(service.created) }, ago(service.created).replace(" ago", ""))),
      Math.abs(seconds(since) - service.created) > 20 &&
        fact("In this state", h("time", { title: full(since) }, `since ${ago(since)}`)),
      fact(
        "Kind",
        [
          service.kind && service.kind !== "undecided" ? service.kind : "–",
          service.app_port ? `, port ${service.app_port}` : "",
        ].join(""),
      ),
      service.restarts > 0 && fact("Restarts", String(service.restarts)),
      service.generations > 1 && fact("Generations", `${service.generations} are running`),
      notAfter && fact("Certificate", expiryText(notAfter)),
    ),
    h(
      "a",
      { class: "card-link", href: `#/logs/${service.service}` },
      "Logs",
      h("span", { class: "visually-hidden" }, ` of ${service.service}`),
    ),
  );
}

function fact(name, value) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, value));
}
