// Times, numbers and words for people.

const STEPS = [
  [86400, "d"],
  [3600, "h"],
  [60, "min"],
  [1, "s"],
];

/** `seconds` as its two greatest parts: 3 d 4 h, 12 min 5 s. */
export function duration(seconds) {
  let left = Math.max(0, Math.round(seconds));
  const parts = [];
  for (const [size, unit] of STEPS) {
    if (left >= size || (parts.length === 0 && size === 1)) {
      parts.push(`${Math.floor(left / size)} ${unit}`);
      left %= size;
    } else if (parts.length) break;
    if (parts.length === 2) break;
  }
  return parts.filter((part, index) => index === 0 || !part.startsWith("0 ")).join(" ");
}

/** Seconds since 1970 of an RFC 3339 text, or of a number of seconds. */
export function seconds(when) {
  return typeof when === "number" ? when : Date.parse(when) / 1000;
}

/** How long ago: "4 min ago", "just now". */
export function ago(when) {
  const past = Date.now() / 1000 - seconds(when);
  if (!Number.isFinite(past)) return "";
  return past < 5 ? "just now" : `${duration(past).split(" ").slice(0, 2).join(" ")} ago`;
}

/** The clock time of an RFC 3339 text, with tenths of a second when `fine`. */
export function clock(when, fine = false) {
  const date = new Date(when);
  if (Number.isNaN(date.getTime())) return "";
  const text = [date.getHours(), date.getMinutes(), date.getSeconds()].map((n) => String(n).padStart(2, "0")).join(":");
  return fine ? `${text}.${Math.floor(date.getMilliseconds() / 100)}` : text;
}

/** A whole date and time, in the reader's own manner. */
export function full(when) {
  const date = new Date(typeof when === "number" ? when * 1000 : when);
  return Number.isNaN(date.getTime())
    ? ""
    : date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

/** A revision as people read it: the first 8 of a commit, the whole of anything short. */
export function revision(text = "") {
  return /^[0-9a-f]{40}$/.test(text) ? text.slice(0, 8) : text.slice(0, 20);
}

export function plural(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}

/** A number with so many digits as say something. */
export function short(number) {
  if (typeof number !== "number" || !Number.isFinite(number)) return "–";
  if (number >= 100) return Math.round(number).toLocaleString();
  return String(Number(number.toPrecision(number >= 10 ? 3 : 2)));
}
