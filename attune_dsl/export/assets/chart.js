// The picture: lanes over time. Only what is to be seen is drawn, and what would lie on one pixel only once.

const RAIL = 22;
const ROW = 24;
const THICK = 20;
const CROWD = 150;
const SPAN = Math.max(DATA.end, 1e-4);
const view = { start: 0, end: SPAN, chosen: null, drawn: new Map() };
const chart = byId("chart");
const plot = byId("plot");
const axis = byId("axis");
const scroll = byId("scroll");

const isNarrow = () => chart.clientWidth < 640;
const gutter = () => (isNarrow() ? 0 : 158);
const inset = () => (isNarrow() ? 10 : 14);
const room = () => Math.max(40, plot.clientWidth - gutter() - 2 * inset());
const left = () => gutter() + inset();
const x = (time) => left() + ((time - view.start) / (view.end - view.start)) * room();
const timeAt = (pixel) => view.start + ((pixel - left()) / room()) * (view.end - view.start);

const layout = () => {
  const strip = isNarrow() ? 22 : 0;
  let top = 0;
  return LANES.map((_, lane) => {
    const rows = LANE_ROWS[lane];
    const place = { top, rail: top + strip + 4 + RAIL / 2, bars: top + strip + 4 + RAIL, height: Math.max(strip + RAIL + rows * ROW + 12, strip ? 0 : 52) };
    top += place.height;
    return place;
  });
};

// Moving

const fitAll = () => look(-SPAN * 0.005, SPAN * 1.012);
const look = (start, end) => {
  const size = Math.min(Math.max(end - start, 2e-5), SPAN * 1.2);
  const middle = (start + end) / 2;
  const from = Math.min(Math.max(middle - size / 2, -SPAN * 0.1), SPAN * 1.1 - size);
  view.start = Math.max(from, -SPAN * 0.1);
  view.end = view.start + size;
  redraw();
};
const zoom = (factor, around = (view.start + view.end) / 2) => {
  const size = Math.min(Math.max((view.end - view.start) * factor, 2e-5), SPAN * 1.2);
  const share = (around - view.start) / (view.end - view.start);
  look(around - share * size, around - share * size + size);
};
const pan = (seconds) => look(view.start + seconds, view.end + seconds);
const show = (item) => {
  const size = view.end - view.start;
  const middle = (Math.max(item.start, Math.min(item.end, view.end)) + item.start) / 2;
  if (item.start < view.start || item.start > view.end) look(middle - size / 2, middle + size / 2);
  const place = layout()[item.type === "arrow" ? item.from : item.lane];
  if (place && (place.top < scroll.scrollTop || place.top + place.height > scroll.scrollTop + scroll.clientHeight)) {
    scroll.scrollTop = Math.max(0, place.top - 20);
  }
};

let asked = false;
const redraw = () => {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    draw();
  });
};

// Drawing

const drawAxis = () => {
  const step = stepFor(((view.end - view.start) / room()) * (isNarrow() ? 62 : 84));
  const ticks = [];
  const lines = [];
  for (let number = Math.ceil(view.start / step); number * step <= view.end; number += 1) {
    if (number < 0) continue;
    const at = x(number * step);
    const label = offset(number * step, step);
    const half = width(label, "small") / 2;
    const centre = Math.min(Math.max(at, gutter() + half + 3), plot.clientWidth - half - 3);
    ticks.push(svg("g", { class: "tick" }, svg("line", { class: "edge", x1: at, x2: at, y1: 24, y2: 30 }),
      svg("text", { x: centre, y: 18, "text-anchor": "middle" }, label)));
    lines.push(svg("line", { class: "grid", x1: at, x2: at, y1: 0, y2: "100%" }));
  }
  axis.replaceChildren(...ticks, svg("g", { id: "pointer" }));
  return lines;
};

