// What an event says in a line, and how that line is marked. The same words as in exported pages.

import { cut, duration, whole } from "./text.js";

const LONGEST = 200;
const short = (value, longest = LONGEST) => cut(value ?? "", longest);

const told = (value) => short(typeof value === "string" ? value : JSON.stringify(value ?? null));
const because = (text) => (text ? `: ${short(text)}` : "");
const item = (data) => (data.item === null || data.item === undefined ? "" : ` [${data.item}]`);
const stage = (event) => short(event.stage || "stage", 60);
const percent = (fraction) => `${(fraction * 100).toFixed(0)}%`;
const isNumber = (value) => typeof value === "number";
const names = (data) => short((data.names ?? []).join(", ")) || (data.what === "signal" ? "any signal" : data.what);

const progressed = (event, data) => {
  const said = [isNumber(data.fraction) ? percent(data.fraction) : "", short(data.note)].filter(Boolean).join(": ");
  return `${event.stage ? `${stage(event)} ` : ""}${said || "progressed"}`;
};
const stageStarted = (event, data) => {
  const attempt = data.attempt > 1 ? `, attempt ${data.attempt}` : "";
  return `${stage(event)}${item(data)} started${data.tier ? ` on ${short(data.tier, 30)}` : ""}${attempt}`;
};
const stageEnded = (event, data) => {
  const attempts = data.attempts > 1 ? ` (${data.attempts} attempts)` : "";
  return `${stage(event)}${item(data)} ${data.status} in ${duration(data.duration)}${attempts}${because(data.error)}`;
};
const received = (_, data) => {
  const waited = isNumber(data.waited) ? ` after ${duration(data.waited)}` : "";
  return `took ${short(data.type)} from ${short(data.source)}${waited}${data.redelivered ? ", redelivered" : ""}`;
};
const waitStarted = (_, data) => {
  const sources = data.sources?.length ? ` from ${short(data.sources.join(", "))}` : "";
  return `waits for ${names(data)}${sources}${isNumber(data.timeout) ? `, at most ${duration(data.timeout)}` : ""}`;
};
const gap = (_, data) => `${isNumber(data.dropped) ? `${whole(data.dropped)} events` : "events"} are missing${because(data.why)}`;

const WORDS = {
  "run.started": (event) => `run of ${short(event.workflow || "?")} started`,
  "run.ended": (_, data) => `run ${data.status} after ${duration(data.duration)}${because(data.error)}`,
  "stage.started": stageStarted,
  "stage.progressed": progressed,
  "stage.retried": (event, data) => `${stage(event)}${item(data)} attempt ${data.attempt} failed${because(data.error)}`,
  "stage.ended": stageEnded,
  "signal.sent": (_, data) => `sent ${short(data.type)} to ${data.target ? short(data.target) : "all"}`,
  "signal.received": received,
  "signal.expired": (_, data) => `${short(data.type)} from ${short(data.source)} expired, not taken`,
  "wait.started": waitStarted,
  "wait.ended": (_, data) => `waited ${duration(data.waited)} for ${names(data)}: ${data.outcome}${because(data.detail)}`,
  "agent.joined": (_, data) => `joined as incarnation ${data.epoch}`,
  "agent.stalled": () => "stalled: alive without progress",
  "agent.resumed": () => "resumed",
  "agent.aborted": (_, data) => `asked to stop by ${short(data.by) || "?"}${because(data.reason)}`,
  "agent.lost": (_, data) => `lost: its lease lapsed${isNumber(data.progress) ? ` at ${percent(data.progress)}` : ""}`,
  "agent.fenced": () => "fenced: another owner took the id over",
  "agent.ended": (_, data) => `left as ${data.status}`,
  emit: (_, data) => `${short(data.kind)}: ${told(data.data)}`,
  "timeline.gap": gap,
};

// What happened, without when and to whom. It may hold whatever users wrote.
export const say = (event) => {
  const words = Object.hasOwn(WORDS, event.kind) ? WORDS[event.kind] : null;
  try {
    return words && !event.data?.fields ? words(event, event.data) : String(event.kind);
  } catch {
    return String(event.kind);
  }
};

// What can be filtered: a name, what people read, the sign.
export const FAMILIES = [
  ["run", "Runs", "▶"], ["stage", "Stages", "●"], ["progress", "Progress", "◔"], ["wait", "Waits", "◌"],
  ["signal", "Signals", "→"], ["emit", "Emits", "»"], ["agent", "Agents", "+"], ["gap", "Gaps", "…"], ["other", "Other", "·"],
];
const FAMILY_OF = { run: "run", stage: "stage", signal: "signal", wait: "wait", agent: "agent", emit: "emit", timeline: "gap" };
export const familyOf = (event) => {
  if (event.kind === "stage.progressed") return "progress";
  const head = String(event.kind).split(".", 1)[0];
  return Object.hasOwn(FAMILY_OF, head) ? FAMILY_OF[head] : "other";
};

const SIGNS = {
  "run.started": "▶", "stage.started": "●", "stage.progressed": "◔", "stage.retried": "↻", "signal.sent": "→", "signal.received": "←",
  "signal.expired": "×", "wait.started": "◌", "wait.ended": "◌", "agent.joined": "+", "agent.ended": "–", "agent.stalled": "‖",
  "agent.resumed": "●", "agent.aborted": "■", "agent.lost": "✕", "agent.fenced": "✕", emit: "»", "timeline.gap": "…",
};
const ENDS = { completed: "✓", failed: "✕", lost: "✕", aborted: "■", cancelled: "–", skipped: "–" };

// How an event's line is marked: a sign, and what colours it: how something ended, or what went wrong.
const BAD = new Set(["failed", "lost", "timeout", "deadlock", "peer_gone", "unavailable"]);
const STATUS_OF = {
  "stage.retried": "failed", "signal.expired": "failed", "agent.stalled": "waiting", "agent.aborted": "aborted", "agent.lost": "lost",
  "agent.fenced": "aborted",
};
export const markOf = (event) => {
  const { sign, status } = signOf(event);
  return { sign, status, isBad: BAD.has(status) };
};
const signOf = ({ kind, data }) => {
  if (kind === "run.ended" || kind === "stage.ended") {
    const status = String(data?.status);
    return { sign: Object.hasOwn(ENDS, status) ? ENDS[status] : "·", status };
  }
  const sign = Object.hasOwn(SIGNS, kind) ? SIGNS[kind] : "·";
  if (kind === "wait.ended") return { sign, status: String(data?.outcome) };
  return { sign, status: Object.hasOwn(STATUS_OF, kind) ? STATUS_OF[kind] : null };
};
