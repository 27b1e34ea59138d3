// Live pages. Of all pages of this browser that are looked at, one holds an event stream, of what all of them show, and passes
// on what it hears: over HTTP/1.1 browsers open six connections to a host, and a stream keeps one.
"use strict";

const SILENCE_MS = 20_000;
const POLL_MS = 5_000;
const GATHER_MS = 50;  // in which pages answer a new leader
const NAME = "muster-live";  // of the lock that makes a page the leader, and of the channel
const KINDS = ["job", "audience", "segment", "schedule", "worker", "lag"];

// Every event is the whole state of one thing; the part of the page that shows the thing is fetched again, so that the
// service alone says how it looks.
class Live {
  constructor(holder) {
    this.source = holder.dataset.stream;  // what this page shows
    this.page = String(Math.random());
    this.leading = this.lost = false;
    this.knownAt = new Date();
    // Locks are there over https, and on loopback. Without them, each page holds a stream of its own.
    this.channel = navigator.locks && globalThis.BroadcastChannel ? new BroadcastChannel(NAME) : null;
    this.channel?.addEventListener("message", ({data}) => this.receive(data));
    document.addEventListener("visibilitychange", () => (document.hidden ? this.leave() : this.join()));
    setInterval(() => this.check(), 1000);
    this.join();
  }

  join() {
    if (document.hidden) return;
    this.ready = false;
    this.heardAt = Date.now();
    this.say({page: this.page, wants: this.source});
    this.compete();
  }

  // A page that nobody looks at neither leads nor listens.
  leave() {
    this.say({page: this.page});
    this.waiting?.abort();
    this.resign();
  }

  // Whoever has the lock leads. The next one gets it when the page of the leader is closed, or no longer looked at.
  compete({steal = false} = {}) {
    if (!this.channel) return void this.lead();
    this.waiting?.abort();
    this.waiting = new AbortController();
    const how = steal ? {steal} : {signal: this.waiting.signal};
    navigator.locks.request(NAME, how, () => this.lead()).catch(() => {
      if (!this.leading) return;  // it no longer waits
      this.resign();  // the lock was taken away
      if (!document.hidden) this.compete();
    });
  }

  lead() {
    this.leading = true;
    this.wanted = new Map([[this.page, this.source]]);
    this.say({asks: true});
    this.gather();
    return new Promise((resolve) => (this.release = resolve));
  }

  resign() {
    this.leading = false;
    clearTimeout(this.gathering);
    this.stream?.close();
    this.release?.();
  }

  gather() {
    clearTimeout(this.gathering);
    this.gathering = setTimeout(() => this.open(), GATHER_MS);
  }

  // A stream begins with the state of everything, so a new one also tells a page that has come what has happened meanwhile.
  open() {
    this.stream?.close();
    const sources = [...new Set(this.wanted.values())].sort();
    this.stream = new EventSource(`/console/events?${new URLSearchParams(sources.map((one) => ["of", one]))}`);
    this.tell({event: "begun"});
    for (const event of ["sources", ...KINDS, "ready", "alive", "end"]) {
      this.stream.addEventListener(event, ({data}) => this.tell({event, data: JSON.parse(data)}));
    }
  }

  say(message) {
    this.channel?.postMessage(message);
  }

  tell(message) {
    this.say(message);
    this.hear(message);
  }

  receive(message) {
    if (document.hidden) return;
    if (message.event) this.hear(message);
    else if (message.asks) this.say({page: this.page, wants: this.source});
    else if (!this.leading) return;
    else if (!message.wants) this.wanted.delete(message.page);
    else {
      this.wanted.set(message.page, message.wants);
      this.gather();
    }
  }

  hear({event, data}) {
    switch (event) {
      case "begun":
        this.ready = this.asked = false;
        this.heardAt = Date.now();
        break;
      case "sources":
        this.granted = data.of.includes(this.source);
        break;
      case "end":
        if (data.status === 401) location.reload();  // to the login
        break;
      case "ready":
      case "alive":
        this.ready = true;
        this.alive(data.as_of);
        break;
      default:
        this.change(data);
    }
  }

  alive(asOf) {
    if (this.granted === false) return;  // the stream is one of other pages
    this.heardAt = Date.now();
    this.knownAt = asOf ? new Date(asOf) : new Date();
    if (this.lost) document.dispatchEvent(new CustomEvent("live:found"));
    this.lost = false;
  }

  change({kind, id, value}) {
    this.alive();
    const shown = document.getElementById(`${kind}-${id}`);
    if (shown) {
      // What the page has already is not fetched.
      const same = !this.ready && value && shown.dataset.state === value.state && shown.dataset.final === "true";
      if (!same) shown.dispatchEvent(new CustomEvent("changed"));
    } else if (value && id > document.querySelector("[data-newest]")?.dataset.newest && value.tenant === this.source.split("/")[0]) {
      document.getElementById(`${kind}-new`)?.dispatchEvent(new CustomEvent("changed"));
    }
  }

  async check() {
    if (document.hidden || Date.now() - this.heardAt < SILENCE_MS) return;
    if (!this.lost) {
      this.lost = true;
      this.polledAt = 0;
      document.dispatchEvent(new CustomEvent("live:lost", {detail: this.knownAt}));
    }
    if (this.granted === false || Date.now() - this.polledAt < POLL_MS) return;
    this.polledAt = Date.now();
    try {
      const answer = await fetch("/v1/me", {headers: {Accept: "application/json"}});
      if (answer.status === 401 || answer.status === 421) location.reload();  // 421: the console has moved to another host
      else if (answer.ok) this.again();
    } catch {
      // still lost
    }
  }

  // A leader that does not answer (a page that hangs) is replaced.
  again() {
    if (this.leading) return this.open();
    if (this.asked) return this.compete({steal: true});
    this.asked = true;
    this.say({page: this.page, wants: this.source});
  }
}

const holder = document.querySelector("[data-stream]");
if (holder) new Live(holder);
