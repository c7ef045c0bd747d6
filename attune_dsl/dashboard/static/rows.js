// The events as a list: as many rows as there is room for, filled anew while it scrolls or grows.

import { byId, clean, clock, cut, make } from "./text.js";
import { familyOf, markOf, say } from "./words.js";

const list = byId("list");
const spacer = byId("spacer");
const pool = [];
const LONG = 240;
const narrow = matchMedia("(max-width: 860px)");
const line = () => (narrow.matches ? 46 : 27);

const day = (seconds) => new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" }).format(new Date(seconds * 1000));
const time = (seconds) => {
  const at = clock(seconds);
  if (at === "?") return at;
  const isToday = new Date(seconds * 1000).toDateString() === new Date().toDateString();
  return isToday ? at : `${day(seconds)} ${at.slice(0, 5)}`;
};

// What a row shows is worked out when it is first shown, and kept with the event.
const looks = new WeakMap();
export const lookOf = (event) => {
  if (!looks.has(event)) looks.set(event, { said: say(event), family: familyOf(event), ...markOf(event) });
  return looks.get(event);
};

export class Rows {
  #events = [];
  #chosen = null;
  #choose;
  #isFollowing = true;
  #onScroll;

  constructor(choose, onScroll) {
    this.#choose = choose;
    this.#onScroll = onScroll;
    list.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    list.addEventListener("click", ({ target }) => {
      const row = target.closest?.(".row");
      if (row) choose(this.#events[Number(row.dataset.place)]);
    });
    list.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#resized()).observe(list);
    narrow.addEventListener("change", () => this.#resized());
  }

  get isAtEnd() {
    return list.scrollTop + list.clientHeight >= list.scrollHeight - line() / 2;
  }

  // Show these events. `dropped` of those that were shown first are not among them any more.
  show(events, dropped = 0) {
    this.#events = events;
    if (dropped && !this.#isFollowing) list.scrollTop = Math.max(0, list.scrollTop - dropped * line());
    this.#draw();
  }

  // What was chosen stays in view: new events do not push it away.
  mark(event) {
    this.#chosen = event;
    this.#isFollowing = !event && this.isAtEnd;
    this.#reveal();
    this.#fill();
    this.#onScroll();
  }

  toEnd() {
    this.#isFollowing = true;
    this.#draw();
    this.#onScroll();
  }

  #scrolled() {
    this.#isFollowing = !this.#chosen && this.isAtEnd;
    this.#onScroll();
    this.#fill();
  }

  #resized() {
    this.#draw();
    this.#reveal();
  }

  #reveal() {
    const place = this.#chosen ? this.#events.indexOf(this.#chosen) : -1;
    if (place < 0) return;
    const top = place * line();
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + line() > list.scrollTop + list.clientHeight) list.scrollTop = top + line() - list.clientHeight;
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.#events.length) return;
    const last = this.#events.length - 1;
    const place = this.#chosen ? this.#events.indexOf(this.#chosen) : -1;
    const page = Math.max(1, Math.floor(list.clientHeight / line()) - 1);
    const from = place < 0 ? last + 1 : place;
    const places = {
      ArrowDown: place < 0 ? last : place + 1, ArrowUp: from - 1, PageDown: place < 0 ? last : place + page, PageUp: from - page, Home: 0, End: last,
    };
    if (!Object.hasOwn(places, event.key)) return;
    event.preventDefault();
    this.#choose(this.#events[Math.min(Math.max(places[event.key], 0), last)]);
  }

  #draw() {
    spacer.style.height = `${this.#events.length * line()}px`;
    if (this.#isFollowing) list.scrollTop = list.scrollHeight;
    this.#fill();
  }

  #fill() {
    const first = Math.max(0, Math.floor(list.scrollTop / line()) - 3);
    const count = Math.ceil(list.clientHeight / line()) + 6;
    while (pool.length < count) pool.push(newRow(pool.length));
    pool.forEach((row, number) => {
      // The row of a place stays the same while it is in view.
      const place = first + ((((number - first) % pool.length) + pool.length) % pool.length);
      fillRow(row, place < first + count ? this.#events[place] : undefined, place, this.#chosen);
    });
    const shown = pool.find(({ row }) => !row.hidden && row.getAttribute("aria-selected") === "true");
    if (shown) list.setAttribute("aria-activedescendant", shown.row.id);
    else list.removeAttribute("aria-activedescendant");
  }
}

const newRow = (number) => {
  const cells = ["time", "sign", "who", "what", "said"].map((name) => make("span", { class: name }));
  const row = make("div", { class: "row", role: "option", id: `row-${number}` }, ...cells);
  list.append(row);
  return { row, cells };
};

const fillRow = ({ row, cells }, event, place, chosen) => {
  row.hidden = event === undefined;
  if (event === undefined) return;
  const { said, family, sign, status, isBad } = lookOf(event);
  row.style.top = `${place * line()}px`;
  row.dataset.place = place;
  row.dataset.family = family;
  row.classList.toggle("bad", isBad);
  if (status) cells[1].dataset.status = status;
  else delete cells[1].dataset.status;
  row.setAttribute("aria-selected", event === chosen);
  const texts = [time(event.at), sign, event.agent ?? "", event.kind, said];
  cells.forEach((cell, column) => {
    const text = clean(cut(texts[column], LONG));
    if (cell.textContent !== text) cell.textContent = text;
  });
};
