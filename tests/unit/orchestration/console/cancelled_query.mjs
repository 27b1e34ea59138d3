// console.js with the form of a query that runs and is cancelled. Prints what htmx is told, and what the page shows.
import {readFileSync} from "node:fs";
import {runInThisContext} from "node:vm";

class Element {
  constructor(given = {}) {
    Object.assign(this, {dataset: {}, heard: {}, hidden: true, textContent: "", attributes: {}, ...given});
  }
  addEventListener(kind, call) {
    (this.heard[kind] ??= []).push(call);
  }
  dispatchEvent(event) {
    for (const call of this.heard[event.type] ?? []) call(event);
  }
  setAttribute(name, value) {
    this.attributes[name] = value;
  }
  removeAttribute(name) {
    delete this.attributes[name];
  }
  contains() {
    return false;
  }
  focus() {}
}
const told = [];
const elements = {
  failed: new Element(), result: new Element(), cancel: new Element(), "query-running": new Element(), "query-clock": new Element(),
  query: new Element({elements: {sql: new Element()}, dataset: {cancelled: "Cancelled."}}),
};
elements.query.addEventListener("htmx:abort", ({detail}) => told.push(detail.elt === elements.query));
const define = (name, value) => Object.defineProperty(globalThis, name, {value, configurable: true});
define("CustomEvent", class {
  constructor(type, {detail} = {}) {
    Object.assign(this, {type, detail});
  }
});
define("navigator", {languages: ["en-GB"]});
define("setInterval", () => {});
define("document", {
  documentElement: {lang: "en", classList: {toggle: () => {}}},
  body: {classList: {contains: () => false}},
  addEventListener: () => {},
  querySelectorAll: () => [],
  querySelector: () => null,
  getElementById: (id) => elements[id] ?? null,
});
runInThisContext(readFileSync(process.argv[2], "utf8"));

const shown = () => ({running: !elements["query-running"].hidden, result: elements.result.textContent});
elements.query.dispatchEvent({type: "htmx:beforeRequest"});
const running = shown();
elements.cancel.dispatchEvent({type: "click"});
elements.query.dispatchEvent({type: "htmx:afterRequest"});
console.log(JSON.stringify({running, told, cancelled: shown()}));
