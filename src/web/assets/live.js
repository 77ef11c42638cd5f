// Makes a page live: at a hint from its stream it is read again, and what has changed is put in its place.
// Focus, selection, open folds and what was typed stay.
import { bar, refresh, times, waiting } from "./page.js";
import { startFind } from "./find.js";
import { startForms } from "./forms.js";
import { startKeys } from "./keys.js";
import { startTask } from "./task.js";

/** @type {EventSource | undefined} */
let stream;
let lost = 0;
let tries = 0;
/** @type {number | undefined} */
let next;
let due = 0;
let read = 0;

function open() {
  if (stream || document.hidden) return;
  const address = new URL(document.body.dataset.stream ?? "/web/live", location.href);
  const talk = document.getElementById("talk");
  if (talk) {
    address.searchParams.set("first", talk.dataset.first ?? "0");
    address.searchParams.set("after", talk.dataset.last ?? "0");
    address.searchParams.set("show", talk.dataset.show ?? "all");
  }
  const source = new EventSource(address);
  stream = source;
  source.onopen = () => {
    if (lost) refresh();
    [lost, tries] = [0, 0];
    bar("");
  };
  source.onerror = () => {
    source.close();
    stream = undefined;
    lost ||= Date.now();
    tries += 1;
    const wait = Math.min(30, 2 ** Math.min(tries, 5));
    bar(`Not live since ${new Date(lost).toLocaleTimeString()}, trying again in ${wait} s.`);
    if (Date.now() - lost > 30000) document.getElementById("main")?.classList.add("stale");
    clearTimeout(next);
    next = setTimeout(open, wait * 1000);
  };
  source.addEventListener("change", () => {
    due ||= setTimeout(() => {
      [due, read] = [0, Date.now()];
      refresh();
    }, Math.max(0, read + 1000 - Date.now()));
  });
  source.addEventListener("waiting", (event) => waiting(Number(event.data)));
  startTask(source);
}

function close() {
  stream?.close();
  stream = undefined;
  clearTimeout(next);
}

const code = location.pathname === "/in" && location.hash.startsWith("#K") && location.hash.slice(1);
if (code) {
  const form = /** @type {HTMLFormElement | null} */ (document.getElementById("sign-in"));
  const field = /** @type {HTMLInputElement | null} */ (document.getElementById("code"));
  if (form && field) {
    field.value = code;
    history.replaceState(null, "", location.pathname + location.search);
    form.submit();
  }
} else if (document.body.dataset.stream) {
  times(document);
  startFind();
  startKeys();
  startForms();
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : (open(), refresh())));
  addEventListener("pagehide", close);
  setInterval(() => {
    for (const time of document.querySelectorAll("time[data-set]")) if (!time.parentElement?.classList.contains("ev")) time.removeAttribute("data-set");
    times(document);
  }, 20000);
  open();
}
