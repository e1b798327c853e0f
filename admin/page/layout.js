// Where the nodes of a graph go: callers before the called, in columns (wide) or in rows (narrow).

const BOX = { w: 168, h: 44 };
const GAP = { wide: { along: 150, across: 34 }, tall: { along: 64, across: 24 } };
const MARGIN = 24;

/** {width, height, boxes: [{node, x, y, w, h}], paths: [{edge, d, x, y}]}; x and y of a path are its label's. */
export function layout(nodes, edges, vertical) {
  const rank = ranks(nodes, edges);
  const layers = [];
  for (const node of nodes) (layers[rank.get(node.id)] ??= []).push(node);
  order(layers, edges);

  const gap = vertical ? GAP.tall : GAP.wide;
  const w = vertical ? 140 : BOX.w;
  // On a narrow screen a layer is broken into lines of two.
  const rows = vertical ? layers.flatMap((layer) => chunks(layer, 2)) : layers;
  const [along, across] = vertical ? [BOX.h + gap.along, w + gap.across] : [w + gap.along, BOX.h + gap.across];
  const widest = Math.max(1, ...rows.map((row) => row.length));
  const place = new Map();
  rows.forEach((row, at) => row.forEach((node, index) => {
    const side = MARGIN + ((widest - row.length) / 2 + index) * across;
    const front = MARGIN + at * along;
    place.set(node.id, vertical ? { node, x: side, y: front, w, h: BOX.h } : { node, x: front, y: side, w, h: BOX.h });
  }));
  const length = 2 * MARGIN + rows.length * along - gap.along;
  const breadth = 2 * MARGIN + widest * across - gap.across;
  return {
    width: vertical ? breadth : length,
    height: vertical ? length : breadth,
    boxes: [...place.values()],
    paths: edges.filter((edge) => place.has(edge.from) && place.has(edge.to)).map((edge) => path(edge, place.get(edge.from), place.get(edge.to), vertical)),
  };
}

/** The longest way from somebody whom nobody calls; calls that close a circle do not count. */
function ranks(nodes, edges) {
  const calls = new Map(nodes.map((node) => [node.id, []]));
  for (const edge of edges) if (edge.from !== edge.to) calls.get(edge.from)?.push(edge.to);
  const rank = new Map(nodes.map((node) => [node.id, 0]));
  const open = new Set();
  const visit = (id, depth) => {
    if (open.has(id) || !rank.has(id) || depth > nodes.length) return;
    if (depth < rank.get(id) || (depth === rank.get(id) && depth > 0)) return;
    rank.set(id, depth);
    open.add(id);
    for (const next of calls.get(id)) visit(next, depth + 1);
    open.delete(id);
  };
  const called = new Set(edges.map((edge) => edge.to));
  for (const node of nodes) if (!called.has(node.id)) visit(node.id, 0);
  for (const node of nodes) if (called.has(node.id) && rank.get(node.id) === 0) visit(node.id, 0);
  const used = [...new Set(rank.values())].sort((a, b) => a - b);
  return new Map([...rank].map(([id, value]) => [id, used.indexOf(value)]));
}

/** In each layer, nodes stand near those that call them. */
function order(layers, edges) {
  layers.forEach((layer, at) => {
    if (at === 0) return;
    const before = new Map(layers[at - 1].map((node, index) => [node.id, index]));
    const weight = (node) => {
      const callers = edges.filter((edge) => edge.to === node.id && before.has(edge.from)).map((edge) => before.get(edge.from));
      return callers.length ? callers.reduce((a, b) => a + b, 0) / callers.length : layer.indexOf(node);
    };
    const weights = new Map(layer.map((node) => [node.id, weight(node)]));
    layer.sort((a, b) => weights.get(a.id) - weights.get(b.id));
  });
}

function path(edge, from, to, vertical) {
  const [a, b] = vertical
    ? [{ x: from.x + from.w / 2, y: from.y + from.h }, { x: to.x + to.w / 2, y: to.y }]
    : [{ x: from.x + from.w, y: from.y + from.h / 2 }, { x: to.x, y: to.y + to.h / 2 }];
  const back = vertical ? b.y < a.y : b.x < a.x;
  const pull = back ? 90 : Math.max(30, Math.abs(vertical ? b.y - a.y : b.x - a.x) / 2);
  const [c, d] = vertical ? [{ x: a.x, y: a.y + pull }, { x: b.x, y: b.y - pull }] : [{ x: a.x + pull, y: a.y }, { x: b.x - pull, y: b.y }];
  return {
    edge,
    d: `M${a.x} ${a.y} C${c.x} ${c.y} ${d.x} ${d.y} ${b.x} ${b.y}`,
    x: (a.x + 3 * c.x + 3 * d.x + b.x) / 8,
    y: (a.y + 3 * c.y + 3 * d.y + b.y) / 8 - 6,
  };
}

function chunks(list, size) {
  const found = [];
  for (let at = 0; at < list.length; at += size) found.push(list.slice(at, at + size));
  return found;
}
