// What pages need beyond htmx: times in the viewer's zone, clocks, and what a lost connection means.
"use strict";

const language = document.documentElement.lang;
// Dates as the reader writes them: "29 Nov" in Britain, "Nov 29" in America, on the same English page.
const locale = navigator.languages.find((one) => one.split("-")[0] === language) ?? language;
const day = language === "ja" ? {year: "numeric", month: "2-digit", day: "2-digit"} : {year: "numeric", month: "short", day: "numeric"};
const dates = new Intl.DateTimeFormat(locale, {...day, hour: "2-digit", minute: "2-digit"});
const moments = new Intl.DateTimeFormat(locale, {...day, hour: "2-digit", minute: "2-digit", second: "2-digit"});
const clock = new Intl.DateTimeFormat(locale, {timeStyle: "medium"});

// Times come in UTC, which stays as their hint.
function localise(root) {
  for (const one of root.querySelectorAll("time[datetime]:not([data-local])")) {
    one.textContent = (one.parentElement.matches("[data-seconds]") ? moments : dates).format(new Date(one.dateTime));
    one.dataset.local = "";
  }
}

// Seconds that pass while nobody sends anything: elapsed times. They stop when the connection is lost.
function tick() {
  if (document.body.classList.contains("stale")) return;
  for (const one of document.querySelectorAll("[data-since]")) {
    one.textContent = elapsed((Date.now() - Date.parse(one.dataset.since)) / 1000);
  }
}

function elapsed(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const parts = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const first = parts.findIndex(([, length]) => whole >= length);
  if (first < 0) return unit(0, "second");
  return parts.slice(first, first + 2).map(([name, length], at) => unit(Math.floor(whole % (at ? parts[first][1] : Infinity) / length), name)).join(" ");
}

function unit(amount, name) {
  return new Intl.NumberFormat(language, {style: "unit", unit: name, unitDisplay: "short"}).format(amount);
}

// What was not heard of for some time may be out of date: say since when.
document.addEventListener("live:lost", ({detail}) => {
  document.body.classList.add("stale");
  const lost = document.getElementById("lost");
  lost.textContent = lost.dataset.text.replace("{at}", clock.format(detail));
  lost.hidden = false;
});
document.addEventListener("live:found", () => {
  document.body.classList.toggle("stale", false);
  document.getElementById("lost").hidden = true;
  document.querySelector("#rule.unconfirmed")?.dispatchEvent(new Event("input", {bubbles: true}));
});

// A request that the page gives up after a time (`hx-request`) carries the time until when it may arrive, by the clock of the
// service: the service may be away, and must not do it later. Of 20 s, 10 are for the way, and 10 for the work.
const ARRIVES_MS = 10_000;
const served = Number(document.querySelector("[data-served-at]")?.dataset.servedAt);
const [loaded] = performance.getEntriesByType("navigation");
const ahead = served - (loaded ? performance.timeOrigin + loaded.responseStart : Date.now());
document.addEventListener("htmx:configRequest", ({detail}) => {
  if (served && detail.elt.hasAttribute("hx-request")) detail.headers["Muster-Expires"] = String(Math.floor(Date.now() + ahead + ARRIVES_MS));
});

// Numbers of the builder belong to the rule as it was when they were asked for. After an edit they are grey until the
// answer to it, and if that does not come soon, the page says so.
const DOUBT_MS = 2_000;
const asked = new WeakMap();  // by request: the edits before it
let edits = 0, doubting;
document.addEventListener("input", ({target}) => {
  const form = target.closest?.("#rule");
  if (!form || target.name === "name") return;
  edits += 1;
  form.classList.add("unconfirmed");
  doubting ??= setTimeout(() => document.getElementById("unconfirmed")?.toggleAttribute("hidden", false), DOUBT_MS);
});
document.addEventListener("htmx:beforeRequest", ({detail}) => asked.set(detail.xhr, edits));
document.addEventListener("htmx:afterRequest", ({detail}) => {
  if (detail.target?.id !== "total" || detail.xhr.status !== 200 || asked.get(detail.xhr) !== edits) return;
  clearTimeout(doubting);
  doubting = undefined;
  document.getElementById("rule")?.classList.remove("unconfirmed");
  document.getElementById("unconfirmed")?.toggleAttribute("hidden", true);
});

