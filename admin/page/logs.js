// What the services print, as it comes: one or all, filtered, paused, saved to a file.

import { follow, get } from "./api.js";
import { announce, field, h, put } from "./dom.js";
import { clock, plural } from "./format.js";
import { problemBox } from "./parts.js";

const KEEP = 5000; // lines in memory
const SHOWN = 1500; // of them on the page
const TAIL = 300;

export async function showLogs(root, { signal, argument: service }) {
  const choice = field(
    "Service",
    h(
      "select",
      { onchange: (event) => (location.hash = event.target.value ? `#/logs/${event.target.value}` : "#/logs") },
      h("option", { value: "" }, "All services"),
    ),
  );
  const filter = field(
    "Filter",
    h("input", { type: "search", placeholder: "text to find", spellcheck: "false", autocomplete: "off" }),
  );
  const pause = h("button", { type: "button", "aria-pressed": "false" }, "Pause");
  const save = h("button", { type: "button" }, "Download");
  const status = h("span", { class: "connection" }, "Connecting…");
  const count = h("span", { class: "quiet-text" });
  const log = h("div", {
    class: "log tall",
    role: "log",
    "aria-live": "off",
    "aria-label": service ? `Log of ${service}` : "Log of all services",
    tabindex: "0",
  });
  const trouble = h("div", {});
  put(
    root,
    h("h1", {}, "Logs"),
    h("div", { class: "toolbar" }, choice.field, filter.field, h("div", { class: "actions" }, pause, save)),
    trouble,
    h("p", { class: "log-status" }, status, count),
    log,
  );

  const store = lineStore(log, count, () => filter.input.value.toLowerCase(), service === "");
  filter.input.addEventListener("input", () => store.repaint());
  pause.addEventListener("click", () => {
    const paused = store.pause();
    pause.textContent = paused ? "Resume" : "Pause";
    pause.setAttribute("aria-pressed", String(paused));
    announce(paused ? "The log is paused; lines are still collected." : "The log goes on.");
  });
  save.addEventListener("click", () => download(store.matching(), service || "all-services"));

  get("/v1/services", signal).then(
    ({ services }) => {
      for (const { service: name } of services) choice.input.append(h("option", { value: name }, name));
      choice.input.value = service;
    },
    () => {},
  );
  if (service) {
    choice.input.append(h("option", { value: service, hidden: true }, service));
    choice.input.value = service;
  }

  const path = () =>
    `${service ? `/v1/services/${encodeURIComponent(service)}/logs` : "/v1/logs"}?follow=true&tail=${TAIL}`;
  try {
    await follow({
      path,
      signal,
      item: (line) => (store.add(line), false),
      state: (word) => {
        status.textContent = word === "live" ? "Live" : "Connection lost. Going on as soon as it is back…";
        status.className = `connection ${word}`;
      },
    });
  } catch (err) {
    if (!signal.aborted) put(trouble, problemBox(err));
  }
}

/** The lines, in the order of time; those on the page are the newest that match. */
function lineStore(log, count, wanted, named) {
  const kept = [];
  const known = new Set();
  let paused = false;
  let behind = 0;
  let waiting = [];
  let frame = 0;
  let dirty = false;

  const key = (line) => `${line.service} ${line.ts}`;
  const matches = (line) =>
    !wanted() || line.msg.toLowerCase().includes(wanted()) || (named && line.service.includes(wanted()));
  const row = (line) =>
    h(
      "p",
      {},
      h("time", { datetime: line.ts, title: line.ts }, clock(line.ts)),
      named && h("span", { class: "from" }, line.service),
      h("bdi", {}, line.msg),
    );

  const later = () => (frame ||= requestAnimationFrame(flush));

  function flush() {
    frame = 0;
    if (paused) return tell();
    if (dirty) return repaint();
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    const rows = waiting.filter(matches).slice(-SHOWN);
    waiting = [];
    log.append(...rows.map(row));
    while (log.childElementCount > SHOWN) log.firstElementChild.remove();
    if (atEnd) log.scrollTop = log.scrollHeight;
    tell();
  }

  function tell() {
    count.textContent = paused
      ? `Paused, ${plural(behind, "new line")}`
      : wanted()
        ? `${plural(kept.filter(matches).length, "line")} of ${kept.length}`
        : plural(kept.length, "line");
  }

  function repaint() {
    const [atEnd, top] = [log.scrollHeight - log.scrollTop - log.clientHeight < 40, log.scrollTop];
    waiting = [];
    dirty = false;
    put(log, kept.filter(matches).slice(-SHOWN).map(row));
    log.scrollTop = atEnd ? log.scrollHeight : top;
    tell();
  }

  return {
    repaint,
    add(line) {
      if (typeof line.msg !== "string") return;
      // After a cut the last lines come again; their stamps have nanoseconds.
      if (known.has(key(line))) return;
      known.add(key(line));
      let at = kept.length;
      while (at > 0 && kept[at - 1].ts > line.ts) at -= 1;
      if (at < kept.length) dirty = true;
      kept.splice(at, 0, line);
      if (kept.length > KEEP) known.delete(key(kept.shift()));
      if (paused) behind += 1;
      else waiting.push(line);
      later();
    },
    pause() {
      paused = !paused;
      behind = 0;
      if (!paused) repaint();
      else tell();
      return paused;
    },
    matching: () => kept.filter(matches),
  };
}

function download(lines, name) {
  const text = lines.map((line) => `${line.ts} ${line.service} ${line.msg}\n`).join("");
  const url = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  const link = h("a", { href: url, download: `${name}.log` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
  announce(`${plural(lines.length, "line")} saved.`);
}
