// Runs one script of this folder in a real browser: node run.mjs SCRIPT, with what the test says in the environment.
import { chromium } from "playwright-core";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [name] = process.argv.slice(2);
const env = process.env;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath: env.CHROMIUM, args: quiet, timeout: 60000 });

/** What went wrong in any page: errors of the console, reports of the policy, requests to elsewhere. */
const faults = [];
export function check(is, what) {
  if (!is) throw new Error(what);
}

async function context(options = {}) {
  const one = await browser.newContext({ baseURL: env.URL, viewport: { width: 1440, height: 900 }, ...options });
  one.setDefaultTimeout(60000);
  one.on("page", (page) => {
    page.on("console", (message) => {
      if (message.type() === "error" && !world.expected.some((text) => message.text().includes(text))) faults.push(`console: ${message.text()}`);
    });
    page.on("pageerror", (error) => faults.push(`page: ${error.message}`));
    page.on("request", (request) => {
      if (!request.url().startsWith(env.URL) && !request.url().startsWith("data:")) faults.push(`asks ${request.url()}`);
    });
  });
  return one;
}

/** A page of somebody who is signed in. */
async function visit(options = {}) {
  const one = await context({ ...options, storageState: world.state });
  const page = await one.newPage();
  if (!world.state) {
    if (options.javaScriptEnabled === false) {
      await page.goto("/");
      await page.fill("#key", env.KEY);
      await page.click("button.main");
    } else {
      await page.goto(env.LINK);
      await page.waitForURL((url) => url.pathname === "/");
    }
    world.state = await one.storageState();
  }
  return page;
}

/** What an accessibility check finds that is serious. */
async function serious(page) {
  const found = await page.evaluate(`${axe}; axe.run()`);
  return found.violations.filter((one) => ["serious", "critical"].includes(one.impact)).map((one) => `${one.id}: ${one.nodes[0].html.slice(0, 200)} ${one.nodes[0].failureSummary}`);
}

/** Asks the API. */
async function api(method, path, body) {
  const headers = { "X-API-Key": env.KEY, "Content-Type": "application/json" };
  const answer = await fetch(env.URL + path, { method, headers, body: body && JSON.stringify(body) });
  return answer.status === 204 ? null : answer.json();
}

/** Tells the test to do something, and waits until it has. */
async function ask(what) {
  console.log(`do ${what}`);
  await new Promise((done) => process.stdin.once("data", done));
}

/** Waits until something is so. */
async function until(what, look, limit = 60000) {
  const end = Date.now() + limit;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

const world = { env, browser, context, visit, serious, api, ask, until, check, faults, expected: [], state: undefined };
let failed;
try {
  const { default: run } = await import(`./${name}.mjs`);
  await run(world);
  check(faults.length === 0, faults.join("\n"));
} catch (error) {
  failed = error;
  console.error(error.stack ?? error);
  console.error(faults.join("\n"));
  for (const page of browser.contexts().flatMap((one) => one.pages())) {
    console.error(page.url(), await page.locator("body").innerText({ timeout: 1000 }).catch(() => "no text"));
  }
}
await browser.close();
process.exit(failed ? 1 : 0);
