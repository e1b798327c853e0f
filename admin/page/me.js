// Who is signed in, as the admin app sees them.

const RANK = { viewer: 1, deployer: 2, admin: 3 };
let who = { name: "", subject: "", role: "viewer", stack: "" };

export function set(answer) {
  who = answer;
}

export function me() {
  return who;
}

export function mayDeploy() {
  return RANK[who.role] >= RANK.deployer;
}

/** Deployers may cancel their own runs, admins everybody's. */
export function mayCancel(run) {
  return RANK[who.role] >= RANK.admin || (mayDeploy() && run.by === who.subject);
}
