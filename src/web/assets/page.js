// What all scripts of a page need: markup of this server, moments, and the page read again.
import { Idiomorph } from "./idiomorph.js";

/** The one place where text becomes markup: only what this server has rendered. */
const policy = /** @type {any} */ (window).trustedTypes?.createPolicy("cc", { createHTML: (/** @type {string} */ text) => text });
const trusted = (/** @type {string} */ text) => /** @type {string} */ (/** @type {unknown} */ (policy?.createHTML(text) ?? text));

/** @param {string} text */
export function parse(text) {
  return new DOMParser().parseFromString(trusted(text), "text/html");
}

/** Shows times in the reader's zone, and how long ago they were. @param {ParentNode} root */
export function times(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([data-set])")) {
    const at = new Date(/** @type {HTMLTimeElement} */ (time).dateTime);
    if (isNaN(+at)) continue;
    time.setAttribute("data-set", "");
    time.setAttribute("title", at.toLocaleString());
    const inTalk = time.matches(".ev > time, .ev > .at > time");
    time.textContent = inTalk ? at.toLocaleTimeString([], { hour12: false }) : ago(at);
  }
}

/** @param {Date} at */
function ago(at) {
  const seconds = (Date.now() - +at) / 1000;
  const [abs, past] = [Math.abs(seconds), seconds >= 0];
  const text = abs < 60 ? `${Math.round(abs)} s` : abs < 3600 ? `${Math.round(abs / 60)} min` : abs < 86400 ? `${Math.round(abs / 3600)} h` : `${Math.round(abs / 86400)} d`;
  return past ? `${text} ago` : `in ${text}`;
}

/** @param {string} text */
export function say(text) {
  const place = document.getElementById("say");
  if (place) place.textContent = text;
}

/** Shows how many questions are open. @param {number} count */
export function waiting(count) {
  const link = document.querySelector('nav a[href="/inbox"]');
  if (!link) return;
  link.querySelector(".count")?.remove();
  document.title = document.title.replace(/^\(\d+\) /, "");
  if (!count) return;
  const place = document.createElement("b");
  place.className = "count";
  place.textContent = String(count);
  link.append(" ", place);
  document.title = `(${count}) ${document.title}`;
}

let reading = false;
let again = false;

/** Reads the page again, and morphs its live parts. */
export async function refresh() {
  if (reading) {
    again = true;
    return;
  }
  reading = true;
  try {
    const answer = await fetch(location.href, { headers: { "X-CC-Anywhere": "1" } });
    if (answer.status === 401) return signIn();
    if (!answer.ok) return;
    const page = parse(await answer.text());
    document.title = page.title;
    for (const fresh of page.querySelectorAll("[data-live]")) {
      const old = document.querySelector(`[data-live="${fresh.getAttribute("data-live")}"]`);
      if (old) morph(old, fresh);
    }
    times(document);
  } catch {
    // The server has gone: the stream says so, and the page is read again when it is back.
  } finally {
    reading = false;
    if (again) {
      again = false;
      setTimeout(refresh, 500);
    }
  }
}

/** @param {Element} old @param {Element} fresh */
function morph(old, fresh) {
  Idiomorph.morph(old, fresh, {
    callbacks: {
      beforeNodeMorphed: (/** @type {Node} */ from, /** @type {Node} */ to) => {
        if (!(from instanceof HTMLElement) || !(to instanceof HTMLElement)) return true;
        if (from instanceof HTMLDetailsElement && to instanceof HTMLDetailsElement) to.open = from.open;
        // What a person has typed or chosen stays; what the page says does not.
        if (from.matches("input:not([type=hidden]), textarea, select")) return false;
        if (from.matches(".problem") && !to.textContent) return false;
        if (from.classList.contains("here")) to.classList.add("here");
        return true;
      },
    },
  });
}

/** Signs in over the page: what was typed stays. */
function signIn() {
  bar("You are signed out.", "Sign in in another tab, then go on here.");
}

/** @param {string} text @param {string} [more] */
export function bar(text, more) {
  const place = document.getElementById("offline");
  if (!place) return;
  place.textContent = more ? `${text} ${more}` : text;
  place.hidden = !text;
  if (!text) document.getElementById("main")?.classList.remove("stale");
}
