// Pieces that several sections show.

import { h } from "./dom.js";
import { ago } from "./format.js";
import { HEALTH, OUTCOMES } from "./words.js";

const SIGNS = { good: "●", wait: "◐", bad: "▲", calm: "○" };

/** A word with a colour and a shape: neither is needed to read the other. */
export function pill(tone, text) {
  return h(
    "span",
    { class: `pill ${tone}` },
    h("span", { class: "sign", "aria-hidden": "true" }, SIGNS[tone] ?? SIGNS.calm),
    text,
  );
}

export function healthPill(status) {
  const [tone, text] = HEALTH[status] ?? ["wait", status];
  return pill(tone, text);
}

export function outcomePill(run) {
  if (run.state !== "finished") return pill("wait", run.state === "cancelling" ? "Cancelling" : "Under way");
  const [tone, text] = OUTCOMES[run.outcome] ?? ["wait", run.outcome];
  return pill(tone, text);
}

/** What went wrong, from a Problem or an Error; with the run that is in the way, and what can be done about it. */
export function problemBox(err, ...actions) {
  const holder = err.holder;
  return h(
    "div",
    { class: "problem", role: "alert" },
    h("p", {}, h("strong", {}, err.message)),
    holder &&
      h(
        "p",
        {},
        `Started by ${holder.by_name || holder.by} `,
        h("time", { datetime: holder.started }, ago(holder.started)),
        ". ",
        h("a", { href: `#/deploys/${holder.id}` }, "Watch that run"),
      ),
    err.hint && !holder && h("p", { class: "hint" }, err.hint),
    actions.length > 0 && h("div", { class: "actions" }, actions),
  );
}

/**
 * A table: `columns` of headings; `rows` of cells (elements or text). Narrow screens show each row as a block, and a
 * browser then forgets that it is a table: hence the roles.
 */
export function table(caption, columns, rows) {
  return h(
    "table",
    { class: "rows", role: "table", "aria-label": caption },
    h(
      "thead",
      { role: "rowgroup" },
      h(
        "tr",
        { role: "row" },
        columns.map((column) => h("th", { role: "columnheader", scope: "col" }, column)),
      ),
    ),
    h(
      "tbody",
      { role: "rowgroup" },
      rows.map((cells) =>
        h(
          "tr",
          { role: "row" },
          cells.map((cell, index) =>
            index === 0
              ? h("th", { role: "rowheader", scope: "row" }, cell)
              : h("td", { role: "cell", "data-label": columns[index] }, cell),
          ),
        ),
      ),
    ),
  );
}
