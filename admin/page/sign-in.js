// The first thing people see: e-mail and password, or a token.

import { field, h, put } from "./dom.js";
import * as session from "./session.js";

/** The form; `done` is called when somebody is signed in. */
export function showSignIn(done) {
  const alert = h("p", { class: "error", role: "alert" });
  const box = h("div", {});
  const card = h("div", { class: "card narrow sign-in" }, h("h1", {}, "Sign in"), alert, box);
  session.authServer().then(
    ({ key }) => (key ? byPassword(box, alert, done) : byToken(box, alert, done, null)),
    (err) => (alert.textContent = err.message),
  );
  return card;
}

function byPassword(box, alert, done) {
  const email = field(
    "E-mail address",
    h("input", { type: "email", autocomplete: "username", required: true, spellcheck: "false" }),
  );
  const password = field(
    "Password",
    h("input", { type: "password", autocomplete: "current-password", required: true }),
  );
  const button = h("button", { class: "primary wide" }, "Sign in");
  const form = h(
    "form",
    {
      onsubmit: async (event) => {
        event.preventDefault();
        await attempt(button, alert, () => session.signIn(email.input.value.trim(), password.input.value), done);
        password.input.value = "";
      },
    },
    email.field,
    password.field,
    button,
  );
  put(
    box,
    form,
    switchTo("Use an access token instead", () => byToken(box, alert, done, () => byPassword(box, alert, done))),
  );
  email.input.focus();
}

function byToken(box, alert, done, back) {
  const token = field(
    "Access token",
    h("textarea", { rows: "5", required: true, autocomplete: "off", spellcheck: "false" }),
    "Of a signed-in user of the Supabase project. It is kept in this tab and sent to this server only.",
  );
  const button = h("button", { class: "primary wide" }, "Use this token");
  put(
    box,
    h(
      "form",
      {
        onsubmit: async (event) => {
          event.preventDefault();
          await attempt(button, alert, () => session.useToken(token.input.value), done);
        },
      },
      token.field,
      button,
    ),
    back && switchTo("Sign in with a password", back),
  );
  token.input.focus();
}

function switchTo(label, go) {
  return h("p", { class: "center" }, h("button", { type: "button", class: "link", onclick: go }, label));
}

async function attempt(button, alert, act, done) {
  button.disabled = true;
  alert.textContent = "";
  try {
    await act();
    done();
  } catch (err) {
    alert.textContent = err.message;
  } finally {
    button.disabled = false;
  }
}
