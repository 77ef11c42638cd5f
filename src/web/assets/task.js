// The conversation of a task: new events are appended, older ones come when they are near, and go when they are far.
import { parse, say, times } from "./page.js";

const NEAR = 1500;
const FAR = 4000;
const PART = 100;

const talk = document.getElementById("talk");
const partial = document.getElementById("partial");
const follow = document.getElementById("follow");
/** @type {{ seq: number, html: string }[]} */
let waiting = [];
let unseen = 0;
let told = 0;
let frame = 0;
let text = "";

const atEnd = () => innerHeight + scrollY >= document.documentElement.scrollHeight - 120;

/** @param {EventSource} source */
export function startTask(source) {
  if (!talk) return;
  source.addEventListener("block", (event) => {
    waiting.push(JSON.parse(event.data));
    seen(event);
    schedule();
  });
  source.addEventListener("seen", seen);
  source.addEventListener("partial", (event) => {
    text = (text + JSON.parse(event.data)).slice(-20000);
    schedule();
  });
}

/** @param {MessageEvent} event */
function seen(event) {
  if (talk && event.lastEventId) talk.dataset.last = event.lastEventId;
}

function schedule() {
  frame ||= requestAnimationFrame(flush);
}

/** Puts what has come onto the page, once a frame. */
function flush() {
  frame = 0;
  if (!talk) return;
  const stick = atEnd();
  const batch = waiting.splice(0, 40);
  if (batch.length) {
    const fresh = parse(batch.map((block) => block.html).join("")).body;
    let added = 0;
    for (const block of [...fresh.children]) {
      const old = document.getElementById(block.id);
      if (old) {
        const fold = old.querySelector("details.call");
        const now = block.querySelector("details.call");
        if (fold?.hasAttribute("open") && now) now.setAttribute("open", "");
        old.replaceWith(block);
      } else {
        place().append(block);
        added += 1;
      }
    }
    text = "";
    if (!stick) unseen += added;
    times(talk);
  }
  if (partial) {
    partial.textContent = text;
    partial.hidden = !text;
  }
  if (stick) {
    scrollTo({ top: document.documentElement.scrollHeight });
    unseen = 0;
  }
  show();
  if (waiting.length) schedule();
}

/** The part at the live end: cut into parts of a hundred, so that those that are far can be emptied. */
function place() {
  if (!talk) throw new Error("no conversation");
  const last = talk.lastElementChild;
  if (last?.classList.contains("part") && last.childElementCount < PART) return last;
  const part = document.createElement("section");
  part.className = "part";
  talk.append(part);
  watch(part);
  return part;
}

function show() {
  if (!(follow instanceof HTMLButtonElement)) return;
  follow.hidden = unseen === 0;
  follow.textContent = `${unseen} new ↓`;
  if (unseen && Date.now() - told > 10000) {
    told = Date.now();
    say(`${unseen} new`);
  }
}

follow?.addEventListener("click", () => {
  unseen = 0;
  show();
  scrollTo({ top: document.documentElement.scrollHeight });
});

addEventListener("scroll", () => {
  if (unseen && atEnd()) {
    unseen = 0;
    show();
  }
}, { passive: true });

// Older parts come when their place is near.
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const part = /** @type {HTMLElement} */ (entry.target);
    if (entry.isIntersecting && part.classList.contains("older")) older(part);
    else if (entry.isIntersecting && part.dataset.empty) fill(part);
  }
}, { rootMargin: `${NEAR}px 0px` });

const emptier = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const part = /** @type {HTMLElement} */ (entry.target);
    if (!entry.isIntersecting && part.dataset.before && !part.dataset.empty && part.childElementCount) {
      part.style.height = `${part.offsetHeight}px`;
      part.dataset.empty = "1";
      part.replaceChildren();
    }
  }
}, { rootMargin: `${FAR}px 0px` });

/** @param {Element} part */
function watch(part) {
  watcher.observe(part);
  emptier.observe(part);
}

/** @param {number} before */
async function read(before) {
  const answer = await fetch(`/tasks/${talk?.dataset.task}/older?before=${before}&show=${talk?.dataset.show}`, { headers: { "X-CC-Anywhere": "1" } }).catch(() => undefined);
  // A server that is gone may go in the middle of an answer, too.
  const text = answer?.ok ? await answer.text().catch(() => "") : "";
  return /** @type {HTMLElement | null} */ (parse(text).querySelector("section.part")) ?? undefined;
}

let loading = false;

/** @param {HTMLElement} link */
async function older(link) {
  if (loading || !talk) return;
  loading = true;
  const part = await read(Number(talk.dataset.first));
  loading = false;
  if (!part) return;
  const height = document.documentElement.scrollHeight;
  link.after(part);
  times(part);
  talk.dataset.first = part.dataset.first ?? "1";
  // What one reads stays where it is.
  scrollBy(0, document.documentElement.scrollHeight - height);
  watch(part);
  if (part.dataset.more === "false") link.remove();
  else {
    watcher.unobserve(link);
    watcher.observe(link);
  }
}

/** @param {HTMLElement} part */
async function fill(part) {
  delete part.dataset.empty;
  const fresh = await read(Number(part.dataset.before));
  if (!fresh) {
    part.dataset.empty = "1";
    return;
  }
  part.replaceChildren(...fresh.children);
  part.style.height = "";
  times(part);
}

const link = document.querySelector(".older");
if (link) watcher.observe(link);
