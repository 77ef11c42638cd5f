// Keys: each has a button or a link of its own on the page, which names it.
import { undo } from "./forms.js";

/** @type {[string, string][]} */
const GENERAL = [["/", "search"], ["?", "keys of this page"], ["j k", "next, previous"], ["Enter o", "open"], ["x", "choose"], ["1–9", "choose an answer"], ["z", "take an answer back"], ["G", "to the end"], ["Esc", "close"]];

let before = "";
let at = -1;

export function startKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && document.activeElement instanceof HTMLElement) return document.activeElement.blur();
    if (event.ctrlKey || event.metaKey || event.altKey) {
      if (event.key === "k" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        document.getElementById("find")?.focus();
      }
      return;
    }
    const target = /** @type {HTMLElement} */ (event.target);
    if (target.closest("input, textarea, select, dialog, [contenteditable]")) return;
    const key = before ? `${before} ${event.key}` : event.key;
    before = "";
    if (key === "g") {
      before = "g";
      setTimeout(() => (before = ""), 1500);
      return;
    }
    if (act(key, target)) event.preventDefault();
  });
}

/** The things that j and k go through. @returns {HTMLElement[]} */
const things = () => [...document.querySelectorAll(".card, .row")].map((one) => /** @type {HTMLElement} */ (one));

/** @param {number} step */
function move(step) {
  const all = things();
  if (!all.length) return false;
  const now = all.findIndex((one) => one.classList.contains("here"));
  at = Math.max(0, Math.min(all.length - 1, (now < 0 ? (step > 0 ? -1 : all.length) : now) + step));
  all.forEach((one, n) => one.classList.toggle("here", n === at));
  all[at].scrollIntoView({ block: "nearest" });
  /** @type {HTMLElement | null} */ (all[at].querySelector("a"))?.focus({ preventScroll: true });
  return true;
}

/** @param {string} key @param {HTMLElement} target */
function act(key, target) {
  const here = /** @type {HTMLElement | null} */ (document.querySelector(".here")) ?? /** @type {HTMLElement | null} */ (document.querySelector(".card"));
  switch (key) {
    case "/": document.getElementById("find")?.focus(); return true;
    case "?": help(); return true;
    case "j": return move(1);
    case "k": return move(-1);
    case "z": undo(); return true;
    case "G": scrollTo({ top: document.documentElement.scrollHeight }); return true;
    case "o": /** @type {HTMLElement | null} */ (here?.querySelector("a"))?.click(); return true;
    case "x": /** @type {HTMLElement | null} */ (here?.querySelector(".pick input"))?.click(); return true;
  }
  if (/^[1-9]$/.test(key) && here?.matches(".card")) {
    const choices = here.querySelectorAll("fieldset input[type=radio], fieldset input[type=checkbox]");
    /** @type {HTMLElement | undefined} */ (choices[Number(key) - 1])?.click();
    return choices.length > 0;
  }
  const within = here?.matches(".card") ? /** @type {HTMLElement | null} */ (here.querySelector(`[data-key="${CSS.escape(key)}"]`)) : null;
  const thing = within ?? /** @type {HTMLElement | null} */ (document.querySelector(`[data-key="${CSS.escape(key)}"]`));
  if (!thing || thing.closest("[hidden]")) return false;
  if (thing.matches("textarea, input")) thing.focus();
  else if (target !== thing) thing.click();
  return true;
}

function help() {
  const dialog = /** @type {HTMLDialogElement | null} */ (document.getElementById("keys"));
  const list = dialog?.querySelector("dl");
  if (!dialog || !list) return;
  const named = [...document.querySelectorAll("[data-key]")].map((one) => [one.getAttribute("data-key") ?? "", (one.textContent || one.closest("form")?.querySelector("label")?.textContent || "").trim()]);
  const all = new Map([...GENERAL, ...named.map(([key, what]) => /** @type {[string, string]} */ ([key, what]))]);
  list.replaceChildren();
  for (const [key, what] of all) {
    const [name, meaning] = [document.createElement("dt"), document.createElement("dd")];
    [name.textContent, meaning.textContent] = [key, what];
    list.append(name, meaning);
  }
  dialog.showModal();
}
