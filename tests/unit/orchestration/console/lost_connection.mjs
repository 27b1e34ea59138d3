// console.js and live.js with a page of two elements, a clock that is set, and a stream that falls silent. Prints what the page shows.
import {readFileSync} from "node:fs";
import {runInThisContext} from "node:vm";

let now = Date.parse("2026-11-29T10:00:00Z"), answers = false;
Date.now = () => now;
const intervals = [], sources = [], classes = new Set();
const lost = {hidden: true, dataset: {text: "since {at}"}, textContent: ""};
const clock = {dataset: {since: "2026-11-29T10:00:00Z"}, textContent: ""};
const holder = {dataset: {stream: "/lag", newest: ""}}, heard = {};
const found = {"[data-since]": [clock]};
const define = (name, value) => Object.defineProperty(globalThis, name, {value, configurable: true});

define("navigator", {languages: ["en-GB"]});
define("location", {reload: () => {}});
define("setInterval", (call) => intervals.push(call));
define("setTimeout", (call) => call());
define("fetch", async () => {
  if (!answers) throw new Error("unreachable");
  return {ok: true, status: 200};
});
define("EventSource", class {
  constructor() {
    this.heard = {};
    sources.push(this);
  }
  addEventListener(kind, call) {
    this.heard[kind] = call;
  }
  close() {}
});
define("CustomEvent", class {
  constructor(type, {detail} = {}) {
    Object.assign(this, {type, detail});
  }
});
define("document", {
  hidden: false,
  documentElement: {lang: "en", classList: {toggle: () => {}}},
  body: {classList: {
    contains: (one) => classes.has(one),
    add: (one) => classes.add(one),
    toggle: (one, on) => (on ? classes.add(one) : classes.delete(one), on),
  }},
  addEventListener: (kind, call) => (heard[kind] ??= []).push(call),
  dispatchEvent: (event) => heard[event.type].forEach((call) => call(event)),
  querySelectorAll: (selector) => found[selector] ?? [],
  querySelector: (selector) => (selector === "[data-stream]" ? holder : null),
  getElementById: (id) => ({lost, failed: {}})[id] ?? null,
});
for (const file of process.argv.slice(2)) runInThisContext(`{${readFileSync(file, "utf8")}}`);  // modules share no names

const seen = [];
async function pass(seconds) {
  for (let second = 0; second < seconds; second += 1) {
    now += 1000;
    for (const call of intervals) call();
    await new Promise((resolve) => setImmediate(resolve));
  }
  seen.push({clock: clock.textContent, lost: !lost.hidden, text: lost.textContent, streams: sources.length});
}
function alive() {
  sources.at(-1).heard.alive({data: JSON.stringify({as_of: new Date(now).toISOString()})});
}

await pass(5);
alive();
await pass(19);
await pass(2);
await pass(30);
answers = true;
await pass(6);
alive();
await pass(1);
console.log(JSON.stringify(seen));
