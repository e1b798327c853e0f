// Who calls whom, with the sidecars' own figures: a picture, and the same as a table.

import { get, pause } from "./api.js";
import { h, newId, put, svg } from "./dom.js";
import { plural, short } from "./format.js";
import { layout } from "./layout.js";
import { pill, problemBox, table } from "./parts.js";

const EVERY = 3000;

export async function showGraph(root, { signal }) {
  const allowed = h("input", { type: "checkbox", id: newId("allowed") });
  const lead = h("p", { class: "lead" }, "Asking the sidecars…");
  const picture = h("div", { class: "graph", role: "region", "aria-label": "Picture of the graph", tabindex: "0" });
  const figures = h("div", {});
  const trouble = h("div", {});
  put(
    root,
    h(
      "div",
      { class: "title" },
      h("h1", {}, "Graph"),
      h("div", { class: "check" }, allowed, h("label", { for: allowed.id }, "Also who may call")),
    ),
    lead,
    trouble,
    picture,
    figures,
  );
  let last = null;
  let painted = "";
  const paint = () => {
    if (!last) return;
    const edges = last.edges.filter((edge) => edge.did || (allowed.checked && edge.may));
    const called = edges.filter((edge) => edge.did);
    const failing = called.filter(hurt);
    lead.textContent =
      called.length === 0 ? "No service has called another since it was started." : summary(called, failing);
    const narrow = picture.clientWidth < 640;
    const now = JSON.stringify([last, allowed.checked, narrow]);
    if (now === painted) return;
    painted = now;
    put(picture, draw(last.nodes, edges, narrow));
    if (!figures.contains(document.activeElement)) put(figures, edges.length > 0 && numbers(edges));
  };
  allowed.addEventListener("change", paint);
  const watcher = new ResizeObserver(paint);
  watcher.observe(picture);
  signal.addEventListener("abort", () => watcher.disconnect(), { once: true });
  while (!signal.aborted) {
    if (!document.hidden) {
      try {
        last = await get("/v1/graph", signal);
        put(trouble);
        paint();
      } catch (err) {
        if (signal.aborted) return;
        put(trouble, problemBox(err));
      }
    }
    await pause(EVERY, signal);
  }
}

function summary(called, failing) {
  const used = plural(called.length, "connection is", "connections are");
  const errors = failing.length ? `${failing.length} with errors` : "all without errors";
  return `${used} used, ${errors}. On each line: requests a second, and the time that 95 of 100 took at most.`;
}

const hurt = (edge) => edge.did && (edge.errors > 0 || edge.refused > 0 || !edge.may);

function draw(nodes, edges, narrow) {
  const used = new Set(edges.flatMap((edge) => [edge.from, edge.to]));
  const shown = nodes.filter((node) => node.kind === "service" || used.has(node.id));
  if (shown.length === 0) return h("p", { class: "lead" }, "No services yet.");
  const { width, height, boxes, paths } = layout(shown, edges, narrow);
  const tone = (edge) => (!edge.did ? "may" : hurt(edge) ? "bad" : "calm");
  return svg(
    "svg",
    {
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
      role: "img",
      "aria-label": `Graph of ${plural(shown.length, "node")}; the table below has the same figures`,
    },
    svg(
      "defs",
      {},
      ["calm", "bad", "may"].map((kind) =>
        svg(
          "marker",
          {
            id: `arrow-${kind}`,
            viewBox: "0 0 8 8",
            refX: 7,
            refY: 4,
            markerWidth: 9,
            markerHeight: 9,
            markerUnits: "userSpaceOnUse",
            orient: "auto",
          },
          svg("path", { d: "M0 0.6 L7.4 4 L0 7.4 z", class: `arrow ${kind}` }),
        ),
      ),
    ),
    paths.map(({ edge, d }) =>
      svg("path", {
        d,
        class: `edge ${tone(edge)}`,
        "stroke-width": edge.did ? 1.5 + Math.min(2.5, Math.log10(1 + (edge.rate ?? 0))) : 1,
        "marker-end": `url(#arrow-${tone(edge)})`,
      }),
    ),
    boxes.map(({ node, x, y, w, h: tall }) =>
      svg(
        "g",
        {},
        svg("rect", {
          x,
          y,
          width: w,
          height: tall,
          rx: node.kind === "service" ? 10 : tall / 2,
          class: `node ${node.kind}`,
        }),
        svg(
          "text",
          { x: x + w / 2, y: y + tall / 2 + 5, "text-anchor": "middle", class: "node-name" },
          svg("title", {}, node.id),
          node.id.length * 9 > w - 16 ? `${node.id.slice(0, Math.floor((w - 24) / 9))}…` : node.id,
        ),
      ),
    ),
    labels(
      paths.filter(({ edge }) => edge.did),
      boxes,
    ),
  );
}

/** The figures on the lines, each where it covers no node and no other figure. */
function labels(paths, boxes) {
  const taken = boxes.map(({ x, y, w, h: tall }) => [x, y, x + w, y + tall]);
  return paths.map(({ edge, at }) => {
    const text = label(edge);
    const half = text.length * 3.3 + 4;
    const spots = [0.5, 0.38, 0.62, 0.28, 0.72, 0.2, 0.8].flatMap((t) =>
      [0, -14, 14].map((by) => {
        const [x, y] = at(t);
        return [x, y + by, [x - half, y + by - 9, x + half, y + by + 9]];
      }),
    );
    const clear = ([, , one]) =>
      !taken.some((other) => one[0] < other[2] && one[2] > other[0] && one[1] < other[3] && one[3] > other[1]);
    const [x, y, box] = spots.find(clear) ?? spots[0];
    taken.push(box);
    return svg(
      "g",
      {},
      svg("rect", { x: x - half + 2, y: y - 9, width: 2 * half - 4, height: 18, rx: 5, class: "edge-paper" }),
      svg("text", { x, y: y + 4, class: `edge-label ${hurt(edge) ? "bad" : ""}`, "text-anchor": "middle" }, text),
    );
  });
}

function label(edge) {
  const parts = [];
  if (edge.rate !== null && edge.rate !== undefined) parts.push(`${short(edge.rate)}/s`);
  else parts.push(plural(edge.requests, "request"));
  if (edge.p95_ms !== null && edge.p95_ms !== undefined) parts.push(`${short(edge.p95_ms)} ms`);
  const failed = edge.errors + edge.refused;
  if (failed > 0) parts.push(plural(failed, "error"));
  return parts.join(" · ");
}

function numbers(edges) {
  return table(
    "Calls between services",
    ["From → to", "State", "Requests", "Per second", "Errors", "p50", "p95"],
    edges.map((edge) => [
      `${edge.from} → ${edge.to}`,
      !edge.did
        ? pill("calm", "May call")
        : !edge.may
          ? pill("bad", "Not allowed")
          : hurt(edge)
            ? pill("bad", "Errors")
            : pill("good", "Well"),
      edge.did ? edge.requests.toLocaleString() : "–",
      short(edge.rate),
      edge.did ? `${edge.errors + edge.refused}${edge.refused ? ` (${edge.refused} refused)` : ""}` : "–",
      edge.p50_ms === null || edge.p50_ms === undefined ? "–" : `${short(edge.p50_ms)} ms`,
      edge.p95_ms === null || edge.p95_ms === undefined ? "–" : `${short(edge.p95_ms)} ms`,
    ]),
  );
}
