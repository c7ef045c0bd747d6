// The connection: first the last of what happened, then what happens. It comes back by itself, behind what it has told.

const HISTORY = 500;
const SOONEST = 500;
const LATEST = 10_000;
const LOGGED_OUT = 401;

const address = (path, parameters) => {
  const url = new URL(path, document.baseURI);
  url.search = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value)).toString();
  return url;
};

// `tell` has events(list, size) and state(name, why); a state is connecting, live, away, lost, out or refused.
export class Stream {
  #tell;
  #agent;
  #after = null;
  #socket = null;
  #timer = null;
  #failures = 0;
  #why = "";
  #isOver = false;

  constructor(agent, tell) {
    this.#agent = agent;
    this.#tell = tell;
    this.#begin();
  }

  close() {
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#socket?.close();
  }

  async #begin() {
    try {
      const past = this.#after === null;
      const answer = await fetch(past ? address("api/events", { last: HISTORY, agent: this.#agent }) : address("healthz", {}));
      if (this.#isOver) return;
      if (answer.status === LOGGED_OUT) return this.#fail("out", "");
      if (past && !answer.ok) return await this.#refused(answer);
      if (past) await this.#history(answer);
    } catch {
      return this.#fail("lost", "the server cannot be reached");
    }
    return this.#isOver ? undefined : this.#connect();
  }

  async #refused(answer) {
    const why = await answer.json().then(({ error }) => String(error), () => `the server answered with ${answer.status}`);
    if (this.#isOver) return;
    if (answer.status < 500) this.#tell.state("refused", why);
    else this.#fail("lost", why);
  }

  async #history(answer) {
    const text = await answer.text();
    if (this.#isOver) return;
    const { events, last_id: last } = JSON.parse(text);
    this.#after = last;
    this.#tell.events(events, text.length);
  }

  #connect() {
    const url = address("ws/events", { after: this.#after, agent: this.#agent });
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    this.#socket = socket;
    this.#why = "";
    socket.addEventListener("message", ({ data }) => this.#hear(JSON.parse(data), data.length));
    socket.addEventListener("close", ({ reason }) => this.#fail("lost", this.#why || reason || "the connection broke"));
  }

  #hear(message, size) {
    if (this.#isOver) return;
    if (message.last_id) this.#after = message.last_id;
    if (message.type === "events") {
      if (message.events.length) this.#tell.events(message.events, size);
    } else if (message.type === "live") {
      this.#failures = 0;
      this.#tell.state("live", "");
    } else if (message.type === "store") this.#tell.state(message.state === "away" ? "away" : "live", "");
    else if (message.type === "closing") this.#why = String(message.reason);
  }

  #fail(state, why) {
    if (this.#isOver) return;
    this.#tell.state(state, why);
    const pause = Math.min(SOONEST * 2 ** this.#failures, LATEST) * (0.5 + Math.random() / 2);
    this.#failures += 1;
    this.#timer = setTimeout(() => this.#begin(), pause);
  }
}