// What was edited and not saved is not left behind unasked.
let saved = false;
document.addEventListener("htmx:beforeOnLoad", ({detail}) => (saved ||= Boolean(detail.xhr.getResponseHeader("HX-Redirect"))));
globalThis.addEventListener?.("beforeunload", (event) => {
  if (edits && !saved && document.getElementById("rule")) event.preventDefault();
});

// Every count of a draft has a higher revision than those before it, so that the service can give those up.
let revision = 0;
document.addEventListener("htmx:configRequest", ({detail}) => {
  if (detail.parameters.revision === undefined) return;
  revision = Math.max(revision + 1, Date.now());
  detail.parameters.revision = String(revision);
});

// A part of a page that the service refuses, or does not answer, is not drawn: say so.
const failed = document.getElementById("failed");
for (const name of ["htmx:responseError", "htmx:sendError"]) {
  document.addEventListener(name, () => {
    if (failed.hidden) failed.textContent = failed.dataset.text;
    failed.hidden = false;
  });
}
document.addEventListener("htmx:afterSwap", () => (failed.hidden = true));
// What was given up is said where its answer would be, until the next one.
document.addEventListener("htmx:timeout", ({detail}) => {
  const late = failed.cloneNode();
  late.removeAttribute("id");
  late.textContent = failed.dataset.late;
  late.hidden = false;
  detail.target.replaceChildren(late);
});

// The keyboard goes on where it was, though its part of the page is replaced or its button rests while a request runs.
// What is open stays open, and what was typed since the request was sent stays typed.
const held = new WeakMap();  // by request
const before = new WeakMap();  // by request
let opened = [], typed = [];
document.addEventListener("htmx:beforeRequest", ({detail}) => {
  detail.elt.addEventListener("htmx:beforeOnLoad", dropIfGone);
  if (detail.elt.contains(document.activeElement)) held.set(detail.xhr, document.activeElement);
  before.set(detail.xhr, Array.from(detail.target.querySelectorAll("input[id], select[id], textarea[id]"), ({id, value}) => [id, value]));
});
document.addEventListener("htmx:beforeSwap", ({detail}) => {
  if (detail.target.contains(document.activeElement)) held.set(detail.xhr, document.activeElement);
  opened = Array.from(detail.target.querySelectorAll("details[id][open]"), (one) => one.id);
  typed = before.get(detail.xhr).map(([id, was]) => ({id, was, is: document.getElementById(id)?.value ?? was}));
});
document.addEventListener("htmx:afterSwap", () => {
  for (const {id, was, is} of typed) {
    const field = document.getElementById(id);
    if (is !== was && field?.value === was) field.value = is;
  }
  typed = [];
});
// What a part would show that has been replaced meanwhile is dropped, with all that its answer says of other parts. Only the
// element that sent the request hears of the answer: it has left the document with the part.
function dropIfGone(event) {
  const {target, xhr} = event.detail;
  if (!target.isConnected && xhr.status < 300 && !xhr.getResponseHeader("HX-Redirect")) event.preventDefault();
}

document.addEventListener("htmx:oobBeforeSwap", ({detail}) => {
  if (detail.target.matches("textarea") && detail.target.value !== detail.target.defaultValue) detail.shouldSwap = false;
});
document.addEventListener("htmx:afterRequest", ({detail}) => {
  for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
  opened = [];
  const last = held.get(detail.xhr);
  if (!last || document.activeElement !== document.body) return;
  const next = last.isConnected ? last : successor(last, document.getElementById(detail.target.id) ?? document.getElementById("main"));
  next.focus();
  if (next !== last && last.selectionStart != null) next.setSelectionRange?.(last.selectionStart, last.selectionEnd);
  if (document.activeElement === next) return;
  next.tabIndex = -1;
  next.focus();
});

