// Forms stay on the page: what fails is told at the form, and what was typed stays.
import { refresh, say } from "./page.js";

const UNDO = 5000;

export function startForms() {
  document.addEventListener("submit", (event) => {
    const form = /** @type {HTMLFormElement} */ (event.target);
    if (form.method !== "post" || form.hasAttribute("data-plain")) return;
    event.preventDefault();
    const button = /** @type {HTMLButtonElement | null} */ (/** @type {SubmitEvent} */ (event).submitter);
    send(form, button);
  });
  document.addEventListener("keydown", (event) => {
    const field = event.target;
    if (event.key === "Enter" && (event.metaKey || event.ctrlKey) && field instanceof HTMLTextAreaElement) {
      event.preventDefault();
      field.form?.requestSubmit(/** @type {HTMLElement | null} */ (field.form.querySelector("button.main")));
    }
  });
  document.addEventListener("click", (event) => {
    const row = /** @type {HTMLElement} */ (event.target).closest?.(".row");
    if (row && !/** @type {HTMLElement} */ (event.target).closest("a, input, label, button") && getSelection()?.isCollapsed) {
      const link = /** @type {HTMLAnchorElement | null} */ (row.querySelector("a.title"));
      link?.click();
    }
  });
  startReview();
  document.addEventListener("change", chosen);
  chosen();
  const form = /** @type {HTMLFormElement | null} */ (document.getElementById("new"));
  form?.addEventListener("input", () => showRequest(form));
  if (form) showRequest(form);
}

/** A line of the changes that is clicked is quoted in the review, and so is the name of a file by its button. */
function startReview() {
  const review = /** @type {HTMLTextAreaElement | null} */ (document.getElementById("review"));
  if (!review) return;
  /** @param {string} quote */
  const add = (quote) => {
    review.value = `${review.value}${review.value && !review.value.endsWith("\n") ? "\n\n" : ""}${quote}\n`;
    review.focus();
    review.scrollIntoView({ block: "nearest" });
  };
  for (const button of document.querySelectorAll("button.remark")) {
    /** @type {HTMLButtonElement} */ (button).hidden = false;
    button.addEventListener("click", () => add(`${button.getAttribute("data-at")}:`));
  }
  document.addEventListener("click", (event) => {
    const line = /** @type {HTMLElement} */ (event.target).closest?.(".diff[data-file] [data-n]");
    if (!line || !getSelection()?.isCollapsed) return;
    const file = line.closest("[data-file]")?.getAttribute("data-file");
    add(`${file}:${line.getAttribute("data-n")}${line.matches("del") ? " (removed)" : ""}\n> ${line.textContent?.slice(1)}`);
  });
}

/** @type {number | undefined} */
let soon;
let shown = 0;

/** Shows the request that a form makes, a moment after the last key. @param {HTMLFormElement} form */
function showRequest(form) {
  clearTimeout(soon);
  const now = ++shown;
  soon = setTimeout(async () => {
    const place = document.getElementById("request");
    const text = place?.querySelector("pre");
    if (!place || !text) return;
    const body = new URLSearchParams(/** @type {any} */ (new FormData(form)));
    const answer = await fetch("/tasks/json", { method: "POST", body, headers: { "X-CC-Anywhere": "1" } }).catch(() => undefined);
    if (!answer) return;
    const said = await answer.text().catch(() => undefined);
    // What the server has said of the form since stays.
    if (!answer.ok || said === undefined || now !== shown) return;
    const wrong = answer.headers.has("x-problem");
    problem(form, wrong ? said : "");
    if (!wrong) text.textContent = said;
    place.hidden = !text.textContent;
  }, 300);
}

function chosen() {
  const place = document.querySelector("[data-chosen]");
  if (!place) return;
  const count = document.querySelectorAll(".picks input:checked").length;
  place.textContent = count ? `${count} chosen:` : "Of those that are chosen:";
}

/** @type {{ timer: number, form: HTMLFormElement } | undefined} */
let held;

/** Takes the last answer back, within five seconds. */
export function undo() {
  if (!held) return;
  clearTimeout(held.timer);
  problem(held.form, "");
  enable(held.form, true);
  held = undefined;
  say("Taken back");
}

/** @param {HTMLFormElement} form @param {HTMLButtonElement | null} button */
function send(form, button) {
  const fields = new FormData(form);
  if (button?.name) fields.append(button.name, button.value);
  // Not form.id: a field of that name would be taken for it.
  const isBulk = form.getAttribute("id") === "bulk";
  const count = isBulk ? fields.getAll("id").length : Number(form.dataset.count ?? 0);
  if (count > 1 && !form.querySelector("input[name=typed]") && !confirm(`${button?.textContent} ${count} tasks?`)) return;
  if (isBulk) document.querySelectorAll(".picks input:checked").forEach((pick) => (/** @type {HTMLInputElement} */ (pick).checked = false));
  clearTimeout(soon);
  shown += 1;
  problem(form, "");
  enable(form, false);
  if (!form.classList.contains("answer")) return post(form, fields);
  problem(form, `${button?.textContent}: sent in 5 s. z takes it back.`);
  const timer = setTimeout(() => {
    held = undefined;
    post(form, fields);
  }, UNDO);
  held = { timer, form };
}

/** @param {HTMLFormElement} form @param {FormData} fields */
async function post(form, fields) {
  try {
    const body = new URLSearchParams(/** @type {any} */ (fields));
    const answer = await fetch(form.action, { method: "POST", body, headers: { "X-CC-Anywhere": "1" } });
    if (!answer.ok) {
      problem(form, answer.status === 401 ? "You are signed out: sign in in another tab, then send it again." : await answer.text());
      return;
    }
    problem(form, "");
    const next = answer.headers.get("x-next");
    for (const field of form.querySelectorAll("textarea")) field.value = "";
    const moves = form.action.endsWith("/tasks") || form.action.endsWith("/retry");
    if (next && moves) location.href = next;
    else await refresh();
  } catch {
    problem(form, "The server did not answer. Nothing was lost: send it again.");
  } finally {
    enable(form, true);
  }
}

/** @param {HTMLFormElement} form @param {string} text */
function problem(form, text) {
  const place = form.querySelector(".problem");
  if (place) place.textContent = text;
}

/** @param {HTMLFormElement} form @param {boolean} on */
function enable(form, on) {
  for (const button of form.querySelectorAll("button")) button.disabled = !on;
}
