// The list of a deploy: edit it, plan it, deploy it. It starts with the last list, because the list is the whole stack.

import { get, post } from "./api.js";
import { cancel } from "./banner.js";
import { announce, confirm, h, put } from "./dom.js";
import { entryForm } from "./entry.js";
import { mayCancel, mayDeploy } from "./me.js";
import { problemBox } from "./parts.js";

export async function showEditor(root, { signal, argument }) {
  put(root, h("h1", {}, "New deploy"), h("p", { class: "lead" }, "Looking for the last list…"));
  if (!mayDeploy()) {
    put(root, h("h1", {}, "New deploy"), h("p", { class: "note" }, "This needs the role deployer."));
    return;
  }
  let entries = [];
  let trouble = null;
  try {
    const from =
      argument ||
      (await get("/v1/deploys?limit=200", signal)).deploys.find((run) => run.kind !== "plan" && run.outcome === "ok")
        ?.id;
    if (from) entries = (await get(`/v1/deploys/${from}/list`, signal)).slugs;
  } catch (err) {
    if (signal.aborted) return;
    if (argument || err.code !== "no_list") trouble = err;
  }
  editor(root, entries, trouble, signal);
}

function editor(root, entries, startTrouble, signal) {
  const list = h("div", { class: "entries" });
  const trouble = h("div", {}, startTrouble && problemBox(startTrouble));
  const forms = [];

  function add(entry, focus = false) {
    const form = entryForm(entry, () => {
      const at = forms.indexOf(form);
      forms.splice(at, 1);
      form.row.remove();
      number();
      (forms[Math.min(at, forms.length - 1)] ?? { focus: () => another.focus() }).focus();
      announce("Removed from the list.");
    });
    forms.push(form);
    list.append(form.row);
    number();
    if (focus) form.focus();
  }
  const number = () => forms.forEach((form, at) => form.number(at + 1));

  const another = h("button", { type: "button", onclick: () => add("", true) }, "Add a repository");
  const planIt = h("button", { class: "primary" }, "Plan");
  const deployIt = h("button", { type: "button", onclick: () => start(false) }, "Deploy without looking");
  const form = h(
    "form",
    {
      novalidate: true,
      onsubmit: (event) => {
        event.preventDefault();
        start(true);
      },
    },
    list,
    h("div", { class: "actions" }, another),
    trouble,
    h("div", { class: "actions sticky" }, planIt, deployIt),
  );

  async function start(dryRun) {
    put(trouble);
    let slugs;
    try {
      slugs = forms.map((each) => (each.fail(""), each.read()));
    } catch {
      forms
        .find((each) => each.row.querySelector("[aria-invalid]"))
        ?.row.querySelector("[aria-invalid]")
        .focus();
      return;
    }
    if (
      !dryRun &&
      !(await confirm(
        "Deploy at once?",
        "The list is the whole stack: a service that is not on it is removed. A plan shows that first.",
        "Deploy now",
      ))
    )
      return;
    planIt.disabled = deployIt.disabled = true;
    try {
      const run = await post("/v1/deploys", { slugs, dry_run: dryRun }, { "Idempotency-Key": crypto.randomUUID() });
      if (!signal.aborted) location.hash = `#/deploys/${run.id}`;
    } catch (err) {
      refused(err);
    } finally {
      planIt.disabled = deployIt.disabled = false;
    }
  }

  /** Each wrong entry gets its own sentence where it stands; what is about the whole list stands below it. */
  function refused(err) {
    let first = null;
    for (const { pointer, detail, hint } of err.errors ?? []) {
      const wrong = forms[Number(/^\/slugs\/(\d+)$/.exec(pointer)?.[1] ?? -1)];
      if (!wrong) continue;
      wrong.fail(hint ? `${detail}. ${hint}` : detail);
      first ??= wrong;
    }
    if (first) {
      first.focus();
      return;
    }
    const holder = err.holder;
    put(
      trouble,
      problemBox(
        err,
        holder &&
          mayCancel(holder) &&
          h(
            "button",
            {
              type: "button",
              class: "danger",
              onclick: () => cancel(holder, (other) => put(trouble, problemBox(other))),
            },
            "Cancel that run",
          ),
      ),
    );
  }

  for (const entry of entries.length ? entries : [""]) add(entry);
  put(
    root,
    h("p", { class: "crumb" }, h("a", { href: "#/deploys" }, "Deploys")),
    h("h1", {}, "New deploy"),
    h(
      "p",
      { class: "lead" },
      entries.length
        ? "This is the last list. It is the whole stack: a service that you take off is removed."
        : "The list is the whole stack: what runs and is not on it is removed.",
    ),
    form,
  );
}