// The labels lie above the arrows, to be read where one crosses.
const drawBar = (bar, lane, from, to, labels) => {
  const start = Math.max(from, gutter() - 4);
  const size = Math.max(2, Math.min(to, plot.clientWidth + 4) - start);
  const top = lane.bars + bar.row * ROW;
  const group = svg("g", { class: `bar ${bar.what}${isBad(bar.status) ? " bad" : ""}${isDim(bar) ? " dim" : ""}`, "data-status": bar.status,
    "data-key": bar.key, id: bar.key, role: "option", "aria-label": spoken(bar), "aria-selected": view.chosen === bar.key });
  group.append(svg("title", {}, spoken(bar)), svg("rect", { x: start, y: top, width: size, height: THICK, rx: Math.min(4, size / 2) }));
  if (size > 7) group.append(svg("rect", { class: "lead", x: start, y: top, width: 3, height: THICK, rx: 1.5 }));
  const sign = isBad(bar.status) ? `${glyph(bar.status)} ` : "";
  const label = size > 26 ? fit(`${sign}${title(bar)}`, size - 14, bar.what === "run" ? "bold" : "normal") : "";
  if (label) {
    const texts = svg("g", { class: group.getAttribute("class").replace("bar", "label"), "data-status": bar.status }, svg("text", { x: start + 8, y: top + 14 }, label));
    labels.push(texts);
    const taken = width(label, "bold") + 20;
    const lasted = duration(bar.end - bar.start);
    const end = Math.min(start + size, plot.clientWidth);
    if (end - start - taken > width(lasted, "small") + 8) {
      texts.append(svg("text", { class: "lasted", x: end - 7, y: top + 14, "text-anchor": "end" }, lasted));
    }
  }
  if (view.chosen === bar.key) group.classList.add("chosen");
  return group;
};

const drawBars = (lanes, visible, labels) => {
  const last = new Map();
  const drawn = [];
  for (const bar of BARS) {
    if (!isShown(bar) || bar.end < view.start || bar.start > view.end || !visible(bar.lane)) continue;
    const from = x(bar.start);
    const to = Math.max(x(bar.end), from + 2);
    const track = bar.lane * 1000 + bar.row;
    const before = last.get(track);
    if (before !== undefined && to <= before + 1 && view.chosen !== bar.key) continue;
    last.set(track, to);
    view.drawn.set(bar.key, { x: Math.max(from, gutter()), y: lanes[bar.lane].bars + bar.row * ROW + THICK / 2 });
    drawn.push(drawBar(bar, lanes[bar.lane], from, to, labels));
  }
  return drawn;
};

const drawMark = (mark, at, y, label) => {
  const group = svg("g", { class: `${markClass(mark.look, mark.shape)}${isDim(mark) ? " dim" : ""}`, transform: `translate(${at} ${y})`,
    "data-key": mark.key, id: mark.key, role: "option", "aria-label": spoken(mark), "aria-selected": view.chosen === mark.key });
  group.append(svg("title", {}, spoken(mark)), svg("rect", { class: "hit", x: -8, y: -RAIL / 2, width: 16, height: RAIL }), shape(mark.shape));
  if (label) group.append(svg("text", { class: "type", x: 8, y: 4 }, label));
  if (view.chosen === mark.key) group.classList.add("chosen");
  return group;
};

const drawCluster = (marks, at, y) => {
  const count = marks.length > 999 ? "999+" : String(marks.length);
  const half = Math.max(8, 4 + count.length * 3.2);
  const group = svg("g", { class: `mark cluster${marks.every(isDim) ? " dim" : ""}`, transform: `translate(${at} ${y})`, role: "option",
    "data-cluster": marks.map((mark) => mark.key).join(" "), "aria-selected": false,
    "aria-label": `${marks.length} events close together at ${offset(marks[0].start, 0.001)}` });
  group.append(svg("rect", { x: -half, y: -7.5, width: 2 * half, height: 15, rx: 7.5 }), svg("text", { y: 3.6 }, count));
  if (marks.some((mark) => mark.key === view.chosen)) group.classList.add("chosen");
  return group;
};

// Marks closer than they are wide are one, which says how many it is.
const clusters = (marks) => {
  const found = [];
  for (const mark of marks) {
    const at = x(mark.start);
    const last = found[found.length - 1];
    if (last && at - last.to < 13) {
      last.marks.push(mark);
      last.to = Math.max(last.to, at);
    } else found.push({ marks: [mark], from: at, to: at });
    const current = found[found.length - 1];
    if (current.to - current.from > 40) found.push({ marks: [], from: current.to, to: -Infinity });
  }
  return found.filter((one) => one.marks.length);
};

