// Pictures of a real run: node screenshots.mjs DEMO FOLDER.
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.env.NODE_PATH}/`);
const { chromium } = require("playwright-core");
const [program, folder] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const demo = spawn(program, [], { stdio: ["ignore", "pipe", "inherit"], detached: true });
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
await page.goto(new URL("/inbox", link).href);
await page.screenshot({ path: `${folder}/inbox.png` });
await page.goto(new URL("/tasks?q=failing", link).href);
await page.click(".row .title");
await page.waitForSelector(".call");
await page.waitForTimeout(3000);
await page.screenshot({ path: `${folder}/task.png` });
await browser.close();
process.kill(-demo.pid, "SIGINT");
await new Promise((done) => demo.on("exit", done));
