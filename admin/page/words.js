// The API's words, for people. A word that is not here is shown as it came.

export const KINDS = { deploy: "Deploy", plan: "Plan", apply: "Approved plan" };

export const HEALTH = {
  SERVING: ["good", "Serving"],
  COMPLETED: ["good", "Completed"],
  STARTING: ["wait", "Starting"],
  NOT_SERVING: ["bad", "Not serving"],
  FAILED: ["bad", "Failed"],
  UNREACHABLE: ["bad", "Unreachable"],
  UNKNOWN: ["wait", "Unknown"],
};

export const OUTCOMES = {
  ok: ["good", "Done"],
  failed: ["bad", "Failed"],
  unhealthy: ["bad", "Unhealthy"],
  busy: ["wait", "Was busy"],
  interrupted: ["wait", "Interrupted"],
  unknown: ["wait", "Unknown outcome"],
};

/** What a run did with a service. */
export const DONE = {
  deployed: "Deployed",
  unchanged: "Unchanged",
  held: "Held at its last good revision",
  left_out: "Left out",
  failed: "Failed",
};

export const ACTIONS = {
  create: ["+", "New", "good"],
  replace: ["⟳", "Replaced", "wait"],
  update: ["~", "Changed", "wait"],
  destroy: ["−", "Removed", "bad"],
  none: ["=", "Untouched", "calm"],
};

export const PHASES = {
  accepted: "Accepted",
  init: "Prepare Terraform",
  plan: "Plan",
  apply: "Apply",
  health: "Ask for health",
  destroy: "Remove",
  leftovers: "Tidy up",
};
