// What people do, by keyboard alone where there is a key for it.
export default async function ({ env, visit, api, check, until, expected }) {
  const page = await visit();
  const key = (name) => page.keyboard.press(name);
  const at = (path) => page.waitForURL((url) => url.pathname === path);
  const task = async () => {
    await page.waitForURL(/\/tasks\/[0-9a-f-]{36}/);
    return new URL(page.url()).pathname.split("/").pop();
  };
  const status = (id, wanted) => until(`${id} to be ${wanted}`, async () => (await api("GET", `/api/tasks/${id}`)).status === wanted);

  // Submit, and watch it stream.
  await key("n");
  await at("/new");
  await page.keyboard.type("A haiku\nstep slow one two three four five six seven eight nine ten eleven twelve\n");
  await page.fill("#folder", env.WS);
  // The request beside the form.
  await page.waitForFunction((folder) => document.querySelector("#request pre")?.textContent?.includes(`"workingDirectory": "${folder}"`), env.WS);
  await page.locator("#instruction").press("Control+Enter");
  const haiku = await task();
  await page.waitForSelector("#partial:not([hidden])");
  await page.waitForSelector(".state.completed");
  await page.waitForSelector(".ev.say >> text=eleven twelve");
  check((await page.locator("#partial").getAttribute("hidden")) !== null, "what was partial is gone");

  // A permission, allowed by a key in the inbox; and taken back once.
  const asking = (name) => ({ instruction: `${name}\nstep bash touch ${env.WS}/${name}\nstep say did ${name}`, context: { workingDirectory: env.WS }, options: { sdk: { permissionMode: "default" } } });
  const first = (await api("POST", "/api/tasks", asking("first"))).taskId;
  await page.waitForSelector("nav .count >> text=1");
  check((await page.title()).startsWith("(1)"), await page.title());
  await key("g");
  await key("i");
  await at("/inbox");
  await page.waitForSelector(".card >> text=touch");
  await key("j");
  await key("a");
  await page.waitForSelector(".problem >> text=takes it back");
  await key("z");
  await page.waitForSelector(".card .problem:empty", { state: "attached" });
  check((await api("GET", "/api/questions")).total === 1, "what was taken back is not sent");
  await key("a");
  await status(first, "completed");
  await page.waitForSelector("text=Nothing waits for you.");

  // Choices, by number.
  const questions = { questions: [{ question: "Which colour?", header: "Colour", multiSelect: false, options: [{ label: "Red", description: "r" }, { label: "Blue", description: "b" }] }] };
  const asked = { instruction: `choose\nstep tool AskUserQuestion ${JSON.stringify(questions)}\nstep say chosen`, context: { workingDirectory: env.WS }, options: { sdk: { permissionMode: "default" } } };
  const second = (await api("POST", "/api/tasks", asked)).taskId;
  await page.waitForSelector(".card >> text=Which colour?");
  await key("2");
  await key("a");
  await status(second, "completed");
  const all = await api("GET", `/api/tasks/${second}/permissions?all=true`);
  check(all.permissions[0].answer.updatedInput.answers["Which colour?"] === "Blue", JSON.stringify(all));

  // One answer is typed while the question before it is answered elsewhere: it stays with its own.
  const [above, below] = [(await api("POST", "/api/tasks", asking("above"))).taskId, (await api("POST", "/api/tasks", asking("below"))).taskId];
  await until("two questions", async () => (await page.locator(".card").count()) === 2);
  const card = page.locator(`.card:has(a[href="/tasks/${below}"])`);
  await card.locator(".why input").fill("typed for below");
  const request = await card.locator("input[name=request]").inputValue();
  const open = await api("GET", `/api/tasks/${above}/permissions`);
  await api("POST", `/api/tasks/${above}/permissions/${open.permissions[0].requestId}`, { behavior: "allow" });
  await until("one question", async () => (await page.locator(".card").count()) === 1);
  check((await card.locator(".why input").inputValue()) === "typed for below", "what was typed stays");
  check((await card.locator("input[name=request]").inputValue()) === request, "and belongs to its question");
  await card.locator("button[value=deny]").click();
  await status(below, "completed");
  await status(above, "completed");

  // Deny with a reason, on the task's own page.
  const third = (await api("POST", "/api/tasks", asking("third"))).taskId;
  await page.goto(`/tasks/${third}`);
  await page.waitForSelector(".card");
  await page.fill(".why input", "not that one");
  await page.locator(".card button[value=deny]").click();
  await status(third, "completed");
  await page.waitForSelector(".ev >> text=not that one");
  const audit = await api("GET", "/api/audit");
  check(audit.entries.filter((entry) => entry.action === "answerPermission").length === 5, "answers are audited");

  // Say something, interrupt, cancel.
  const long = (await api("POST", "/api/tasks", { instruction: `long\nstep bash while [ ! -e ${env.WS}/go ]; do sleep 0.1; done\nstep say done`, context: { workingDirectory: env.WS }, options: { sdk: { allowedTools: ["Bash"] } } })).taskId;
  await page.goto(`/tasks/${long}`);
  await page.waitForSelector(".call >> text=Bash");
  await key("m");
  await page.keyboard.type("and then\nstep say more");
  await page.locator("#text").press("Control+Enter");
  await page.waitForSelector(".ev.you >> text=and then");
  check((await page.locator("#text").inputValue()) === "", "what was sent is gone from the field");
  await page.locator("button:has-text('Cancel the task')").click();
  await page.waitForSelector(".state.cancelled");

  // Retry, and go on with a conversation.
  await page.locator("button:has-text('Retry')").click();
  await page.waitForURL((url) => !url.pathname.endsWith(long));
  const again = await task();
  check((await api("GET", `/api/tasks/${again}`)).retryOf === long, "it is a retry");
  await key("i");
  await page.locator("button:has-text('Cancel the task')").click();
  await status(again, "cancelled");
  await page.goto(`/tasks/${haiku}`);
  await key("m");
  await page.keyboard.type("And now\nstep say the end");
  await page.locator("#text").press("Control+Enter");
  await page.waitForURL((url) => !url.pathname.endsWith(haiku));
  const more = await task();
  await page.waitForSelector(".state.completed");
  check((await api("GET", `/api/tasks/${more}`)).continuedFrom === haiku, "it goes on");

  // Many at once.
  await api("POST", "/api/queue/pause");
  for (const n of [1, 2, 3]) await api("POST", "/api/tasks", { instruction: `many ${n}`, tags: ["many"] });
  await page.goto("/tasks?tag=many");
  for (const _ of [1, 2, 3]) {
    await key("j");
    await key("x");
  }
  await page.waitForSelector("text=3 chosen:");
  page.once("dialog", (dialog) => dialog.accept());
  await page.locator("#bulk button[value=cancel]").click();
  await until("three cancelled", async () => (await api("GET", "/api/tasks?tag=many")).counts.cancelled === 3);
  await page.waitForSelector(".row.cancelled");

  // The queue, workers, schedules.
  await key("g");
  await key("q");
  await at("/queue");
  await page.locator("button:has-text('Start')").first().click();
  await page.waitForSelector("text=Tasks are started");
  await page.goto("/workers");
  await page.fill("input[name=name]", "extra");
  await page.locator("button:has-text('Start a worker')").click();
  await page.waitForSelector("tr >> text=extra");
  await until("it to run", async () => (await page.locator("tr:has-text('extra')").innerText()).includes("running"));
  await page.locator("tr:has-text('extra') button").click();
  await page.waitForSelector("tr >> text=extra", { state: "detached" });
  await page.goto("/schedules");
  await page.fill("#name", "Nightly");
  await page.fill("#cron", "0 3 * * *");
  await page.fill("#instruction", "step say night");
  await page.locator("#add button.main").click();
  await page.waitForSelector("td >> text=Nightly");
  await page.locator("button:has-text('Run now')").click();
  await until("its task", async () => (await api("GET", "/api/tasks?q=night")).total === 1);
  await page.goto("/schedules");
  await page.locator("button:has-text('Switch off')").click();
  await page.waitForSelector("button:has-text('Switch on')");
  await page.goto("/usage");
  await page.waitForSelector(".chart");

  // All tasks of a list, on whichever page.
  for (const name of ["one", "two", "three"]) await status((await api("POST", "/api/tasks", { instruction: `${name}\nstep say ${name}`, tags: ["lots"] })).taskId, "completed");
  await page.goto("/tasks?tag=lots");
  await page.locator("details.all summary").click();
  page.once("dialog", (dialog) => dialog.accept());
  await page.click("text=Retry those that have ended");
  await until("all of them again", async () => (await api("GET", "/api/tasks?tag=lots")).total === 6);
  check((await api("GET", "/api/tasks?tag=lots")).tasks.filter((task) => task.retryOf).length === 3, "each once");

  // What a conversation says, found from any page, by keyboard; and a place by its name.
  await page.goto("/usage");
  await until("it to be indexed", async () => (await api("GET", "/api/search?q=eleven")).hits.length > 0);
  await page.locator("main").focus();
  await key("/");
  await page.keyboard.type("eleven");
  await page.waitForSelector("#found a:has(mark)");
  check((await page.locator("#find").getAttribute("aria-expanded")) === "true", "the offers are told");
  await page.locator("#found a:has(mark)").first().evaluate((one) => one.scrollIntoView());
  for (let n = 0; n < 20 && !(await page.locator("#found a[aria-selected=true] mark").count()); n += 1) await key("ArrowDown");
  await key("Enter");
  await page.waitForURL((url) => url.pathname === `/tasks/${haiku}` && url.searchParams.has("event"));
  await page.keyboard.press("Control+k");
  await page.keyboard.type("sched");
  await page.waitForSelector("#found a:first-child >> text=Schedules");
  await key("ArrowDown");
  await key("Enter");
  await at("/schedules");
  await page.goto("/search?q=eleven%20twelve");
  check((await page.locator(".found mark").count()) >= 2, "marked");

  // What fails is told at the form, and what was typed stays. The browser itself notes the refusal.
  expected.push("status of 403");
  await page.goto("/new");
  await page.fill("#instruction", "x");
  await page.fill("#folder", "/nowhere/at/all");
  await page.locator("button.main").click();
  await page.waitForSelector(".problem:not(:empty)");
  check((await page.locator("#folder").inputValue()) === "/nowhere/at/all", "it stays");
}
