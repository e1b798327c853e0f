// Where the nodes of a graph go: callers before the called, in columns, or in rows where the screen is narrow.
// A call that skips a layer gets a lane of its own through it, so that no line crosses a node.

const NODE = { w: 168, h: 44 };
const LANE = 26;
const MARGIN = 22;

/** {width, height, boxes: [{node, x, y, w, h}], paths: [{edge, d, at(t)}]} */
export function layout(nodes, edges, narrow) {
  const rank = ranks(nodes, edges);
  const layers = [];
  for (const node of nodes) (layers[rank.get(node.id)] ??= []).push({ id: node.id, node });
  const chains = edges
    .filter((edge) => rank.has(edge.from) && rank.has(edge.to))
    .map((edge) => ({ edge, items: chain(edge, rank, layers) }));
  order(layers, chains);

  const widest = Math.max(1, ...layers.map((layer) => layer.filter((item) => item.node).length));
  const vertical = narrow && widest <= 2;
  const box = vertical ? { w: 124, h: 40 } : NODE;
  const [deep, broad] = vertical ? [box.h, box.w] : [box.w, box.h];
  const [between, beside] = vertical ? [72, 18] : [190, 26];
  const breadth = (item) => (item.node ? broad : LANE);
  const total = (layer) => layer.reduce((sum, item) => sum + breadth(item), 0) + beside * (layer.length - 1);
  const most = Math.max(...layers.map(total));
  layers.forEach((layer, at) => {
    let side = MARGIN + (most - total(layer)) / 2;
    for (const item of layer) {
      item.front = MARGIN + at * (deep + between);
      item.middle = side + breadth(item) / 2;
      side += breadth(item) + beside;
    }
  });

  const point = (along, across) => (vertical ? [across, along] : [along, across]);
  const length = 2 * MARGIN + layers.length * (deep + between) - between;
  const size = 2 * MARGIN + most;
  ports(chains, broad);
  return {
    width: vertical ? size : length,
    height: vertical ? length : size,
    boxes: layers
      .flat()
      .filter((item) => item.node)
      .map((item) => {
        const [x, y] = point(item.front, item.middle - broad / 2);
        return { node: item.node, x, y, ...box };
      }),
    paths: chains.map((each) => path(each, deep, between, point)),
  };
}

/** The longest way from somebody whom nobody calls; calls that close a circle do not count. */
function ranks(nodes, edges) {
  const calls = new Map(nodes.map((node) => [node.id, []]));
  for (const edge of edges) if (edge.from !== edge.to) calls.get(edge.from)?.push(edge.to);
  const rank = new Map(nodes.map((node) => [node.id, -1]));
  const open = new Set();
  const visit = (id, depth) => {
    if (!rank.has(id) || open.has(id) || depth <= rank.get(id)) return;
    rank.set(id, depth);
    open.add(id);
    for (const next of calls.get(id)) visit(next, depth + 1);
    open.delete(id);
  };
  const called = new Set(edges.map((edge) => edge.to));
  for (const node of nodes) if (!called.has(node.id)) visit(node.id, 0);
  for (const node of nodes) if (rank.get(node.id) < 0) visit(node.id, 0);
  const used = [...new Set(rank.values())].sort((a, b) => a - b);
  return new Map([...rank].map(([id, value]) => [id, used.indexOf(value)]));
}

/** The places that a call passes: its ends, and a lane in each layer between them. */
function chain(edge, rank, layers) {
  const find = (id) => layers[rank.get(id)].find((item) => item.id === id);
  const lanes = [];
  for (let at = rank.get(edge.from) + 1; at < rank.get(edge.to); at += 1) {
    const lane = { id: `${edge.from} ${edge.to} ${at}`, node: null };
    layers[at].push(lane);
    lanes.push(lane);
  }
  return [find(edge.from), ...lanes, find(edge.to)];
}

/** In each layer, everything stands near what leads to it. */
function order(layers, chains) {
  for (let at = 1; at < layers.length; at += 1) {
    const before = new Map(layers[at - 1].map((item, index) => [item, (index + 0.5) / layers[at - 1].length]));
    const weight = new Map(
      layers[at].map((item, index) => {
        const from = chains
          .flatMap(({ items }) => items.map((each, n) => (each === item ? before.get(items[n - 1]) : undefined)))
          .filter((each) => each !== undefined);
        return [item, from.length ? from.reduce((a, b) => a + b, 0) / from.length : (index + 0.5) / layers[at].length];
      }),
    );
    layers[at].sort((a, b) => weight.get(a) - weight.get(b));
  }
}

/** Lines that begin or end at one node are spread along its side. */
function ports(chains, broad) {
  const spread = (list, mine, other) => {
    list.sort((a, b) => other(a).middle - other(b).middle);
    list.forEach((each, index) =>
      mine(each, ((index + 1) / (list.length + 1) - 0.5) * Math.min(broad * 0.7, 16 * list.length)),
    );
  };
  for (const item of new Set(chains.flatMap(({ items }) => [items[0], items.at(-1)]))) {
    spread(
      chains.filter(({ items }) => items[0] === item),
      (each, by) => (each.out = by),
      ({ items }) => items[1],
    );
    spread(
      chains.filter(({ items }) => items.at(-1) === item),
      (each, by) => (each.in = by),
      ({ items }) => items.at(-2),
    );
  }
}

function path({ edge, items, out, in: into }, deep, between, point) {
  const [first, last] = [items[0], items.at(-1)];
  const stops = [[first.front + deep, first.middle + out]];
  for (const lane of items.slice(1, -1)) stops.push([lane.front, lane.middle], [lane.front + deep, lane.middle]);
  stops.push([last.front, last.middle + into]);
  const curves = [];
  for (let at = 0; at + 1 < stops.length; at += 1) {
    const [[a, b], [c, d]] = [stops[at], stops[at + 1]];
    const pull = c > a ? (c - a) / 2 : between * 0.6; // backwards: a loop out of the one side and into the other
    curves.push(
      [
        [a, b],
        [a + pull, b],
        [c - pull, d],
        [c, d],
      ].map(([along, across]) => point(along, across)),
    );
  }
  const longest = curves[0];
  return {
    edge,
    d: curves
      .map(([p, q, r, s], at) => `${at ? "" : `M${p.join(" ")} `}C${q.join(" ")} ${r.join(" ")} ${s.join(" ")}`)
      .join(" "),
    /** The point at share t of the first curve, where the label goes. */
    at: (t) =>
      [0, 1].map((axis) =>
        [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t ** 3].reduce(
          (sum, share, n) => sum + share * longest[n][axis],
          0,
        ),
      ),
  };
}
