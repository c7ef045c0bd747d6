// What is known of the thing that was chosen.

const LONG = 4000;
const about = byId("about");
const details = byId("details");

const isolated = (value) => {
  const element = make("bdi");
  element.textContent = clean(value);
  return element;
};
const line = (list, name, value) => {
  if (value === null || value === undefined || value === "") return;
  list.append(make("dt", {}, name), make("dd", {}, isolated(value)));
};
const pill = (status) => {
  const element = make("span", { class: "pill", "data-status": status, "data-glyph": glyph(status) });
  element.textContent = clean(cut(status, 40));
  return element;
};

// A block of text; of a very long one the beginning, until somebody asks for all.
const block = (text) => {
  const pre = make("pre", { tabindex: 0 });
  if (text.length <= LONG) {
    pre.textContent = cleanBlock(text);
    return [pre];
  }
  pre.textContent = `${cleanBlock(text.slice(0, LONG))}…`;
  const more = make("button", { type: "button", class: "more" }, `Show all ${whole(text.length)} characters`);
  more.addEventListener("click", () => {
    pre.textContent = cleanBlock(text);
    more.remove();
  });
  return [pre, more];
};

const jump = (key, text, note) => {
  const button = make("button", { type: "button", class: "jump" }, isolated(cut(text, 200)));
  if (note) button.append(make("span", { class: "muted" }, ` · ${note}`));
  button.addEventListener("click", () => choose(key, { show: true }));
  return button;
};

const dataOf = (event) => {
  const data = event.data ?? {};
  const plain = Object.entries(data).filter(([, value]) => value !== null && typeof value !== "object" && String(value).length <= 300);
  return { plain, rest: Object.entries(data).filter(([name, value]) => value !== null && !plain.some(([known]) => known === name)) };
};

const DURATIONS = new Set(["duration", "pause", "waited", "timeout", "ttl"]);
const FRACTIONS = new Set(["fraction", "run_progress", "progress"]);
const readable = (name, value) => {
  if (typeof value !== "number") return String(value);
  if (DURATIONS.has(name)) return duration(value);
  if (FRACTIONS.has(name)) return `${Math.round(value * 1000) / 10} %`;
  return name === "beat_at" ? date(value) : String(value);
};

// What an event says; `isPart` leaves out what is the same for all of a bar.
const eventParts = (place, isPart = false) => {
  const event = EVENTS[place];
  const list = make("dl");
  line(list, "Time", `${offset(AT[place], 0.001)} · ${clock(event.at)}`);
  const names = isPart ? ["id"] : ["agent", "workflow", "run", "stage", "namespace", "id"];
  for (const name of names) line(list, name[0].toUpperCase() + name.slice(1), event[name]);
  const { plain, rest } = dataOf(event);
  for (const [name, value] of plain) line(list, clean(cut(name, 60)).replaceAll("_", " "), readable(name, value));
  const parts = [list];
  for (const [name, value] of rest) {
    if (Array.isArray(value) && value.length === 0) continue;
    parts.push(make("h3", {}, isolated(cut(name, 60).replaceAll("_", " "))));
    parts.push(...block(typeof value === "string" ? value : JSON.stringify(value, null, 2)));
  }
  return parts;
};

const related = (place) => {
  const found = [];
  for (const arrow of ARROWS_OF.get(place) ?? []) {
    const other = arrow.events.find((one) => one !== place);
    if (other === undefined) continue;
    found.push(jump(`e${other}`, `${LANES[OF[other]]} ${SAID[other]}`, duration(Math.abs(AT[other] - AT[place]))));
  }
  for (const bar of BARS_OF.get(place) ?? []) found.push(jump(bar.key, title(bar), duration(bar.end - bar.start)));
  return found;
};

const heading = (kind, text) => {
  const head = make("h2");
  head.append(isolated(cut(text, 300)));
  return [make("p", { class: "kind" }, isolated(kind)), head];
};
const section = (name, nodes) => (nodes.length ? [make("h3", {}, name), ...nodes] : []);

const aboutEvent = (place) => [
  ...heading(EVENTS[place].kind, SAID[place]), ...eventParts(place), ...section("Belongs to", related(place)),
];

