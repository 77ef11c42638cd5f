// Pictures of a real run: node screenshots.mjs DEMO FOLDER.
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.env.NODE_PATH}/`);
const { chromium } = require("playwright-core");
const [program, folder] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
// The pictures show where it is.
const demo = spawn(program, ["/tmp/cc-anywhere-demo"], { stdio: ["ignore", "pipe", "inherit"], detached: true });
let said = "";
const link = await new Promise((done) => demo.stdout.on("data", (text) => {
  said += text;
  const found = said.match(/http:\S+\/in#\S+/);
  if (found && said.includes("Ctrl-C ends it")) done(found[0]);
}));
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"] });
const page = await (await browser.newContext({ viewport: { width: 1280, height: 800 } })).newPage();
await page.goto(link);
await page.waitForURL((url) => url.pathname === "/");
await page.waitForSelector(".card >> text=Which database");
await page.waitForSelector(".row.failed");
await page.waitForTimeout(3000);
await page.screenshot({ path: `${folder}/overview.png` });
const shot = async (name, path) => {
  if (path) await page.goto(new URL(path, link).href);
  await page.waitForTimeout(500);
  await page.screenshot({ path: `${folder}/${name}.png` });
};
await shot("inbox", "/inbox");
for (const name of ["tasks", "new", "sessions", "schedules", "queue", "workers", "usage", "settings", "proof"]) await shot(name, `/${name}`);
const open = async (words) => {
  await page.goto(new URL(`/tasks?q=${words}`, link).href);
  await page.click(".row .title");
};
await open("failing");
await page.waitForSelector(".call");
await page.waitForTimeout(3000);
await shot("task");
const address = page.url();
for (const part of ["attempts", "proof", "details"]) await shot(`task-${part}`, `${address}?part=${part}`);
await open("sooner");
await page.goto(`${page.url()}?part=changes`);
await page.locator(".diff ins").first().click();
await page.keyboard.type("A third of the lease may be less than ten seconds.");
await shot("task-changes");
await open("Compare");
await page.click(".ev.tool summary");
await page.click("text=Its conversation");
await shot("task-agent");
await page.goto(new URL("/", link).href);
await page.focus("#find");
await page.keyboard.type("lease");
await page.waitForSelector("#found mark");
await shot("search");
await open("production");
await shot("task-waits");
await open("dependencies");
await shot("task-failed", `${page.url()}?part=attempts`);
await page.setViewportSize({ width: 390, height: 844 });
await shot("phone-overview", "/");
await page.emulateMedia({ colorScheme: "dark" });
await shot("phone-task-dark", address);
await page.setViewportSize({ width: 1280, height: 800 });
await shot("overview-dark", "/");
await browser.close();
process.kill(-demo.pid, "SIGINT");
await new Promise((done) => demo.on("exit", done));