const drawMarks = (lanes, visible) => {
  const drawn = [];
  const rails = LANES.map(() => []);
  for (const mark of MARKS) {
    if (mark.lane === null || !isShown(mark) || mark.start < view.start || mark.start > view.end || !visible(mark.lane)) continue;
    rails[mark.lane].push(mark);
  }
  rails.forEach((marks, lane) => {
    const found = clusters(marks);
    found.forEach(({ marks: together, from, to }, place) => {
      const at = (from + to) / 2;
      const y = lanes[lane].rail;
      for (const mark of together) view.drawn.set(mark.key, { x: at, y });
      if (together.length > 1) return drawn.push(drawCluster(together, at, y));
      const [mark] = together;
      const next = found[place + 1] ? found[place + 1].from : plot.clientWidth;
      const label = mark.shape === "send" ? fit(EVENTS[mark.place].data.type, next - at - 22, "small") : "";
      return drawn.push(drawMark(mark, at, y, label.endsWith("…") && label.length < 6 ? "" : label));
    });
  });
  return drawn;
};

const drawArrow = (arrow, lanes) => {
  const from = { x: x(arrow.start), y: lanes[arrow.from]?.rail };
  const aim = arrow.to ?? (arrow.from === 0 ? 1 : arrow.from - 1);
  const isStub = arrow.received === null;
  const to = { x: x(arrow.end), y: lanes[aim]?.rail };
  if (from.y === undefined || to.y === undefined) return null;
  if (isStub) to.y = from.y + Math.sign(to.y - from.y || 1) * 20;
  const down = Math.sign(to.y - from.y);
  const bend = Math.min(Math.max(Math.abs(to.y - from.y) * 0.35, 10), 60);
  const start = from.y + down * 4;
  const end = to.y - down * 9;
  const way = down === 0
    ? `M${from.x} ${from.y - 4} C${from.x} ${from.y - 16} ${to.x} ${to.y - 16} ${to.x} ${to.y - 9}`
    : `M${from.x} ${start} C${from.x} ${start + down * bend} ${to.x} ${end - down * bend} ${to.x} ${end}`;
  const tip = `M${to.x} ${to.y - (down || 1) * 3.5} l-4 ${-(down || 1) * 7} h8 Z`;
  view.drawn.set(arrow.key, { x: (from.x + to.x) / 2, y: (from.y + to.y) / 2 });
  const group = svg("g", { class: `arrow ${arrow.status}${isDim(arrow) ? " dim" : ""}`, "data-key": arrow.key, id: arrow.key, role: "option",
    "aria-label": spoken(arrow), "aria-selected": view.chosen === arrow.key },
  svg("title", {}, spoken(arrow)), svg("path", { class: "way", d: way }), svg("path", { class: "tip", d: tip }), svg("path", { class: "hit", d: way, "stroke-width": 10 }));
  if (view.chosen === arrow.key) group.classList.add("chosen");
  return group;
};

const drawArrows = (lanes, visible) => {
  const taken = new Set();
  const drawn = [];
  const seen = ARROWS.filter((arrow) => isShown(arrow) && arrow.end >= view.start && arrow.start <= view.end
    && (visible(arrow.from) || visible(arrow.to)));
  // Of very many some are drawn, and faintly: they must not hide the bars.
  const apart = seen.length > CROWD ? 9 : 3;
  plot.classList.toggle("crowded", seen.length > CROWD);
  for (const arrow of seen) {
    const spot = `${arrow.from} ${arrow.to} ${Math.round(x(arrow.start) / apart)}`;
    if (taken.has(spot) && view.chosen !== arrow.key) continue;
    taken.add(spot);
    const group = drawArrow(arrow, lanes);
    if (group) drawn.push(group);
  }
  return drawn;
};

