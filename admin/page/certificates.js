// When certificates end.

import { get } from "./api.js";
import { h, put } from "./dom.js";
import { duration, full, seconds } from "./format.js";
import { pill, problemBox, table } from "./parts.js";

const KIND = { service: "Service", tool: "Tool", authority: "Authority" };

export function expiryText(notAfter) {
  const left = seconds(notAfter) - Date.now() / 1000;
  return left > 0 ? `ends in ${duration(left)}` : `ended ${duration(-left)} ago`;
}

export async function showCertificates(root, { signal }) {
  const body = h("div", {});
  put(root, h("div", { class: "title" }, h("h1", {}, "Certificates")),
    h("p", { class: "lead" }, "Each service proves who it is with a certificate of its own. A deploy renews whatever has less than a third of its time left."), body);
  try {
    const { certificates } = await get("/v1/certificates", signal);
    put(body, certificates.length === 0 ? h("p", {}, "There are none yet: the first deploy makes them.")
      : table("Certificates", ["Name", "For", "State", "Ends"], certificates.map(row)));
  } catch (err) {
    if (!signal.aborted) put(body, problemBox(err));
  }
}

function row(each) {
  const [begin, end] = [seconds(each.not_before), seconds(each.not_after)];
  const left = end - Date.now() / 1000;
  const state = left <= 0 ? pill("bad", "Ended") : left < (end - begin) / 3 ? pill("wait", "Due for renewal") : pill("good", "Valid");
  return [each.name, KIND[each.kind] ?? each.kind, state,
    h("span", {}, expiryText(each.not_after), h("span", { class: "quiet-text" }, ` · ${full(each.not_after)}`))];
}
