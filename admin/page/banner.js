// The run under way, shown above every section; and the list of runs that others look at.

import { get, pause, post } from "./api.js";
import { announce, confirm, h, put } from "./dom.js";
import { ago } from "./format.js";
import { mayCancel } from "./me.js";
import { KINDS } from "./words.js";

const EVERY = 2000;
const box = document.getElementById("banner");
const listeners = new Set();
let stopped = null;
let latest = null;

/** Call `listener(runs)` with the newest runs now (when known) and at each look, until `signal`. */
export function onRuns(listener, signal) {
  listeners.add(listener);
  signal.addEventListener("abort", () => listeners.delete(listener), { once: true });
  if (latest) listener(latest);
}

export function start() {
  stop();
  stopped = new AbortController();
  loop(stopped.signal);
}

export function stop() {
  stopped?.abort();
  latest = null;
  box.hidden = true;
}

/** Look at once: something has happened. */
export function lookNow() {
  if (stopped && !stopped.signal.aborted) look();
}

/** Ask, then cancel a run. */
export async function cancel(run, failed = () => {}) {
  const sure = await confirm(
    "Cancel this run?",
    "Terraform is interrupted once: it finishes what it is at, saves its state and frees its lock. " +
      "Services that were already replaced stay replaced.",
    "Cancel the run",
  );
  if (!sure) return;
  try {
    await post(`/v1/deploys/${run.id}/cancel`, {});
    announce("The run is being cancelled.");
    look();
  } catch (err) {
    failed(err);
  }
}

async function loop(signal) {
  while (!signal.aborted) {
    if (!document.hidden) await look(signal);
    await pause(EVERY, signal);
  }
}

async function look(signal = stopped.signal) {
  try {
    const { deploys } = await get("/v1/deploys?limit=30", signal);
    if (signal.aborted) return;
    latest = deploys;
    paint(deploys.find((run) => run.state !== "finished"));
    for (const listener of listeners) listener(deploys);
  } catch {
    // The sections say what is wrong; here the last look stays.
  }
}

let painted = "";
function paint(run) {
  const seen = run ? `${run.id} ${run.state}` : "";
  if (seen === painted && run) {
    box.querySelector("time").textContent = ago(run.started);
    return;
  }
  painted = seen;
  box.hidden = !run;
  if (!run) return;
  const word = KINDS[run.kind] ?? run.kind;
  put(
    box,
    h("span", { class: "spinner", "aria-hidden": "true" }),
    h(
      "span",
      { class: "grow" },
      h("strong", {}, run.state === "cancelling" ? `${word} is being cancelled` : `${word} under way`),
      ` by ${run.by_name || run.by}, started `,
      h("time", { datetime: run.started }, ago(run.started)),
    ),
    h("a", { class: "button", href: `#/deploys/${run.id}` }, "Watch"),
    run.state === "running" && mayCancel(run) && h("button", { type: "button", onclick: () => cancel(run) }, "Cancel"),
  );
}
