// All that is known of the event that was chosen.

import { byId, clean, cleanBlock, clock, cut, date, duration, make, whole } from "./text.js";
import { lookOf } from "./rows.js";

const LONG = 4000;
const about = byId("about");
const details = byId("details");

const day = (seconds) =>
  clock(seconds) === "?" ? "" : new Intl.DateTimeFormat("en-GB", { dateStyle: "full" }).format(new Date(seconds * 1000));
const isolated = (value) => {
  const element = make("bdi");
  element.textContent = clean(value);
  return element;
};
const named = (name) => {
  const text = clean(cut(name, 60)).replaceAll("_", " ");
  return text[0].toUpperCase() + text.slice(1);
};
const line = (list, name, value) => {
  if (value === null || value === undefined || value === "") return;
  list.append(make("dt", {}, name), make("dd", {}, isolated(cut(value, 600))));
};

// A block of text; of a very long one the beginning, until somebody asks for all.
const block = (text) => {
  const pre = make("pre", { tabindex: 0 });
  pre.textContent = cleanBlock(text.length <= LONG ? text : `${text.slice(0, LONG)}…`);
  if (text.length <= LONG) return [pre];
  const more = make("button", { type: "button", class: "more" }, `Show all ${whole(text.length)} characters`);
  more.addEventListener("click", () => {
    pre.textContent = cleanBlock(text);
    more.remove();
  });
  return [pre, more];
};

const DURATIONS = new Set(["duration", "pause", "waited", "timeout", "ttl"]);
const FRACTIONS = new Set(["fraction", "run_progress", "progress"]);
const readable = (name, value) => {
  if (typeof value !== "number") return String(value);
  if (DURATIONS.has(name)) return duration(value);
  if (FRACTIONS.has(name)) return `${Math.round(value * 1000) / 10} %`;
  return name === "beat_at" ? date(value) : String(value);
};

const isPlain = (value) => typeof value !== "object" && String(value).length <= 300;
const isEmpty = (value) => value === null || value === undefined || (Array.isArray(value) && value.length === 0);

const told = (event) => {
  const list = make("dl");
  const entries = Object.entries(event.data ?? {}).filter(([, value]) => !isEmpty(value));
  for (const [name, value] of entries.filter(([, one]) => isPlain(one))) line(list, named(name || "?"), readable(name, value));
  const parts = list.children.length ? [make("h3", {}, "What it says"), list] : [];
  for (const [name, value] of entries.filter(([, one]) => !isPlain(one))) {
    parts.push(make("h3", {}, isolated(named(name || "?"))), ...block(typeof value === "string" ? value : JSON.stringify(value, null, 2)));
  }
  return parts;
};

const aboutEvent = (event, only) => {
  const head = make("h2");
  head.append(isolated(cut(lookOf(event).said, 300)));
  const list = make("dl");
  line(list, "Time", clock(event.at));
  line(list, "Date", day(event.at));
  for (const name of ["agent", "workflow", "run", "stage", "id"]) line(list, named(name), event[name]);
  const parts = [make("p", { class: "kind" }, isolated(cut(event.kind, 100))), head, list, ...told(event)];
  if (event.agent) {
    const button = make("button", { type: "button", class: "jump" }, "Only events of ", isolated(cut(event.agent, 128)));
    button.addEventListener("click", () => only(event.agent));
    parts.push(make("h3", {}, "Show"), button);
  }
  return parts;
};

const aboutNothing = () => {
  const head = make("h2", {}, "Choose an event");
  const keys = make("p", { class: "keys" });
  const key = (text) => make("kbd", {}, text);
  keys.append(key("↑"), " ", key("↓"), " next event, ", key("End"), " latest, ", key("Space"), " pause, ", key("/"), " search, ", key("Esc"), " nothing.");
  return [make("p", { class: "kind" }, "All that it says is shown here"), head, make("h3", {}, "Keys"), keys];
};

export const tellAbout = (event, only) => {
  details.classList.toggle("open", Boolean(event));
  details.scrollTop = 0;
  about.replaceChildren(...(event ? aboutEvent(event, only) : aboutNothing()));
};
