// What was run, newest first.

import { get } from "./api.js";
import { onRuns } from "./banner.js";
import { h, put } from "./dom.js";
import { ago, duration, full, seconds } from "./format.js";
import { mayDeploy } from "./me.js";
import { outcomePill, problemBox, table } from "./parts.js";
import { KINDS } from "./words.js";

export function showRuns(root, { signal }) {
  const body = h("div", {}, h("p", { class: "lead" }, "Looking…"));
  const older = h("div", {});
  put(
    root,
    h(
      "div",
      { class: "title" },
      h("h1", {}, "Deploys"),
      mayDeploy() && h("a", { class: "button primary", href: "#/new" }, "New deploy"),
    ),
    body,
    older,
  );
  let painted = "";
  onRuns((runs) => {
    const now = JSON.stringify([runs, Math.floor(Date.now() / 15_000)]);
    if (now === painted || body.contains(document.activeElement)) return;
    painted = now;
    put(
      body,
      runs.length === 0 ? h("p", { class: "lead" }, "Nothing was deployed from here yet.") : list(runs, "Runs"),
    );
    if (runs.length === 30 && !older.hasChildNodes()) put(older, more(runs.at(-1).id, older, signal));
  }, signal);
}

function list(runs, caption) {
  return table(
    caption,
    ["Run", "Outcome", "By", "Repositories", "Took"],
    runs.map((run) => [
      h(
        "a",
        { href: `#/deploys/${run.id}` },
        KINDS[run.kind] ?? run.kind,
        " ",
        h("time", { datetime: run.started, title: full(run.started) }, ago(run.started)),
      ),
      outcomePill(run),
      run.by_name || run.by,
      h(
        "span",
        { class: "clip", title: run.slugs.join("\n") },
        run.slugs.length > 2
          ? `${run.slugs.slice(0, 2).join(", ")} and ${run.slugs.length - 2} more`
          : run.slugs.join(", "),
      ),
      run.finished ? duration(seconds(run.finished) - seconds(run.started)) : "–",
    ]),
  );
}

function more(before, older, signal) {
  const button = h(
    "button",
    {
      type: "button",
      onclick: async () => {
        button.disabled = true;
        try {
          const page = await get(`/v1/deploys?limit=30&before=${before}`, signal);
          button.replaceWith(
            page.deploys.length
              ? list(page.deploys, "Older runs")
              : h("p", { class: "lead" }, "There are no older ones."),
          );
          if (page.next) older.append(more(page.next, older, signal));
        } catch (err) {
          button.replaceWith(problemBox(err));
        }
      },
    },
    "Show older runs",
  );
  return button;
}
