// One entry of the list as a form: its slug, its name, and the options that it has.

import { field, h, newId } from "./dom.js";

const words = {
  read: (text) => text.split(/[\s,]+/).filter(Boolean),
  show: (value) => value.join(", "),
};
const lines = {
  read: (text) =>
    Object.fromEntries(
      text
        .split("\n")
        .filter((each) => each.trim())
        .map((each) => {
          const at = each.indexOf("=");
          if (at < 1) throw new Error(`Write NAME=value on each line; this one has no name: ${each.slice(0, 40)}`);
          return [each.slice(0, at).trim(), each.slice(at + 1)];
        }),
    ),
  show: (value) =>
    Object.entries(value)
      .map(([name, each]) => `${name}=${each}`)
      .join("\n"),
};
const number = {
  read: (text) => {
    if (!Number.isFinite(Number(text))) throw new Error("This is a number.");
    return Number(text);
  },
  show: String,
};
const plain = { read: (text) => text.trim(), show: String };
const argv = { read: (text) => text.split("\n").filter((each) => each !== ""), show: (value) => value.join("\n") };

// [key, label, hint, how it is read and shown, kind of input]
const OPTIONS = [
  ["path", "Subfolder", "when the project is not at the repository's root", plain],
  ["entrypoint", "Entry point", "module:function, a module or a file; else it is detected", plain],
  ["args", "Arguments", "one a line", argv, "area"],
  ["port", "Port", "that it listens on; else it is observed", number],
  ["env", "Environment", "NAME=value, one a line", lines, "area"],
  ["secrets", "Secrets", "names that this server hands out", words],
  ["allow", "Who may call it", "names of services; empty: everybody", words],
  ["health", "Health path", "as /healthz", plain],
  ["memory", "Memory", "as 256m", plain],
  ["cpus", "CPUs", "as 0.5", number],
  ["replicas", "Replicas", "how many pods; 1", number],
  ["apt", "Debian packages", "", words],
  ["python", "Python", "as 3.12", plain],
  ["dockerfile", "Dockerfile", "the repository's own, as Dockerfile; else the kit builds the image", plain],
  ["user", "User of that image", "a number, as 101", plain],
  ["writable", "Folders that image writes in", "as /var/cache/nginx", words],
];
const FLAGS = [
  ["expose", "Serve it on the front door", false],
  ["otel", "Trace it", true],
];

/** A form for `entry`; `remove` is called by its button. Returns {row, read(), fail(text), focus()}. */
export function entryForm(entry, remove) {
  const given = typeof entry === "string" ? { slug: entry } : { ...entry };
  const slug = field(
    "Repository",
    h("input", {
      type: "text",
      required: true,
      spellcheck: "false",
      autocomplete: "off",
      placeholder: "gh:owner/repo#ref",
      value: given.slug ?? "",
    }),
  );
  const name = field(
    "Name",
    h("input", {
      type: "text",
      spellcheck: "false",
      autocomplete: "off",
      placeholder: "from the repository",
      value: given.name ?? "",
    }),
  );
  const options = OPTIONS.map(([key, label, hint, form, kind]) => {
    const input =
      kind === "area"
        ? h("textarea", { rows: "3", spellcheck: "false" })
        : h("input", { type: "text", spellcheck: "false", autocomplete: "off" });
    const set = given[key] !== undefined && given[key] !== null;
    if (set) input.value = form.show(given[key]);
    return { key, form, set, ...field(label, input, hint) };
  });
  const flags = FLAGS.map(([key, label, usual]) => {
    const input = h("input", { type: "checkbox", id: newId("flag") });
    input.checked = given[key] ?? usual;
    return { key, usual, input, field: h("div", { class: "check" }, input, h("label", { for: input.id }, label)) };
  });
  const error = h("p", { class: "error entry-error", role: "alert", hidden: true });
  const legend = h("legend", { class: "visually-hidden" });
  const more = h(
    "details",
    { class: "options" },
    h("summary", {}, "Options"),
    h(
      "div",
      { class: "grid" },
      options.map((each) => each.field),
      flags.map((each) => each.field),
    ),
  );
  more.open = options.some((each) => each.set) || flags.some((each) => each.input.checked !== each.usual);
  const row = h(
    "fieldset",
    { class: "card entry" },
    legend,
    h(
      "div",
      { class: "entry-head" },
      slug.field,
      name.field,
      h(
        "button",
        {
          type: "button",
          class: "quiet remove",
          onclick: remove,
          "aria-label": "Remove from the list",
          title: "Remove from the list",
        },
        "✕",
      ),
    ),
    error,
    more,
  );

  return {
    row,
    number(at) {
      legend.textContent = `Repository ${at}`;
    },
    focus() {
      slug.input.focus();
    },
    /** Say what is wrong with this entry; "" when nothing is. */
    fail(text) {
      error.textContent = text;
      error.hidden = !text;
      row.classList.toggle("wrong", Boolean(text));
      slug.input.toggleAttribute("aria-invalid", false);
      if (text) slug.input.setAttribute("aria-invalid", "true");
    },
    /** The entry as the API takes it: a slug alone where that says it all. Throws an Error for what cannot be read. */
    read() {
      const found = { slug: slug.input.value.trim() };
      if (name.input.value.trim()) found.name = name.input.value.trim();
      for (const { key, form, input, fail } of options) {
        fail("");
        if (input.value.trim() === "") continue;
        try {
          found[key] = form.read(input.value);
        } catch (err) {
          more.open = true;
          fail(err.message);
          throw err;
        }
      }
      for (const { key, usual, input } of flags) if (input.checked !== usual) found[key] = input.checked;
      return Object.keys(found).length === 1 ? found.slug : found;
    },
  };
}