const drawGaps = (height) =>
  MARKS.filter((mark) => mark.lane === null && isShown(mark) && mark.start >= view.start && mark.start <= view.end).map((mark) => {
    const at = x(mark.start);
    view.drawn.set(mark.key, { x: at, y: 12 });
    const group = drawMark(mark, at, 14, "");
    group.prepend(svg("line", { class: "gap-line", x1: 0, x2: 0, y1: -14, y2: height }));
    return group;
  });

const drawLane = (place, lane) => {
  const group = svg("g", { class: "lane" });
  const about = LANE_ABOUT[lane];
  const note = [about.run?.workflow && about.run.workflow !== LANES[lane] ? about.run.workflow : "", about.text].filter(Boolean).join(" · ");
  const dot = about.status ? svg("g", { "data-status": about.status }, svg("circle", { class: "status", r: 4, cx: 14 })) : null;
  if (dot) dot.firstChild.style.fill = "var(--c)";
  if (isNarrow()) {
    const name = fit(LANES[lane], 180, "name");
    group.append(svg("text", { class: "lane-name", x: dot ? 25 : 12, y: place.top + 19 }, name),
      svg("text", { class: "lane-about", x: (dot ? 35 : 22) + width(name, "name"), y: place.top + 19 }, fit(note, 150, "small")));
    dot?.firstChild.setAttribute("cy", place.top + 15);
  } else {
    group.append(svg("rect", { class: "gutter", x: 0, y: place.top, width: gutter(), height: place.height }),
      svg("text", { class: "lane-name", x: 26, y: place.top + 20 }, fit(LANES[lane], gutter() - 34, "name")),
      svg("text", { class: "lane-about", x: 26, y: place.top + 37 }, fit(note, gutter() - 34, "small")));
    dot?.firstChild.setAttribute("cy", place.top + 15.5);
  }
  if (dot) group.append(dot);
  group.append(svg("line", { class: "edge", x1: 0, x2: "100%", y1: place.top + place.height - 0.5, y2: place.top + place.height - 0.5 }));
  return group;
};

const draw = () => {
  const lanes = layout();
  const last = lanes[lanes.length - 1];
  const height = last ? last.top + last.height : 60;
  plot.setAttribute("height", height);
  const visible = (lane) => {
    const place = lanes[lane];
    return place && place.top < scroll.scrollTop + scroll.clientHeight + 100 && place.top + place.height > scroll.scrollTop - 100;
  };
  view.drawn.clear();
  const grid = drawAxis();
  const labels = [];
  const bars = drawBars(lanes, visible, labels);
  const arrows = drawArrows(lanes, visible);
  const marks = drawMarks(lanes, visible);
  const names = lanes.map((place, lane) => (visible(lane) ? drawLane(place, lane) : "")).filter(Boolean);
  const gaps = drawGaps(height);
  const order = isNarrow() ? [grid, names, bars, arrows, labels, marks, gaps] : [grid, bars, arrows, labels, marks, gaps, names];
  const layers = order.map((layer) => svg("g", { role: layer === labels || layer === grid ? "none" : "presentation" }, ...layer));
  plot.replaceChildren(hatch(), ...layers);
  if (gutter()) plot.append(svg("line", { class: "edge", x1: gutter() - 0.5, x2: gutter() - 0.5, y1: 0, y2: height }));
  if (document.getElementById(view.chosen ?? "")) chart.setAttribute("aria-activedescendant", view.chosen);
  else chart.removeAttribute("aria-activedescendant");
};

const point = (pixel) => {
  const pointer = byId("pointer");
  if (!pointer) return;
  if (pixel === null || pixel < gutter()) return pointer.replaceChildren();
  const label = offset(timeAt(pixel), stepFor((view.end - view.start) / room()));
  const half = width(label, "small") / 2 + 5;
  const centre = Math.min(Math.max(pixel, gutter() + half), plot.clientWidth - half);
  pointer.replaceChildren(svg("rect", { class: "now-box", x: centre - half, y: 5, width: 2 * half, height: 18, rx: 4 }),
    svg("text", { class: "now-text", x: centre, y: 18, "text-anchor": "middle" }, label));
  return undefined;
};
