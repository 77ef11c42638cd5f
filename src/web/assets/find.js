// The search of each page: what it offers while one types. Without it the form leads to the list of tasks.
import { parse, say } from "./page.js";

export function startFind() {
  const field = /** @type {HTMLInputElement | null} */ (document.getElementById("find"));
  const list = document.getElementById("found");
  if (!field || !list) return;
  /** @type {number | undefined} */
  let due;
  let at = -1;
  let asked = 0;
  field.setAttribute("role", "combobox");
  field.setAttribute("aria-controls", "found");
  field.setAttribute("aria-autocomplete", "list");
  const options = () => [...list.querySelectorAll("a")];

  /** @param {boolean} shown */
  const show = (shown) => {
    list.hidden = !shown;
    field.setAttribute("aria-expanded", String(shown));
    if (!shown) choose(-1);
  };
  /** @param {number} next */
  const choose = (next) => {
    at = next;
    options().forEach((one, n) => {
      one.id = `found-${n}`;
      one.setAttribute("aria-selected", String(n === at));
      if (n === at) one.scrollIntoView({ block: "nearest" });
    });
    if (at < 0) field.removeAttribute("aria-activedescendant");
    else field.setAttribute("aria-activedescendant", `found-${at}`);
  };
  const look = async () => {
    const now = ++asked;
    const answer = await fetch(`/find?q=${encodeURIComponent(field.value)}`, { headers: { "X-CC-Anywhere": "1" } }).catch(() => undefined);
    const text = answer?.ok ? await answer.text().catch(() => undefined) : undefined;
    // What was typed meanwhile is asked for itself.
    if (text === undefined || now !== asked || document.activeElement !== field) return;
    const fresh = parse(text).getElementById("found");
    list.replaceChildren(...(fresh?.children ?? []));
    choose(-1);
    show(options().length > 0);
    say(`${options().length} found`);
  };

  show(false);
  field.addEventListener("focus", look);
  field.addEventListener("input", () => {
    clearTimeout(due);
    due = setTimeout(look, 150);
  });
  field.addEventListener("keydown", (event) => {
    const all = options();
    if (event.key === "Escape") show(false);
    if (list.hidden || !all.length) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      choose((at + (event.key === "ArrowDown" ? 1 : at < 0 ? 0 : -1) + all.length) % all.length);
    } else if (event.key === "Enter" && at >= 0) {
      event.preventDefault();
      all[at].click();
    }
  });
  // A click on an offer comes first.
  list.addEventListener("pointerdown", (event) => event.preventDefault());
  field.addEventListener("blur", () => show(false));
}
