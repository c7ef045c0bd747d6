// Putting it together: the head of the page, what can be filtered, and what hands do.

const choose = (key, { show: shows = false } = {}) => {
  view.chosen = key;
  const item = ITEMS.get(key);
  if (item && shows) show(item);
  else if (key?.startsWith("e") && shows) show({ start: AT[Number(key.slice(1))], end: AT[Number(key.slice(1))], lane: OF[Number(key.slice(1))] });
  tellAbout(key);
  if (key?.startsWith("e")) showInList(Number(key.slice(1)));
  else fillList();
  draw();
};

// The head

const fact = (name, value) => {
  const dd = make("dd");
  dd.textContent = clean(cut(value, 200));
  byId("facts").append(make("div", {}, make("dt", {}, name), dd));
};
const total = (name) => DATA.runs.reduce((sum, run) => sum + (run[name] ?? 0), 0);

const tellHead = () => {
  const [run] = DATA.runs;
  byId("title").textContent = clean(DATA.title);
  if (EVENTS.length) byId("when").textContent = date(DATA.origin);
  if (DATA.runs.length === 1) byId("status").replaceWith(Object.assign(pill(run.status), { id: "status" }));
  if (DATA.runs.length === 1) fact("Run", run.run);
  if (DATA.runs.length > 1) {
    const ends = new Map();
    for (const { status } of DATA.runs) ends.set(status, (ends.get(status) ?? 0) + 1);
    fact("Runs", [...ends].slice(0, 6).map(([status, count]) => `${count} ${cut(status, 20)}`).join(", "));
  }
  if (EVENTS.length) fact("Duration", duration(DATA.runs.length === 1 && run.duration !== null ? run.duration : DATA.end));
  fact("Agents", whole(LANES.length));
  fact("Events", whole(EVENTS.length));
  if (ARROWS.length) fact("Signals", whole(new Set(ARROWS.map((arrow) => arrow.sent ?? `r${arrow.received}`)).size));
  if (total("cost")) fact("Cost", money(total("cost")));
  if (total("tokens_in") + total("tokens_out")) fact("Tokens in / out", `${whole(total("tokens_in"))} / ${whole(total("tokens_out"))}`);
  const failed = DATA.runs.find((one) => one.error);
  if (failed) fact(DATA.runs.length > 1 ? `Error of ${clean(cut(failed.agent ?? "?", 40))}` : "Error", failed.error);
  tellGaps();
};

const tellGaps = () => {
  const gaps = EVENTS.filter((event) => event.kind === "timeline.gap");
  if (!gaps.length) return;
  const known = gaps.reduce((sum, gap) => sum + (gap.data.dropped ?? 0), 0);
  const many = known ? `${whole(known)} events are missing` : "Events are missing";
  const why = [...new Set(gaps.map((gap) => gap.data.why).filter(Boolean))].slice(0, 3).join("; ");
  const warning = byId("warning");
  warning.textContent = clean(cut(`${many} from this history${gaps.length > 1 ? `, in ${gaps.length} places` : ""}${why ? `: ${why}` : ""}.`, 400));
  warning.hidden = false;
};

// What can be filtered

const FAMILY_MARKS = {
  run: () => legendBar("completed", "run"), stage: () => legendBar("completed"), wait: () => legendBar("received", "wait"),
  signal: () => legendMark("signal", "send"), emit: () => legendMark("emit", "circle"), progress: () => legendMark("progress", "tick"),
  agent: () => legendMark("agent", "in"), gap: () => legendMark("gap", "gap"), other: () => legendMark("agent", "circle"),
};
const tellFamilies = () => {
  for (const [name, text] of FAMILIES) {
    const count = FAMILY.filter((one) => one === name).length;
    if (!count) continue;
    const button = make("button", { type: "button", "aria-pressed": "true", "data-name": name },
      svg("svg", { viewBox: "0 0 26 14", "aria-hidden": "true" }, FAMILY_MARKS[name]()), text, make("span", { class: "count" }, whole(count)));
    button.addEventListener("click", () => {
      const hides = !filter.hidden.delete(name);
      if (hides) filter.hidden.add(name);
      button.setAttribute("aria-pressed", String(!hides));
      refill();
      redraw();
    });
    byId("families").append(button);
  }
};
byId("search").addEventListener("input", (event) => {
  search(event.target.value);
  refill();
  redraw();
});

// Hands

