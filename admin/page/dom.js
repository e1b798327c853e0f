// Building the page. Text goes in as text nodes only: nothing here, and nothing that uses it, parses HTML.

/** An element: `h("p", { class: "note", onclick: f }, "text", child, …)`. null, undefined and false are left out. */
export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** The same for SVG. */
export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...flat(children));
  return element;
}

function flat(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

/** Put `children` in place of what `element` holds. */
export function put(element, ...children) {
  element.replaceChildren(...flat(children));
  return element;
}

/** Say something to who cannot see the page change. */
export function announce(text) {
  document.getElementById("live").textContent = text;
}

let names = 0;
/** An id that no other element has. */
export function newId(prefix = "e") {
  names += 1;
  return `${prefix}-${names}`;
}

/** A labelled field; `hint` and the error below it are tied to the input. Returns {field, input, fail(text)}. */
export function field(label, input, hint = "") {
  input.id ||= newId("field");
  const hintId = `${input.id}-hint`;
  const errorId = `${input.id}-error`;
  const error = h("p", { class: "error", id: errorId, hidden: true });
  input.setAttribute("aria-describedby", hint ? `${hintId} ${errorId}` : errorId);
  const box = h(
    "div",
    { class: "field" },
    h("label", { for: input.id }, label),
    input,
    hint && h("p", { class: "hint", id: hintId }, hint),
    error,
  );
  return {
    field: box,
    input,
    fail(text) {
      error.textContent = text;
      error.hidden = !text;
      if (text) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    },
  };
}

/** A yes-or-no question in a dialog; resolves to true when `yes` was chosen. */
export function confirm(title, text, yes) {
  return new Promise((resolve) => {
    const id = newId("dialog");
    const close = (answer) => () => {
      dialog.close();
      resolve(answer);
    };
    const dialog = h(
      "dialog",
      {
        "aria-labelledby": id,
        onclose: () => {
          dialog.remove();
          resolve(false);
        },
      },
      h("h2", { id }, title),
      h("p", {}, text),
      h(
        "div",
        { class: "actions" },
        h("button", { type: "button", class: "danger", onclick: close(true) }, yes),
        h("button", { type: "button", onclick: close(false), autofocus: true }, "Keep as it is"),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}
