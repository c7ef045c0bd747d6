// Making shapes.

const svg = (tag, attributes = {}, ...children) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== undefined) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

const ruler = document.createElement("canvas").getContext("2d");
const widths = new Map();
const FONTS = { normal: "12px", small: "11px", bold: "600 12px", name: "600 13px" };
const family = () => getComputedStyle(document.body).fontFamily;
const width = (text, font = "normal") => {
  const key = `${font} ${text}`;
  if (!widths.has(key)) {
    if (widths.size > 20000) widths.clear();
    ruler.font = `${FONTS[font]} ${family()}`;
    widths.set(key, ruler.measureText(text).width);
  }
  return widths.get(key);
};

// As much of a text as there is room for; nothing where that would say nothing.
const fit = (raw, room, font = "normal") => {
  const text = clean(cut(raw, 200));
  if (width(text, font) <= room) return text;
  let low = 0;
  let high = text.length;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (width(`${text.slice(0, middle)}…`, font) <= room) low = middle;
    else high = middle - 1;
  }
  return low < 2 ? "" : `${text.slice(0, low)}…`;
};

// Shapes of 12 x 12 around 0, 0.
const PATHS = {
  tick: "M0 -5 L4.5 4 H-4.5 Z",
  again: "M3.9 -2.6 A4.6 4.6 0 1 0 4.6 1 M4.8 -5.4 V-1.9 H1.3",
  cross: "M-4 -4 L4 4 M4 -4 L-4 4",
  stop: "M-2.1 -5 H2.1 L5 -2.1 V2.1 L2.1 5 H-2.1 L-5 2.1 V-2.1 Z",
  pause: "M-2.5 -4.5 V4.5 M2.5 -4.5 V4.5",
  in: "M-3.5 -5 L4.5 0 L-3.5 5 Z",
  out: "M-4.2 -4.2 H4.2 V4.2 H-4.2 Z",
  gap: "M-5 3 L-2 -3 L2 3 L5 -3",
  send: "M0 -4.6 L4.6 0 L0 4.6 L-4.6 0 Z",
};
const LINES = new Set(["again", "cross", "pause", "gap"]);
const shape = (name) => {
  if (name === "circle") return svg("circle", { r: 4.2 });
  if (name === "take") return svg("circle", { r: 3.4 });
  return svg("path", { d: PATHS[name] });
};
const markClass = (look, name) => `mark ${look}${LINES.has(name) ? " line" : ""}`;

const hatch = () =>
  svg("defs", {},
    svg("pattern", { id: "hatch", width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
      svg("rect", { width: 7, height: 7, class: "hatch-ground" }), svg("line", { x1: 0, x2: 0, y1: 0, y2: 7, class: "hatch-line" })),
  );

const STEP_SIZES = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];
const stepFor = (least) => {
  if (least >= 1) return STEP_SIZES.find((size) => size >= least) ?? 86400 * 10 ** Math.ceil(Math.log10(least / 86400));
  const power = 10 ** Math.floor(Math.log10(least));
  return power * [1, 2, 5, 10].find((size) => size * power >= least * 0.999);
};
