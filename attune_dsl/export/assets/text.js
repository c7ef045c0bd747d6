// Text: whatever comes from events is shown as text, and what would make text lie is shown as what it is.

const byId = (id) => document.getElementById(id);

// Control characters and marks of direction, but for tabs and newlines where a block of text may have them.
const INVISIBLE = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g;
const named = (character) => `⟨U+${character.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`;
const clean = (value) => String(value).replace(INVISIBLE, named);
const cleanBlock = (value) => String(value).replace(INVISIBLE, (one) => (one === "\n" || one === "\t" ? one : named(one)));
const cut = (value, longest) => {
  const text = String(value);
  return text.length <= longest ? text : `${text.slice(0, longest - 1)}…`;
};

const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
};

const duration = (seconds) => {
  if (!(seconds >= 0) || seconds > 1e12) return "?";
  const digits = (value) => String(Number(value.toPrecision(3)));
  if (seconds < 0.9995e-3) return `${digits(seconds * 1e6)} µs`;
  if (seconds < 0.9995) return `${digits(seconds * 1e3)} ms`;
  if (seconds < 60) return `${digits(seconds)} s`;
  const whole = Math.round(seconds);
  if (seconds < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
};

// A point of time since the beginning, as exactly as `step` seconds asks for.
const offset = (seconds, step) => {
  const sign = seconds < 0 ? "−" : "";
  const size = Math.abs(seconds);
  if (step < 1e-3 && size < 0.05) {
    const micros = size * 1e6;
    return step < 1e-4 || micros < 1000 ? `${sign}${Number(micros.toPrecision(6))} µs` : `${sign}${Number((micros / 1000).toFixed(3))} ms`;
  }
  const places = Math.min(6, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
  if (size < 60 || step < 1e-3) return `${sign}${size.toFixed(places)} s`;
  const rounded = Number(size.toFixed(places));
  const two = (value) => String(value).padStart(2, "0");
  const rest = (rounded % 60).toFixed(places).padStart(places ? places + 3 : 2, "0");
  if (rounded < 3600) return `${sign}${Math.floor(rounded / 60)}:${rest}`;
  return `${sign}${Math.floor(rounded / 3600)}:${two(Math.floor((rounded % 3600) / 60))}:${rest}`;
};

const isDate = (seconds) => Number.isFinite(seconds) && Math.abs(seconds) < 8.64e12;
const date = (seconds) =>
  isDate(seconds)
    ? new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "long" }).format(new Date(seconds * 1000))
    : "?";
const clock = (seconds) =>
  isDate(seconds)
    ? new Intl.DateTimeFormat("en-GB", {
        hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3,
      }).format(new Date(seconds * 1000))
    : "?";
const whole = (value) => new Intl.NumberFormat("en-GB").format(value);
const money = (value) =>
  new Intl.NumberFormat("en-GB", { minimumFractionDigits: 2, maximumFractionDigits: 4 }).format(value);
