// When certificates end.

import { get } from "./api.js";
import { h, put } from "./dom.js";
import { duration, full, seconds } from "./format.js";
import { pill, problemBox, table } from "./parts.js";

const IN_USE = {
  yes: "In use",
  no: "Another one is in use",
  "not running": "Not running",
  unknown: "Could not be asked",
  "-": "–",
};

export function expiryText(notAfter) {
  const left = seconds(notAfter) - Date.now() / 1000;
  return left > 0 ? `ends in ${duration(left)}` : `ended ${duration(-left)} ago`;
}

export async function showCertificates(root, { signal }) {
  const body = h("div", {});
  put(
    root,
    h("div", { class: "title" }, h("h1", {}, "Certificates")),
    h(
      "p",
      { class: "lead" },
      "Each service proves who it is with a certificate of its own. A deploy renews what is due.",
    ),
    body,
  );
  try {
    const { certificates } = await get("/v1/certificates", signal);
    put(
      body,
      certificates.length === 0
        ? h("p", {}, "There are none yet: the first deploy makes them.")
        : table("Certificates", ["Name", "State", "Ends", "In use"], certificates.map(row)),
    );
  } catch (err) {
    if (!signal.aborted) put(body, problemBox(err));
  }
}

function row(each) {
  const state = each.seconds_left <= 0 ? pill("bad", "Ended") : each.due ? pill("wait", "Due") : pill("good", "Valid");
  return [
    each.name === "ca" ? h("span", {}, "ca", h("span", { class: "quiet-text" }, ` · ${each.issuer}`)) : each.name,
    h("span", {}, state, each.due && h("span", { class: "quiet-text" }, ` ${each.due}`)),
    h("span", {}, expiryText(each.not_after), h("span", { class: "quiet-text" }, ` · ${full(each.not_after)}`)),
    h(
      "span",
      {},
      IN_USE[each.served] ?? each.served,
      each.note && h("span", { class: "quiet-text" }, ` · ${each.note}`),
    ),
  ];
}
