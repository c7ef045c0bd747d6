// Putting it together: what is kept, what of it is shown, and what hands do.

import { tellAbout } from "./about.js";
import { Rows, lookOf } from "./rows.js";
import { Stream } from "./stream.js";
import { byId, clean, cut, make, whole } from "./text.js";
import { FAMILIES } from "./words.js";

// What is kept: the last events, bounded by their number and by their size as text.

const MOST = 5_000;
const MOST_TEXT = 24_000_000;
const SLACK = 500;
const RATE_SECONDS = 5;

const kept = { events: [], text: 0, fresh: [] };
const sizes = new WeakMap();

const keep = (events, size) => {
  const each = size / events.length;
  for (const event of events) {
    sizes.set(event, each);
    kept.events.push(event);
    kept.text += each;
  }
  if (kept.events.length <= MOST + SLACK && kept.text <= MOST_TEXT) return;
  let count = Math.max(0, kept.events.length - MOST);
  let text = kept.text - kept.events.slice(0, count).reduce((sum, event) => sum + sizes.get(event), 0);
  while (text > MOST_TEXT && count < kept.events.length - 1) text -= sizes.get(kept.events[count++]);
  kept.text = text;
  kept.events.splice(0, count);
};
const forget = () => Object.assign(kept, { events: [], text: 0, fresh: [] });

// What of it is shown

const view = { hidden: new Set(), words: "", paused: null, chosen: null, shown: [], unseen: 0, agent: "" };

const hay = new WeakMap();
const haystack = (event) => {
  if (!hay.has(event)) hay.set(event, `${lookOf(event).said}\n${JSON.stringify(event)}`.toLowerCase());
  return hay.get(event);
};
const isShown = (event) => !view.hidden.has(lookOf(event).family) && (!view.words || haystack(event).includes(view.words));

const choose = (event) => {
  view.chosen = event ?? null;
  rows.mark(view.chosen);
  tellAbout(view.chosen, only);
};
const rows = new Rows(choose, () => tellLatest());

// While the list is paused it is what it was then; what comes is kept beside it.
const all = () => view.paused ?? kept.events;

let isDue = false;
const refresh = () => {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    draw();
  });
};
const draw = () => {
  const before = view.shown;
  view.shown = all().filter(isShown);
  rows.show(view.shown, Math.max(0, before.indexOf(view.shown[0])));
  tellHead();
  tellFamilies();
  tellLatest();
};

// The head

const STATES = {
  connecting: "Connecting", live: "Live", away: "Store away", lost: "Reconnecting", out: "Logged out", refused: "Refused",
};
const WARNINGS = {
  away: "The store does not answer. Events go on here as soon as it does.",
  out: "You are logged out: the server was started again, or the login has run out. Open the login link that it printed; this page then goes on by itself.",
};
const tellState = (state, why) => {
  const pill = byId("state");
  pill.dataset.state = state;
  pill.textContent = STATES[state];
  const warning = byId("warning");
  const again = state === "lost" ? " Trying again." : "";
  const text = WARNINGS[state] ?? (why ? `${why[0].toUpperCase()}${why.slice(1)}.${again}` : "");
  warning.hidden = !text;
  warning.textContent = clean(cut(text, 300));
};

const rate = () => {
  const since = performance.now() - RATE_SECONDS * 1000;
  kept.fresh = kept.fresh.filter(({ at }) => at > since);
  return kept.fresh.reduce((sum, { count }) => sum + count, 0) / RATE_SECONDS;
};
const tellHead = () => {
  const agents = new Set(kept.events.map((event) => event.agent).filter(Boolean));
  byId("count").textContent = whole(kept.events.length);
  byId("agents-seen").textContent = whole(agents.size);
  const most = all().length;
  const some = view.shown.length;
  byId("matches").textContent = some === most ? whole(some) : `${whole(some)} of ${whole(most)}`;
  const empty = byId("empty");
  empty.hidden = some > 0;
  empty.textContent = most ? "No event matches." : "Nothing has happened yet.";
  const pause = byId("pause");
  pause.setAttribute("aria-pressed", String(view.paused !== null));
  pause.textContent = view.paused ? (view.unseen ? `Go on · ${whole(view.unseen)} new` : "Go on") : "Pause";
  tellRate();
};
const tellRate = () => {
  const value = rate();
  byId("rate").textContent = value >= 10 ? whole(Math.round(value)) : String(Number(value.toFixed(1)));
};
setInterval(tellRate, 1000);

