// The admin app's API: requests with the token, problems as errors, streams that come back after a cut.

import * as session from "./session.js";

const SILENCE = 40_000; // ms: a living stream sends a heartbeat every 15 s

/** What the API answered instead of what was asked for. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || `The admin app answered ${status}.`);
    this.status = status;
    this.code = body.code ?? "";
    this.hint = body.hint ?? "";
    this.holder = body.holder ?? null;
    this.errors = body.errors ?? [];
  }
}

/** GET as JSON. */
export async function get(path, signal) {
  return (await send("GET", path, undefined, {}, signal)).json();
}

/** POST JSON, answered with JSON. */
export async function post(path, body, headers = {}) {
  return (await send("POST", path, body, headers)).json();
}

/** The lines of an NDJSON stream, as they come. */
export async function* lines(path, signal) {
  const silent = new AbortController();
  const answer = await send("GET", path, undefined, {}, AbortSignal.any([signal, silent.signal]));
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let timer = 0;
  const rewind = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silent.abort(), SILENCE);
  };
  try {
    for (rewind(); ; rewind()) {
      const { value, done } = await reader.read();
      if (done) return;
      const whole = (rest + value).split("\n");
      rest = whole.pop();
      for (const line of whole) if (line) yield JSON.parse(line);
    }
  } finally {
    clearTimeout(timer);
    reader.cancel().catch(() => {});
  }
}

/**
 * Follow a stream to its end, over cuts: `path()` says where to go on, `item(value)` takes each line and returns true
 * for the last one, `state(word)` hears live, waiting or over.
 */
export async function follow({ path, item, state, signal }) {
  let wait = 500;
  while (!signal.aborted) {
    try {
      for await (const value of lines(path(), signal)) {
        state("live");
        wait = 500;
        if (value.type !== "heartbeat" && item(value)) {
          state("over");
          return;
        }
      }
    } catch (err) {
      if (signal.aborted) return;
      if (err instanceof Problem && err.status < 500 && err.status !== 429) throw err;
    }
    if (signal.aborted) return;
    state("waiting");
    await pause(wait, signal);
    wait = Math.min(wait * 2, 5000);
  }
}

/** Wait, or until `signal`. */
export function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}

async function send(method, path, body, headers, signal, again = true) {
  const sent = { ...headers, Authorization: `Bearer ${await session.token()}` };
  if (body !== undefined) sent["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: sent,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      cache: "no-store",
    });
  } catch (err) {
    if (err.name === "AbortError") throw err;
    throw new Problem(599, {
      code: "unreachable",
      detail: "The admin app cannot be reached.",
      hint: "This page tries again by itself.",
    });
  }
  if (answer.ok) return answer;
  if (answer.status === 401 && again && (await session.refresh()))
    return send(method, path, body, headers, signal, false);
  const found = await answer.json().catch(() => ({}));
  const problem = new Problem(answer.status, found);
  if (answer.status === 401) session.end("You are not signed in any more. Sign in again.");
  throw problem;
}