// What has the id, or the words, of an element that is gone; or else what it names to come after it; or else its part.
function successor(last, part) {
  const same = last.id ? document.getElementById(last.id) : Array.from(part.querySelectorAll(last.tagName)).find((one) => one.textContent === last.textContent);
  return same ?? document.getElementById(last.dataset.then) ?? part;
}

document.addEventListener("htmx:afterSettle", (event) => localise(event.detail.elt.parentElement ?? document));
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const one of document.querySelectorAll("details.menu[open]")) {
    if (one.contains(document.activeElement)) one.querySelector("summary").focus();
    one.open = false;
  }
});
document.addEventListener("click", ({target}) => {
  for (const one of document.querySelectorAll("details.menu[open]")) one.open = one.contains(target);
});
document.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey)) return;
  const field = document.getElementById("search"), link = document.getElementById("to-search");
  if (!field && !link) return;
  event.preventDefault();
  if (field) field.select();
  else link.click();
});
const menu = document.getElementById("menu");
menu?.addEventListener("click", () => {
  const open = document.getElementById("sections").classList.toggle("open");
  menu.setAttribute("aria-expanded", String(open));
  if (open) document.querySelector("#sections a").focus();
});
document.addEventListener("keydown", ({key}) => {
  if (key !== "Escape" || menu?.getAttribute("aria-expanded") !== "true") return;
  menu.click();
  menu.focus();
});
localise(document);
tick();
setInterval(tick, 1000);

// A new schedule runs by the viewer's clock unless the viewer says otherwise, and days of filters are the viewer's.
for (const one of document.querySelectorAll("[data-zone]")) {
  one.value = Intl.DateTimeFormat().resolvedOptions().timeZone ?? one.value;
  if (one.type !== "hidden") one.dispatchEvent(new Event("input", {bubbles: true}));
}

// A query runs as long as its request: to cancel it, its request is given up, as by leaving the page.
const query = document.getElementById("query");
if (query) {
  const text = query.elements.sql, running = document.getElementById("query-running"), result = document.getElementById("result");
  let cancelled = false;
  query.addEventListener("htmx:beforeRequest", () => {
    cancelled = false;
    document.getElementById("query-clock").dataset.since = new Date().toISOString();
    result.setAttribute("aria-busy", "true");
    running.hidden = false;
    tick();
  });
  query.addEventListener("htmx:afterRequest", () => {
    if (running.contains(document.activeElement)) text.focus();
    running.hidden = true;
    document.getElementById("result").removeAttribute("aria-busy");
    if (cancelled) document.getElementById("result").textContent = query.dataset.cancelled;
  });
  document.getElementById("cancel").addEventListener("click", () => {
    cancelled = true;
    query.dispatchEvent(new CustomEvent("htmx:abort", {bubbles: true, detail: {elt: query}}));
    text.focus();
  });
  text.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    query.requestSubmit();
  });
  for (const one of document.querySelectorAll("[data-insert]")) {
    one.addEventListener("click", () => {
      text.setRangeText(one.dataset.insert, text.selectionStart, text.selectionEnd, "end");
      text.focus();
    });
  }
}

document.documentElement.classList.toggle("copies", Boolean(navigator.clipboard));  // browsers have one only over https, and on loopback
document.addEventListener("click", async ({target}) => {
  const one = target.closest?.("[data-copy]");
  if (!one) return;
  const label = one.textContent;
  await navigator.clipboard.writeText(document.getElementById(one.dataset.copy).textContent);
  one.textContent = document.getElementById("copied").textContent = one.dataset.copied;
  one.addEventListener("blur", () => (one.textContent = label), {once: true});
});

// A form that the service refuses stays as it is: the script sends it, and shows the error beside its field. Where all went
// well, it goes where the answer leads to.
document.addEventListener("submit", (event) => {
  const form = event.target, button = event.submitter;
  if (event.defaultPrevented || form.method !== "post" || !form.closest("main") || "plain" in form.dataset || button?.formTarget) return;
  event.preventDefault();
  if (form.getAttribute("aria-busy") !== "true") sendForm(form, button);
});