const tellLatest = () => {
  byId("latest").hidden = rows.isAtEnd || view.paused !== null;
};

// What can be filtered

const chips = new Map();
for (const [name, text, sign] of FAMILIES) {
  const count = make("span", { class: "count" });
  const button = make("button", { type: "button", "aria-pressed": "true", "data-family": name }, make("span", { class: "sign", "aria-hidden": "true" }, sign), text, count);
  button.addEventListener("click", () => {
    const hides = !view.hidden.delete(name);
    if (hides) view.hidden.add(name);
    button.setAttribute("aria-pressed", String(!hides));
    draw();
  });
  chips.set(name, { button, count });
  byId("families").append(button);
}
const tellFamilies = () => {
  const counts = new Map();
  for (const event of kept.events) counts.set(lookOf(event).family, (counts.get(lookOf(event).family) ?? 0) + 1);
  for (const [name, { button, count }] of chips) {
    const found = counts.get(name) ?? 0;
    button.hidden = !found && !view.hidden.has(name);
    count.textContent = whole(found);
  }
};

byId("search").addEventListener("input", ({ target }) => {
  view.words = target.value.trim().toLowerCase();
  draw();
});

const togglePause = () => {
  view.paused = view.paused ? null : [...kept.events];
  view.unseen = 0;
  draw();
};
byId("pause").addEventListener("click", togglePause);
byId("latest").addEventListener("click", () => {
  choose(null);
  rows.toEnd();
});
byId("close").addEventListener("click", () => choose(null));

// The agent: events of one are asked for, so that those of many others do not push them out.

let stream = null;
const begin = () => {
  stream?.close();
  forget();
  view.paused = null;
  choose(null);
  tellState("connecting", "");
  stream = new Stream(view.agent, {
    events: (events, size) => {
      if (!events.length) return draw();
      keep(events, size);
      kept.fresh.push({ at: performance.now(), count: isBegun ? events.length : 0 });
      isBegun = true;
      if (view.paused) view.unseen += events.length;
      return refresh();
    },
    state: tellState,
  });
};
let isBegun = false;

const only = (agent) => {
  if (agent === view.agent) return;
  view.agent = agent;
  byId("agent").value = agent;
  const url = new URL(location.href);
  if (agent) url.searchParams.set("agent", agent);
  else url.searchParams.delete("agent");
  history.replaceState(null, "", url);
  isBegun = false;
  begin();
};
byId("agent").addEventListener("change", ({ target }) => only(target.value.trim()));
byId("agent").addEventListener("search", ({ target }) => only(target.value.trim()));
byId("agent").addEventListener("focus", async () => {
  const seen = new Set(kept.events.map((event) => event.agent).filter(Boolean));
  try {
    const answer = await fetch(new URL("api/agents", document.baseURI));
    if (answer.ok) for (const { agent_id: agent } of (await answer.json()).agents) seen.add(agent);
  } catch {
    // Those of the events are still something.
  }
  byId("agents").replaceChildren(...[...seen].sort().slice(0, 500).map((agent) => make("option", { value: agent })));
});

// Keys

window.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const isElsewhere = event.target.closest?.("input, button, pre, select") !== null;
  if (event.key === "Escape") choose(null);
  else if (event.key === "/" && event.target.tagName !== "INPUT") {
    event.preventDefault();
    byId("search").focus();
  } else if (event.key === " " && !isElsewhere) {
    event.preventDefault();
    togglePause();
  }
});

view.agent = new URL(location.href).searchParams.get("agent") ?? "";
byId("agent").value = view.agent;
begin();