const fingers = new Map();
let dragged = 0;
const keyAt = (target) => target.closest?.("[data-key]")?.dataset.key ?? null;

chart.addEventListener("wheel", (event) => {
  event.preventDefault();
  const size = view.end - view.start;
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan((((event.deltaX || event.deltaY) / room()) * size));
  else zoom(Math.exp(Math.min(Math.max(event.deltaY, -240), 240) * 0.0022), timeAt(event.clientX - chart.getBoundingClientRect().left));
}, { passive: false });

chart.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  fingers.set(event.pointerId, event.clientX);
  dragged = 0;
});
window.addEventListener("pointermove", (event) => {
  const before = fingers.get(event.pointerId);
  if (before === undefined) return;
  const seconds = (view.end - view.start) / room();
  if (fingers.size === 1) {
    dragged += Math.abs(event.clientX - before);
    if (dragged > 3) {
      chart.classList.add("dragging");
      pan((before - event.clientX) * seconds);
      if (event.pointerType === "mouse") scroll.scrollTop -= event.movementY;
    }
  } else {
    const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    dragged = 99;
    zoom(Math.min(Math.max(Math.abs(before - other) / Math.max(1, Math.abs(event.clientX - other)), 0.5), 2),
      timeAt(other - chart.getBoundingClientRect().left));
  }
  fingers.set(event.pointerId, event.clientX);
});
for (const name of ["pointerup", "pointercancel"]) {
  window.addEventListener(name, (event) => {
    fingers.delete(event.pointerId);
    if (!fingers.size) chart.classList.remove("dragging");
  });
}
chart.addEventListener("pointermove", (event) => point(event.clientX - chart.getBoundingClientRect().left));
chart.addEventListener("pointerleave", () => point(null));
chart.addEventListener("click", (event) => {
  if (dragged > 3) return;
  const cluster = event.target.closest?.("[data-cluster]")?.dataset.cluster;
  if (cluster) tellCluster(cluster.split(" "));
  else if (keyAt(event.target)) choose(keyAt(event.target));
});
chart.addEventListener("dblclick", (event) => zoom(0.4, timeAt(event.clientX - chart.getBoundingClientRect().left)));

// Keys

const stepTo = (direction) => {
  const steps = STEPS.filter((item) => isShown(item) && !isDim(item));
  const now = steps.findIndex((item) => item.key === view.chosen);
  const next = now < 0 ? steps.find((item) => item.start >= view.start) : steps[now + direction];
  if (next) choose(next.key, { show: true });
};
const laneTo = (direction) => {
  const item = ITEMS.get(view.chosen);
  if (!item || item.lane === null || item.type === "arrow") return stepTo(1);
  const near = STEPS.filter((one) => one.lane === item.lane + direction && isShown(one) && !isDim(one));
  near.sort((one, other) => Math.abs(one.start - item.start) - Math.abs(other.start - item.start));
  if (near.length) choose(near[0].key, { show: true });
  return undefined;
};
const KEYS = {
  ArrowRight: () => stepTo(1), ArrowLeft: () => stepTo(-1), ArrowDown: () => laneTo(1), ArrowUp: () => laneTo(-1),
  "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1 / 0.6), 0: fitAll,
  PageDown: () => pan((view.end - view.start) * 0.8), PageUp: () => pan((view.start - view.end) * 0.8),
  Home: () => pan(-view.start), End: () => pan(SPAN - view.end),
};
chart.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(KEYS, event.key)) return;
  event.preventDefault();
  KEYS[event.key]();
});
window.addEventListener("keydown", (event) => {
  const isTyping = event.target === byId("search");
  if (event.key === "Escape") choose(null);
  else if (event.key === "/" && !isTyping) {
    event.preventDefault();
    byId("search").focus();
  }
});

byId("zoom-in").addEventListener("click", () => zoom(0.6));
byId("zoom-out").addEventListener("click", () => zoom(1 / 0.6));
byId("zoom-fit").addEventListener("click", fitAll);
byId("close").addEventListener("click", () => choose(null));
scroll.addEventListener("scroll", redraw, { passive: true });
new ResizeObserver(() => {
  redraw();
  fillList();
}).observe(chart);
document.fonts?.ready.then(() => {
  widths.clear();
  redraw();
});

tellHead();
tellFamilies();
if (!EVENTS.length) {
  byId("empty").textContent = "There are no events to show.";
  byId("empty").hidden = false;
  document.body.classList.add("none");
}
refill();
tellAbout(null);
fitAll();