const aboutBar = (bar) => {
  const list = make("dl");
  line(list, "Agent", LANES[bar.lane]);
  const [event] = bar.events.map((place) => EVENTS[place]);
  for (const name of ["workflow", "run", "stage"]) line(list, name[0].toUpperCase() + name.slice(1), event?.[name]);
  line(list, "Start", `${offset(bar.start, 0.001)} · ${clock(DATA.origin + bar.start)}`);
  line(list, "End", `${offset(bar.end, 0.001)} · ${clock(DATA.origin + bar.end)}`);
  line(list, "Duration", duration(bar.end - bar.start));
  const parts = [...heading(bar.what, title(bar)), pill(bar.status), list];
  if (bar.events.length === 1 && bar.status !== "running" && bar.status !== "waiting") {
    parts.push(make("p", { class: "said muted" }, "One end of it is not in the history."));
  }
  for (const place of bar.events) parts.push(...section(EVENTS[place].kind, eventParts(place, true)));
  return parts;
};

const aboutArrow = (arrow) => {
  const list = make("dl");
  line(list, "From", LANES[arrow.from]);
  line(list, "To", arrow.to === null ? "all" : LANES[arrow.to]);
  if (arrow.sent !== null && arrow.received !== null) line(list, "On its way", duration(Math.max(0, AT[arrow.received] - AT[arrow.sent])));
  const status = { received: "received", expired: "failed", open: "waiting" }[arrow.status];
  const mark = pill(status);
  mark.textContent = { received: "taken", expired: "expired", open: "not taken" }[arrow.status];
  const parts = [...heading("signal", arrow.name), mark, list];
  for (const place of arrow.events) parts.push(...section(EVENTS[place].kind, eventParts(place)));
  return parts;
};

const legendItem = (text, ...shapes) => make("li", {}, svg("svg", { viewBox: "0 0 26 14", "aria-hidden": "true" }, ...shapes), text);
const legendBar = (status, what = "stage") =>
  svg("g", { class: `bar ${what}`, "data-status": status }, svg("rect", { x: 0.5, y: 0.5, width: 25, height: 13, rx: 3 }),
    svg("rect", { class: "lead", x: 0.5, y: 0.5, width: 3, height: 13, rx: 1.5 }));
const legendMark = (look, name) => svg("g", { class: markClass(look, name), transform: "translate(13 7)" }, shape(name));

const aboutNothing = () => {
  const bars = make("ul", { class: "legend" });
  for (const status of ["completed", "running", "failed", "aborted", "lost", "cancelled"]) bars.append(legendItem(status, legendBar(status)));
  bars.append(legendItem("wait", legendBar("received", "wait")));
  const marks = make("ul", { class: "legend" });
  for (const [text, look, name] of [
    ["signal sent", "signal", "send"], ["signal taken", "signal", "take"], ["emitted", "emit", "circle"], ["progress", "progress", "tick"],
    ["retried", "retry", "again"], ["asked to stop", "abort", "stop"], ["lost", "lost", "cross"], ["stalled", "stalled", "pause"],
    ["joined, resumed", "agent", "in"], ["left", "agent", "out"], ["gap", "gap", "gap"],
  ]) marks.append(legendItem(text, legendMark(look, name)));
  const keys = make("p", { class: "keys" });
  const key = (text) => make("kbd", {}, text);
  keys.append(key("←"), " ", key("→"), " next thing, ", key("+"), " ", key("−"), " zoom, ", key("0"), " everything, ", key("/"),
    " search, ", key("Esc"), " nothing. Drag to move, turn the wheel to zoom.");
  return [...heading("Nothing chosen", "Click anything to see all of it"), ...section("What lasts", [bars]), ...section("What happens", [marks]), ...section("Keys", [keys])];
};

const tellAbout = (key) => {
  const item = ITEMS.get(key);
  const place = key?.startsWith("e") ? Number(key.slice(1)) : null;
  details.classList.toggle("open", key !== null);
  details.scrollTop = 0;
  if (place !== null) about.replaceChildren(...aboutEvent(place));
  else if (item?.type === "bar") about.replaceChildren(...aboutBar(item));
  else if (item?.type === "arrow") about.replaceChildren(...aboutArrow(item));
  else about.replaceChildren(...aboutNothing());
};

const tellCluster = (keys) => {
  details.classList.add("open");
  details.scrollTop = 0;
  const items = keys.map((key) => ITEMS.get(key));
  const jumps = items.slice(0, 200).map((item) => jump(item.key, SAID[item.place], offset(item.start, 0.001)));
  about.replaceChildren(...heading(LANES[items[0].lane], `${items.length} events close together`), ...section("In order", jumps));
};
