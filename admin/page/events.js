// An event of a run as a line of its log.

import { duration } from "./format.js";
import { PHASES } from "./words.js";

const took = (event) => (event.seconds ? ` (${duration(event.seconds)})` : "");
const came = (event) => (event.state && event.state !== "start" ? ` ${event.state}` : "");
const serviceLine = (event) =>
  `${event.service || "stack"}: ${[event.step, event.action, event.state].filter(Boolean).join(" ")}`;

/** An event as a line of the log; "" for those that are shown elsewhere. */
export function line(event) {
  switch (event.type) {
    case "log":
      return event.line;
    case "phase":
      return `── ${PHASES[event.phase] ?? event.phase}${came(event)}${took(event)}`;
    case "service":
      return `${serviceLine(event)}${took(event)}${event.reason ? `\n  ${event.reason}` : ""}`;
    case "diagnostic":
      return `${event.severity}: ${event.message}${event.hint ? `\n  ${event.hint}` : ""}`;
    case "plan":
      return `plan: ${event.changes} of ${Object.keys(event.services ?? {}).length} change`;
    case "result":
      return `result: ${event.outcome}${event.exit_code ? `, exit code ${event.exit_code}` : ""}`;
    default:
      return `${event.type}: ${JSON.stringify(event)}`;
  }
}

/** What the line is about: bad, wait, good, strong, or nothing in particular. */
export function tone(event) {
  if (event.type === "diagnostic") return event.severity === "error" ? "bad" : "wait";
  if (event.type === "result") return event.outcome === "ok" ? "good" : "bad";
  return event.state === "failed" ? "bad" : event.type === "phase" ? "strong" : "";
}
