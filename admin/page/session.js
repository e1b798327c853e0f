// Who is signed in: with e-mail and password at the Supabase project's auth server, or with a pasted token.
//
// The tokens are kept in this tab's sessionStorage: a reload in the middle of a deploy must not ask for the password
// again, and nothing is left when the tab is closed. The password is sent to the auth server only, and kept nowhere.

const KEY = "karst-session";
const EARLY = 60; // seconds before its end that a token is replaced

let state = load();
let refreshing = null;
let timer = 0;
let onEnd = () => {};
let server = null;

/** `ended(reason)` is called when the session is over, with a sentence or "". */
export function watch(ended) {
  onEnd = ended;
  schedule();
  // A laptop that slept has missed its timer.
  document.addEventListener("visibilitychange", () => document.hidden || schedule());
}

export function signedIn() {
  return state !== null;
}

/** The access token to send now; refreshed first when it is about to end. */
export async function token() {
  if (state?.refresh && state.expires - now() < EARLY / 2) await refresh();
  return state?.access ?? "";
}

/** Where people sign in: {url, key}, nulls when this server has no publishable key. */
export async function authServer() {
  if (server === null) {
    const answer = await fetch("/v1/sign-in");
    if (!answer.ok) throw new Error("the admin app does not say where to sign in");
    server = await answer.json();
  }
  return server;
}

/** Sign in; throws an Error with a sentence for the person. */
export async function signIn(email, password) {
  begin(await grant("password", { email, password }));
}

/** Take a token that was made elsewhere; it cannot be refreshed. */
export function useToken(text) {
  const access = text.trim().replace(/^Bearer\s+/i, "");
  const claims = peek(access);
  if (!claims) throw new Error("This is not an access token: it has three parts with dots between them.");
  if (claims.exp && claims.exp < now()) throw new Error("This token has ended; get a new one.");
  save({ access, refresh: "", expires: claims.exp ?? now() + 3600 });
}

/** End the session here and on the auth server. */
export async function signOut() {
  const ended = state;
  end("");
  if (!ended?.refresh) return;
  try {
    const { url, key } = await authServer();
    await fetch(`${url}/logout?scope=local`, {
      method: "POST",
      headers: { apikey: key, Authorization: `Bearer ${ended.access}` },
    });
  } catch {
    // It ends by itself; here it is gone already.
  }
}

/** The session is over: forget the tokens and say why. */
export function end(reason) {
  clearTimeout(timer);
  if (state === null) return;
  state = null;
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // It was in memory only.
  }
  onEnd(reason);
}

/** Get a new token by the refresh token; true when there is one now. Many who ask at once get one answer. */
export function refresh() {
  if (!state?.refresh) return Promise.resolve(false);
  refreshing ??= renew().finally(() => (refreshing = null));
  return refreshing;
}

async function renew() {
  try {
    begin(await grant("refresh_token", { refresh_token: state.refresh }));
    return true;
  } catch (err) {
    if (err.refused) end("Your session has ended. Sign in again.");
    else schedule(10);
    return false;
  }
}

async function grant(type, body) {
  const { url, key } = await authServer();
  let answer;
  try {
    answer = await fetch(`${url}/token?grant_type=${type}`, {
      method: "POST",
      headers: { apikey: key, "Content-Type": "application/json" },
      body: JSON.stringify(body),
      credentials: "omit",
    });
  } catch {
    throw new Error("The auth server cannot be reached. Check your connection and try again.");
  }
  const found = await answer.json().catch(() => ({}));
  if (answer.ok && typeof found.access_token === "string") return found;
  const refused = new Error(sentence(answer.status, found));
  refused.refused = answer.status === 400 || answer.status === 401 || answer.status === 403;
  throw refused;
}

function sentence(status, found) {
  if (found.error_code === "invalid_credentials") return "E-mail address and password do not go together.";
  if (status === 429) return "Too many tries. Wait a minute and try again.";
  if (status >= 500) return "The auth server has a problem. Try again in a moment.";
  return String(found.msg || found.error_description || `The auth server answered ${status}.`).slice(0, 200);
}

function begin(answer) {
  const claims = peek(answer.access_token);
  // The clock of this machine may be wrong: what counts is how long the token lasts from now.
  const lasts = answer.expires_in ?? (claims?.exp && claims?.iat ? claims.exp - claims.iat : 3600);
  save({ access: answer.access_token, refresh: answer.refresh_token ?? "", expires: now() + lasts });
}

function save(session) {
  state = session;
  try {
    sessionStorage.setItem(KEY, JSON.stringify(session));
  } catch {
    // No storage: the session lasts until the page is reloaded.
  }
  schedule();
}

function load() {
  try {
    const found = JSON.parse(sessionStorage.getItem(KEY));
    return found && typeof found.access === "string" ? found : null;
  } catch {
    return null;
  }
}

function schedule(retry = 0) {
  clearTimeout(timer);
  if (state === null) return;
  const left = state.expires - now();
  if (state.refresh) timer = setTimeout(refresh, 1000 * (retry || Math.max(1, Math.min(left - EARLY, 86400))));
  else
    timer = setTimeout(() => end("The token has ended. Paste a new one."), 1000 * Math.max(0, Math.min(left, 86400)));
}

function peek(access) {
  const parts = access.split(".");
  if (parts.length !== 3) return null;
  try {
    return JSON.parse(atob(parts[1].replaceAll("-", "+").replaceAll("_", "/")));
  } catch {
    return null;
  }
}

function now() {
  return Date.now() / 1000;
}
