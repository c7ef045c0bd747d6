// The events as a list: as many rows as there is room for, filled anew while it scrolls.

const LINE = 26;
const list = byId("list");
const spacer = byId("spacer");
const rowPool = [];
let shown = [];

const newRow = () => {
  const cells = ["time", "dot", "who", "what", "said"].map((name) => make("span", { class: name }));
  const button = make("button", { type: "button" }, ...cells);
  const row = make("div", { class: "row", role: "listitem" }, button);
  button.addEventListener("click", () => choose(`e${row.dataset.place}`, { show: true }));
  button.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = shown[shown.indexOf(Number(row.dataset.place)) + step];
    if (next === undefined) return;
    choose(`e${next}`, { show: true });
    rowPool.find(({ row: one }) => Number(one.dataset.place) === next && !one.hidden)?.button.focus();
  });
  list.append(row);
  return { row, button, cells };
};

const fillRow = ({ row, button, cells }, index) => {
  const place = shown[index];
  const event = EVENTS[place];
  row.hidden = place === undefined;
  if (place === undefined) return;
  row.style.top = `${index * LINE}px`;
  row.dataset.place = place;
  row.dataset.family = FAMILY[place];
  row.setAttribute("aria-setsize", shown.length);
  row.setAttribute("aria-posinset", index + 1);
  const texts = [offset(AT[place], 0.001), "", event.agent ?? "", event.kind, SAID[place]];
  cells.forEach((cell, column) => {
    cell.textContent = clean(cut(texts[column], 220));
  });
  button.setAttribute("aria-current", view.chosen === `e${place}`);
};

const fillList = () => {
  const first = Math.max(0, Math.floor(list.scrollTop / LINE) - 3);
  const count = Math.ceil(list.clientHeight / LINE) + 6;
  while (rowPool.length < count) rowPool.push(newRow());
  rowPool.forEach((row, number) => {
    // The row of an index stays the same while it is in view, so that what has the focus keeps it.
    const index = first + ((((number - first) % rowPool.length) + rowPool.length) % rowPool.length);
    fillRow(row, index);
  });
};

const showInList = (place) => {
  const index = shown.indexOf(place);
  if (index < 0) return;
  const top = index * LINE;
  if (top < list.scrollTop || top + LINE > list.scrollTop + list.clientHeight) list.scrollTop = top - list.clientHeight / 2;
  fillList();
};

const refill = () => {
  shown = listed();
  spacer.style.height = `${shown.length * LINE}px`;
  const all = EVENTS.length;
  byId("matches").textContent = shown.length === all ? `${whole(all)}` : `${whole(shown.length)} of ${whole(all)}`;
  fillList();
};
list.addEventListener("scroll", fillList, { passive: true });
