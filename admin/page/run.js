// One run: where it is, what came of it, its log; a plan can be approved.

import { follow, get } from "./api.js";
import { cancel, lookNow, onRuns } from "./banner.js";
import { announce, h, put } from "./dom.js";
import { line, tone } from "./events.js";
import { clock, duration, full, seconds } from "./format.js";
import { mayCancel, mayDeploy } from "./me.js";
import { healthPill, outcomePill, problemBox, table } from "./parts.js";
import { approval, planTable } from "./plan.js";
import { DONE, KINDS, PHASES } from "./words.js";

const KEEP = 4000;

export async function showRun(root, { signal, argument: id }) {
  let run;
  try {
    run = await get(`/v1/deploys/${id}`, signal);
  } catch (err) {
    if (!signal.aborted)
      put(root, h("h1", {}, "Deploy"), problemBox(err), h("p", {}, h("a", { href: "#/deploys" }, "All deploys")));
    return;
  }
  const view = parts(run);
  put(root, view.all);
  onRuns((runs) => {
    const now = runs.find((each) => each.id === id);
    if (now && (now.state !== view.run.state || now.outcome !== view.run.outcome)) view.update(now);
  }, signal);

  let seen = 0;
  let ended = false;
  const item = (event) => {
    if (event.seq <= seen) return false;
    seen = event.seq;
    view.add(event);
    ended = event.type === "result";
    return ended;
  };
  try {
    await follow({ path: () => `/v1/deploys/${id}/events?after=${seen}`, item, state: view.connection, signal });
    if (ended) {
      view.update(await get(`/v1/deploys/${id}`, signal));
      lookNow();
    }
  } catch (err) {
    if (!signal.aborted) view.trouble(err);
  }
}

function parts(started) {
  let run = started;
  const state = h("span", {});
  const actions = h("div", { class: "actions" });
  const trouble = h("div", {});
  const result = h("section", { hidden: true });
  const phases = h("ol", { class: "phases", "aria-label": "Phases" });
  const plan = h("section", {});
  const connection = h("span", { class: "connection" }, "Connecting…");
  const log = h("div", {
    class: "log",
    role: "log",
    "aria-live": "off",
    "aria-label": "Log of the run",
    tabindex: "0",
  });
  const known = new Map();
  let planned = null;

  const all = [
    h("p", { class: "crumb" }, h("a", { href: "#/deploys" }, "Deploys")),
    h(
      "div",
      { class: "title" },
      h("h1", {}, KINDS[run.kind] ?? run.kind, " ", h("span", { class: "quiet-text" }, clock(run.started))),
      state,
    ),
    h("p", { class: "lead" }, `By ${run.by_name || run.by}, ${full(run.started)}.`),
    actions,
    trouble,
    result,
    plan,
    h("section", {}, h("h2", {}, "Progress"), phases),
    h("section", {}, h("div", { class: "title" }, h("h2", {}, "Log"), connection), log),
    h(
      "details",
      {},
      h("summary", {}, "Repositories"),
      h(
        "ul",
        { class: "plain" },
        run.slugs.map((slug) => h("li", {}, h("code", {}, slug))),
      ),
    ),
  ];

  function update(now) {
    run = now;
    put(state, outcomePill(run));
    put(
      actions,
      run.state === "running" &&
        mayCancel(run) &&
        h(
          "button",
          { type: "button", class: "danger", onclick: () => cancel(run, (err) => put(trouble, problemBox(err))) },
          "Cancel this run",
        ),
      run.state === "finished" &&
        mayDeploy() &&
        h("a", { class: "button", href: `#/new/${run.id}` }, "Edit this list and deploy it"),
    );
  }

  function phase(event) {
    const name = event.phase;
    let row = known.get(name);
    if (!row) {
      row = h(
        "li",
        {},
        h("span", { class: "sign", "aria-hidden": "true" }),
        h("span", {}, PHASES[name] ?? name),
        h("span", { class: "quiet-text took" }),
      );
      known.set(name, row);
      phases.append(row);
    }
    const word = event.state === "failed" ? "failed" : event.state === "start" ? "active" : "done";
    row.className = word;
    row.firstChild.textContent = { failed: "▲", active: "◐", done: "●" }[word];
    row.lastChild.textContent =
      word === "active" ? "under way" : word === "failed" ? "failed" : event.seconds ? duration(event.seconds) : "done";
    if (event.state !== "done") announce(`${PHASES[name] ?? name}: ${row.lastChild.textContent}`);
  }

  function add(event) {
    if (event.type === "phase") phase(event);
    if (event.type === "plan") {
      planned = event;
      put(plan, h("h2", {}, "Plan"), planTable(event));
    }
    if (event.type === "result") {
      showResult(event);
      // Not before: while the run still holds the stack, an approval would be refused.
      if (run.kind === "plan" && event.outcome === "ok" && planned) plan.append(approval(run.id, planned));
    }
    const text = line(event);
    if (!text) return;
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append(
      h("p", { class: tone(event) }, h("time", { datetime: event.ts ?? "" }, clock(event.ts)), h("bdi", {}, text)),
    );
    if (log.childElementCount > KEEP) log.firstElementChild.remove();
    if (atEnd) log.scrollTop = log.scrollHeight;
  }

  function showResult(event) {
    const services = (event.services ?? []).filter((each) => each && typeof each === "object");
    const why = event.error?.message ?? event.reason ?? "";
    const hint = event.error?.hint ?? "";
    const [sentence, ...details] = why.split("\n");
    result.hidden = run.kind === "plan" && event.outcome === "ok";
    put(
      result,
      h("h2", {}, "Outcome"),
      why &&
        h(
          "div",
          { class: event.outcome === "ok" ? "note" : "problem" },
          h("p", {}, h("strong", {}, sentence)),
          details.length > 0 &&
            h(
              "div",
              { class: "log said", tabindex: "0", role: "region", "aria-label": "What was said" },
              details.map((text) => h("p", {}, h("bdi", {}, text))),
            ),
          hint && h("p", { class: "hint pre" }, hint),
        ),
      services.length > 0 &&
        table(
          "Services after the run",
          ["Service", "This run", "Health", "Reason"],
          services.map((each) => [
            each.service,
            DONE[each.outcome] ?? each.outcome ?? "–",
            each.status ? healthPill(each.status) : "–",
            h("bdi", { class: "pre" }, each.reason || "–"),
          ]),
        ),
      !why && services.length === 0 && h("p", {}, event.outcome === "ok" ? "Done." : `It ended: ${event.outcome}.`),
    );
    announce(`The run has ended: ${event.outcome}. ${why}`.slice(0, 300));
    const length = seconds(event.ts) - seconds(run.started);
    if (length > 0)
      phases.append(
        h(
          "li",
          { class: "total" },
          h("span", { class: "sign", "aria-hidden": "true" }, "■"),
          h("span", {}, "In all"),
          h("span", { class: "quiet-text took" }, duration(length)),
        ),
      );
  }

  update(run);
  return {
    all,
    add,
    update,
    get run() {
      return run;
    },
    connection(word) {
      const text = {
        live: "Live",
        waiting: "Connection lost. Going on where it was as soon as it is back…",
        over: "Complete",
      }[word];
      if (connection.textContent === text) return;
      connection.textContent = text;
      connection.className = `connection ${word}`;
    },
    trouble(err) {
      put(trouble, problemBox(err));
    },
  };
}