async function sendForm(form, button) {
  const body = new URLSearchParams(new FormData(form, button));
  form.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(form.action, {method: "POST", body, headers: {"Muster-Form": "1"}});
    const to = answer.headers.get("Muster-Location"), page = to ? null : new DOMParser().parseFromString(await answer.text(), "text/html");
    if (to) location.assign(to);
    else if (page.querySelector("main")) showMain(page.querySelector("main"));
    else refuse(form, page.querySelector(".problem"), answer.headers.get("Muster-Field"));
  } catch {
    failed.textContent = failed.dataset.text;
    failed.hidden = false;
  } finally {
    form.removeAttribute("aria-busy");
  }
}

function showMain(main) {
  document.getElementById("main").replaceWith(main);
  htmx.process(main);
  localise(main);
  main.focus();
}

function refuse(form, problem, name) {
  form.querySelector(".problem")?.remove();
  for (const one of form.querySelectorAll("[aria-invalid]")) one.removeAttribute("aria-invalid");
  const field = form.querySelector(`[name="${CSS.escape(name ?? "")}"]:not([type=hidden])`);
  if (!field?.checkVisibility()) {
    form.prepend(problem);
    problem.tabIndex = -1;
    return problem.focus();
  }
  field.setAttribute("aria-invalid", "true");
  (field.closest("label") ?? field).after(problem);
  field.focus();
}

// Files go straight to the object store, by a request that the service has signed. Then the service looks at the file.
const upload = document.getElementById("upload");
if (upload) {
  const input = upload.elements.file, state = document.getElementById("upload-state"), sent = document.getElementById("sent");
  const drop = upload.querySelector(".drop");
  for (const name of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
      if (name === "drop" && event.dataTransfer.files.length) input.files = event.dataTransfer.files;
    });
  }
  upload.addEventListener("submit", async (event) => {
    event.preventDefault();
    const files = [...input.files], button = upload.querySelector("button"), total = files.reduce((sum, file) => sum + file.size, 0);
    if (files.length > Number(upload.dataset.most)) return void (state.textContent = upload.dataset.many);
    if (files.some((file) => file.size > Number(upload.dataset.max))) return void (state.textContent = upload.dataset.large);
    if (files.some((file) => !file.size)) return void (state.textContent = upload.dataset.empty);
    button.disabled = true;
    try {
      const made = [];
      let before = 0;
      for (const file of files) {  // in the order of the list: of several rows of a user the last one wins
        state.textContent = upload.dataset.sending.replace("{name}", file.name);
        const one = await begin(file);
        await put(one.put, file, (share) => ((sent.hidden = false), (sent.value = (100 * before + share * file.size) / total)));
        before += file.size;
        made.push(one.upload);
      }
      const query = new URLSearchParams({audience: upload.elements.audience.value, like: upload.dataset.like});
      for (const other of made.slice(1)) query.append("with", other);
      location.assign(`${upload.dataset.next.replace("UPLOAD", made[0])}?${query}`);
    } catch (error) {
      state.textContent = error.detail ?? upload.dataset.failed;
      button.disabled = false;
    }
  });
}

async function begin(file) {
  const body = {name: file.name, size: file.size, content_type: file.type || "application/octet-stream"};
  const headers = {"Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID()};
  const answer = await fetch(upload.dataset.uploads, {method: "POST", headers, body: JSON.stringify(body)});
  const found = await answer.json();
  if (!answer.ok) throw found;
  return found;
}

function put(request, file, progress) {
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    sending.open(request.method, request.url);
    for (const [name, value] of Object.entries(request.headers)) {
      if (name.toLowerCase() !== "content-length") sending.setRequestHeader(name, value);  // the browser's own
    }
    sending.upload.addEventListener("progress", (event) => progress(100 * event.loaded / event.total));
    sending.addEventListener("load", () => (sending.status < 300 ? resolve() : reject(new Error(sending.statusText))));
    sending.addEventListener("error", () => reject(new Error("unreachable")));
    sending.send(file);
  });
}
