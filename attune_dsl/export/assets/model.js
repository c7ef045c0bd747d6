// The data of the page, and what of it is to be seen.

const DATA = JSON.parse(byId("data").textContent);
const { lanes: LANES, at: AT, of: OF, said: SAID, events: EVENTS } = DATA;

const BARS = DATA.bars.map(([lane, row, what, name, start, end, status, events, run], place) => ({
  key: `b${place}`, type: "bar", lane, row, what, name, start, end, status, events, run, family: what === "attempt" ? "stage" : what,
}));

const FAMILIES = [
  ["run", "Runs"], ["stage", "Stages"], ["wait", "Waits"], ["signal", "Signals"], ["emit", "Emits"],
  ["progress", "Progress"], ["agent", "Agents"], ["gap", "Gaps"], ["other", "Other"],
];
const FAMILY_OF = { run: "run", stage: "stage", signal: "signal", wait: "wait", agent: "agent", emit: "emit", timeline: "gap" };
const familyOf = (event) => {
  if (event.kind === "stage.progressed") return "progress";
  const head = event.kind.split(".", 1)[0];
  return Object.hasOwn(FAMILY_OF, head) ? FAMILY_OF[head] : "other";
};
const FAMILY = EVENTS.map(familyOf);

// What is drawn as a mark; what else there is begins or ends a bar.
const SHAPES = {
  emit: ["emit", "circle"], "stage.progressed": ["progress", "tick"], "stage.retried": ["retry", "again"],
  "signal.sent": ["signal", "send"], "signal.received": ["signal", "take"], "signal.expired": ["retry", "cross"],
  "agent.joined": ["agent", "in"], "agent.ended": ["agent", "out"], "agent.aborted": ["abort", "stop"],
  "agent.lost": ["lost", "cross"], "agent.stalled": ["stalled", "pause"], "agent.resumed": ["agent", "in"],
  "agent.fenced": ["abort", "stop"], "timeline.gap": ["gap", "gap"],
};
const IN_BARS = new Set(["run.started", "run.ended", "stage.started", "stage.ended", "wait.started", "wait.ended"]);
const MARKS = [];
EVENTS.forEach((event, place) => {
  if (IN_BARS.has(event.kind)) return;
  const [look, shape] = Object.hasOwn(SHAPES, event.kind) ? SHAPES[event.kind] : ["agent", "circle"];
  MARKS.push({ key: `e${place}`, type: "mark", lane: OF[place], start: AT[place], end: AT[place], place, look, shape, events: [place], family: FAMILY[place] });
});
MARKS.sort((one, other) => one.start - other.start);

const ARROWS = DATA.arrows.map(([name, from, to, sent, received, end], place) => ({
  key: `a${place}`, type: "arrow", name, from, to, sent, received, status: end, family: "signal",
  start: AT[sent ?? received], end: AT[received ?? sent], events: [sent, received].filter((one) => one !== null),
}));

const ITEMS = new Map([...BARS, ...MARKS, ...ARROWS].map((item) => [item.key, item]));
const BARS_OF = new Map();
for (const bar of BARS) for (const place of bar.events) (BARS_OF.get(place) ?? BARS_OF.set(place, []).get(place)).push(bar);
const ARROWS_OF = new Map();
for (const arrow of ARROWS) for (const place of arrow.events) (ARROWS_OF.get(place) ?? ARROWS_OF.set(place, []).get(place)).push(arrow);

// By time: the order in which the keys go from one to the next, and of the list.
const STEPS = [...BARS, ...MARKS].sort((one, other) => one.start - other.start || (one.type === "bar" ? -1 : 1));
const ORDER = EVENTS.map((_, place) => place).sort((one, other) => AT[one] - AT[other]);

const LANE_ABOUT = LANES.map((agent, lane) => {
  const runs = DATA.runs.filter((run) => run.agent === agent);
  const run = runs[runs.length - 1];
  if (run) return { status: run.status, text: runs.length > 1 ? `${runs.length} runs` : run.status, run };
  const ended = EVENTS.findLast((event, place) => OF[place] === lane && (event.kind === "agent.ended" || event.kind === "agent.lost"));
  if (!ended) return { status: "", text: "" };
  const status = ended.kind === "agent.lost" ? "lost" : ended.data.status;
  return { status, text: status };
});
const LANE_ROWS = LANES.map(() => 0);
for (const bar of BARS) LANE_ROWS[bar.lane] = Math.max(LANE_ROWS[bar.lane], bar.row + 1);

const GLYPHS = {
  completed: "✓", received: "✓", released: "✓", failed: "✕", lost: "✕", aborted: "■", cancelled: "–", running: "▸", waiting: "…",
  timeout: "✕", peer_gone: "✕", deadlock: "✕",
};
const glyph = (status) => (Object.hasOwn(GLYPHS, status) ? GLYPHS[status] : "");
const isBad = (status) => !["completed", "received", "released", "running", "waiting"].includes(status);

// What is filtered

const filter = { hidden: new Set(), words: "", matching: null };
const hay = new Map();
const haystack = (place) => {
  if (!hay.has(place)) hay.set(place, `${SAID[place]}\n${JSON.stringify(EVENTS[place])}`.toLowerCase());
  return hay.get(place);
};
const search = (words) => {
  filter.words = words.trim().toLowerCase();
  filter.matching = filter.words ? new Set(ORDER.filter((place) => haystack(place).includes(filter.words))) : null;
};
const isShown = (item) => !filter.hidden.has(item.family);
const isDim = (item) => filter.matching !== null && !item.events.some((place) => filter.matching.has(place));
const listed = () => ORDER.filter((place) => !filter.hidden.has(FAMILY[place]) && (filter.matching?.has(place) ?? true));

const title = (item) => {
  if (item.type === "mark") return SAID[item.place];
  if (item.type === "arrow") return `${item.name} from ${LANES[item.from] ?? "?"} to ${item.to === null ? "all" : LANES[item.to]}`;
  return item.what === "wait" ? `wait for ${item.name}` : item.name;
};
const spoken = (item) => {
  const who = item.type === "arrow" || item.lane === null ? "" : `${LANES[item.lane]}: `;
  const how = item.type === "bar" ? `, ${item.what}, ${item.status}, ${duration(item.end - item.start)}` : "";
  return clean(cut(`${who}${title(item)}${how}, at ${offset(item.start, 0.001)}`, 300));
};
