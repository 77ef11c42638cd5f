// Without scripts: read, submit, answer, cancel.
export default async function ({ env, visit, api, check, until }) {
  const page = await visit({ javaScriptEnabled: false });
  await page.goto("/new");
  await page.fill("#instruction", `plain\nstep bash touch ${env.WS}/plain\nstep say written without a script`);
  await page.fill("#folder", env.WS);
  await page.selectOption("#mode", "default");
  await page.click("form.new button.main");
  await page.waitForURL(/\/tasks\/[0-9a-f-]{36}/);
  const id = new URL(page.url()).pathname.split("/").pop();
  await until("a question", async () => (await api("GET", "/api/questions")).total === 1);
  await page.goto("/inbox");
  await page.click(".card button[value=allow]");
  await until("its end", async () => (await api("GET", `/api/tasks/${id}`)).status === "completed");
  await page.goto(`/tasks/${id}`);
  check((await page.locator(".result").innerText()).includes("written without a script"), "the result is there");
  check((await page.locator(".call").count()) === 1, "and the call");
  await api("POST", "/api/queue/pause");
  const waits = (await api("POST", "/api/tasks", { instruction: "waits" })).taskId;
  await page.goto(`/tasks/${waits}`);
  check((await page.locator(".reasons").innerText()).includes("QUEUE_PAUSED"), "why it waits");
  await page.click("text=Cancel the task");
  check((await api("GET", `/api/tasks/${waits}`)).status === "cancelled", "cancelled");
  await page.goto(`/tasks/${id}?show=words`);
  check((await page.locator(".call").count()) === 0, "words only");
  await page.fill(".top .find input", "plain");
  await page.press(".top .find input", "Enter");
  await page.waitForURL(/\/tasks\?q=plain/);
  check((await page.locator(".picks .row").count()) === 1, "found");
}
