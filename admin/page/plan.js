// A plan in the language of services, and its approval: exactly this plan, or none.

import { post } from "./api.js";
import { h, put } from "./dom.js";
import { mayDeploy } from "./me.js";
import { pill, problemBox, table } from "./parts.js";
import { ACTIONS } from "./words.js";

const ORDER = ["destroy", "replace", "create", "update", "none"];
const STEPS = ["image", "volume", "pod", "app", "sidecar", "gate"];

/** The table of a `plan` event. Whatever else a service's entry says is shown as it came. */
export function planTable(event) {
  const entries = Object.entries(event.services ?? {}).filter(([, entry]) => entry && typeof entry === "object");
  const left = entries
    .filter(([, entry]) => entry.action === "none" && !(entry.reasons?.length > 0))
    .map(([name]) => name)
    .filter(Boolean)
    .sort();
  const told = entries.filter(([name, entry]) => entry.action !== "none" || (name && entry.reasons?.length > 0));
  // Words that this page does not know stand before what is left alone.
  const rank = ([, entry]) => (ORDER.includes(entry.action) ? ORDER.indexOf(entry.action) : ORDER.length - 1.5);
  told.sort((a, b) => rank(a) - rank(b) || a[0].localeCompare(b[0]));
  return h(
    "div",
    {},
    told.length > 0 &&
      table(
        "What would change",
        ["Service", "What happens", "Why"],
        told.map(([name, entry]) => [name || "shared by all", action(entry), why(entry)]),
      ),
    left.length > 0 && h("p", { class: "hint" }, `Left alone: ${left.join(", ")}.`),
    entries.length === 0 && h("p", {}, "There is nothing to change."),
  );
}

function action(entry) {
  const [, word, tone] = ACTIONS[entry.action] ?? ["?", String(entry.action), "wait"];
  return pill(tone, word);
}

function why(entry) {
  const reasons = [entry.reasons, entry.reason]
    .flat()
    .map((each) => each?.text ?? each)
    .filter((text) => typeof text === "string" && text);
  const steps = entry.steps && typeof entry.steps === "object" ? byAction(entry.steps) : [];
  const known = new Set(["action", "steps", "reasons", "reason"]);
  const others = Object.entries(entry)
    .filter(
      ([key, value]) =>
        !known.has(key) && value !== null && value !== "" && !(Array.isArray(value) && value.length === 0),
    )
    .map(([key, value]) => `${key.replaceAll("_", " ")}: ${typeof value === "object" ? JSON.stringify(value) : value}`);
  const lines = [...reasons, ...others];
  return h(
    "div",
    {},
    lines.length > 0 &&
      h(
        "ul",
        { class: "plain" },
        lines.map((text) => h("li", {}, h("bdi", {}, text))),
      ),
    steps.length > 0 && h("p", { class: "quiet-text" }, steps.join(" · ")),
    lines.length + steps.length === 0 && "–",
  );
}

/** Steps by what happens to them: "replace: image, pod, app". */
function byAction(steps) {
  const place = ([step]) => (STEPS.includes(step) ? STEPS.indexOf(step) : STEPS.length);
  const found = new Map();
  for (const [step, what] of Object.entries(steps).sort((a, b) => place(a) - place(b))) {
    const word = typeof what === "string" ? what : JSON.stringify(what);
    found.set(word, [...(found.get(word) ?? []), step]);
  }
  return [...found].map(([word, names]) => `${word}: ${names.join(", ")}`);
}

/** The button that applies the plan of run `id`. The server refuses when anything was run since. */
export function approval(id, event) {
  if (!mayDeploy()) return h("p", { class: "hint" }, "A deployer can approve this plan.");
  if (event.changes === 0)
    return h("p", { class: "note" }, "Everything is as the list says. There is nothing to approve.");
  const trouble = h("div", {});
  const button = h(
    "button",
    {
      type: "button",
      class: "primary",
      onclick: async () => {
        button.disabled = true;
        try {
          const run = await post("/v1/deploys", { plan: id }, { "Idempotency-Key": `approve-${id}` });
          location.hash = `#/deploys/${run.id}`;
        } catch (err) {
          button.disabled = false;
          put(
            trouble,
            problemBox(
              err,
              err.code === "stale_plan" && h("a", { class: "button", href: `#/new/${id}` }, "Plan again"),
            ),
          );
        }
      },
    },
    "Approve: apply exactly this plan",
  );
  return h(
    "div",
    { class: "approval" },
    h(
      "p",
      { class: "hint" },
      "What is shown here is applied as it is. If anything was run since, it is refused and nothing happens.",
    ),
    trouble,
    button,
  );
}
