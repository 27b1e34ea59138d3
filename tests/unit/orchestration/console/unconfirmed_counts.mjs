// console.js with a builder whose rule is edited while answers come late. Prints what the page says of its numbers, and
// until when requests may arrive.
import {readFileSync} from "node:fs";
import {runInThisContext} from "node:vm";

let now = Date.parse("2026-11-29T10:00:00Z");
Date.now = () => now;
const classes = new Set(), heard = {}, timers = [];
class Element {
  constructor(given = {}) {
    Object.assign(this, {dataset: {}, hidden: true, textContent: "", ...given});
  }
  toggleAttribute(name, on) {
    this[name] = on;
  }
  contains() {
    return false;
  }
  querySelectorAll() {
    return [];
  }
  addEventListener() {}
  removeAttribute() {}
  cloneNode() {
    return new Element(this);
  }
  replaceChildren(child) {
    this.child = child;
  }
}
const rule = new Element({classList: {add: (one) => classes.add(one), remove: (one) => classes.delete(one)}});
const elements = {
  failed: new Element({dataset: {late: "No answer in time."}}),
  unconfirmed: new Element(), total: new Element({id: "total"}), review: new Element({id: "review"}), rule,
};
const define = (name, value) => Object.defineProperty(globalThis, name, {value, configurable: true});
define("navigator", {languages: ["en-GB"]});
define("setInterval", () => {});
define("setTimeout", (call) => timers.push(call) - 1);
define("clearTimeout", (timer) => (timers[timer] = () => {}));
// The page came two hours later by the clock of the service.
define("performance", {timeOrigin: now - 500, getEntriesByType: () => [{responseStart: 500}]});
define("document", {
  documentElement: {lang: "en", classList: {toggle: () => {}}},
  body: {classList: {contains: () => false}},
  addEventListener: (kind, call) => (heard[kind] ??= []).push(call),
  querySelectorAll: () => [],
  querySelector: (selector) => (selector === "[data-served-at]" ? {dataset: {servedAt: String(now + 7_200_000)}} : null),
  getElementById: (id) => elements[id] ?? null,
});
runInThisContext(readFileSync(process.argv[2], "utf8"));

const say = (kind, event) => heard[kind].forEach((call) => call(event));
const edit = (name) => say("input", {target: {name, closest: () => rule}});
function ask() {
  const xhr = {status: 200};
  say("htmx:beforeRequest", {detail: {xhr, elt: elements.total, target: elements.total}});
  return xhr;
}
const answer = (xhr) => say("htmx:afterRequest", {detail: {xhr, target: elements.total}});
const seen = () => ({grey: classes.has("unconfirmed"), said: !elements.unconfirmed.hidden});
const pass = () => timers.splice(0).forEach((call) => call());

edit("name");
const named = seen();
edit("0.0.times");
const first = ask(), edited = seen();
edit("0.0.window");
const second = ask();
answer(first);
const earlier = seen();
pass();
const waited = seen();
answer(second);
const confirmed = seen();

now += 60_000;
const expiry = (limited) => {
  const detail = {elt: {hasAttribute: () => limited}, headers: {}, parameters: {}};
  say("htmx:configRequest", {detail});
  return detail.headers["Muster-Expires"] - now;
};
say("htmx:timeout", {detail: {target: elements.review}});
const late = elements.review.child;
console.log(JSON.stringify({
  named, edited, earlier, waited, confirmed, limited: expiry(true), others: expiry(false), late: [late.textContent, late.hidden],
}));
