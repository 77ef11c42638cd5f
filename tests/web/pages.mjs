import { readFileSync } from "node:fs";

// Every page, light and dark, wide and narrow: nothing is reported, and an accessibility check finds nothing serious.
export default async function ({ env, visit, serious, check }) {
  const pages = ["/", "/inbox", "/tasks", "/new", "/sessions", "/schedules", "/queue", "/workers", "/usage", "/settings", "/proof", "/search?q=lease", "/search"];
  for (const part of ["", "?part=changes", "?part=files", "?part=attempts", "?part=dependencies", "?part=proof", "?part=deliveries", "?part=details", "?show=tools"]) pages.push(`/tasks/${env.TASK}${part}`);
  pages.push(`/tasks/${env.CHANGED}?part=changes`, `/tasks/${env.AGENT}`, `/tasks/${env.RACE}?part=race`);
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [1440, 360]) {
      const page = await visit({ colorScheme, viewport: { width, height: 800 } });
      for (const path of pages) {
        const answer = await page.goto(path);
        check(answer.status() === 200, `${path}: ${answer.status()}`);
        check((await page.locator("h1").count()) === 1, `${path} has one h1`);
        const found = await serious(page);
        check(found.length === 0, `${path} ${colorScheme} ${width}: ${found.join("\n")}`);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        check(wide <= 0, `${path} is ${wide} pixels wider than ${width}`);
      }
      await page.context().close();
    }
  }
  // A task by the end of its id.
  const finder = await visit({});
  await finder.goto("/");
  await finder.fill("#find", env.TASK.slice(-8));
  await finder.press("#find", "Enter");
  await finder.waitForURL((url) => url.pathname === `/tasks/${env.TASK}`);
  await finder.context().close();
  // A review: lines that are clicked are quoted, and it goes on with the conversation.
  const review = await visit({});
  await review.goto(`/tasks/${env.CHANGED}?part=changes`);
  await review.locator(".diff ins").first().click();
  await review.keyboard.type("Why two?");
  await review.locator("button.remark").first().click();
  const said = await review.inputValue("#review");
  check(said === "README:2\n> two\nWhy two?\n\nREADME:\n", JSON.stringify(said));
  await review.click("text=Go on with these comments");
  await review.waitForURL((url) => url.pathname.startsWith("/tasks/") && !url.pathname.endsWith(env.CHANGED));
  check((await review.locator(".ev.you pre").first().innerText()).includes("Why two?"), "it was asked");
  await review.context().close();
  // A sub-agent has its own conversation, where search finds it too.
  const within = await visit({});
  await within.goto(`/tasks/${env.AGENT}`);
  check((await within.locator(".ev.tool").count()) === 1, "its steps are in the fold of its call");
  await within.locator(".ev.tool summary").click();
  await within.click("text=Its conversation");
  await within.waitForSelector(".ev.tool >> text=echo within");
  check((await serious(within)).length === 0, "and is open to everybody");
  const place = new URL(within.url());
  const inner = (await within.locator(".ev.tool").first().getAttribute("id")).slice(1);
  await within.goto(`/tasks/${env.AGENT}?event=${inner}#e${inner}`);
  check(new URL(within.url()).searchParams.get("agent") === place.searchParams.get("agent"), within.url());
  await within.context().close();
  // A link to an event.
  const linked = await visit({});
  await linked.goto(`/tasks/${env.TASK}`);
  const link = await linked.locator(".ev .at").nth(2).getAttribute("href");
  await linked.goto(`/tasks/${env.TASK}${link}`);
  check((await linked.locator(`#${link.split("#")[1]}`).count()) === 1, `${link} is on the page`);
  await linked.context().close();
  // A conversation as a file, which needs nothing else.
  const page = await visit({});
  await page.goto(`/tasks/${env.TASK}`);
  const [file] = await Promise.all([page.waitForEvent("download"), page.click("text=Export as a file")]);
  const text = readFileSync(await file.path(), "utf8");
  check(file.suggestedFilename() === `cc-anywhere-${env.TASK}.html`, file.suggestedFilename());
  check(text.includes("<style>") && !/<script|<link|\ssrc=/i.test(text), "the file loads something");
  // Without the rules of the page that it came from.
  const apart = await page.context().newPage();
  await apart.setContent(text);
  check((await apart.locator(".call").count()) > 0, "the calls are there");
  await page.context().close();
}
