// Hostile text in every field runs nothing, loads nothing, and is shown as text.
export default async function ({ env, visit, check }) {
  const page = await visit();
  await page.addInitScript(() => {
    window.hurt = [];
    document.addEventListener("securitypolicyviolation", (event) => window.hurt.push(event.violatedDirective));
    window.alert = () => window.hurt.push("alert");
  });
  for (const path of ["/", "/tasks", "/inbox", "/sessions", "/schedules", "/workers", `/tasks/${env.TASK}`, `/tasks/${env.TASK}?part=details`, `/tasks/${env.TASK}?part=attempts`, `/tasks?q=${encodeURIComponent("\"><script>alert(1)</script>")}`]) {
    await page.goto(path);
    await page.evaluate(() => document.querySelectorAll("details").forEach((one) => (one.open = true)));
    await page.waitForTimeout(100);
    const hurt = await page.evaluate(() => window.hurt);
    check(hurt.length === 0, `${path}: ${hurt}`);
    check((await page.locator("main script, main iframe, main img, main object, main embed, main style").count()) === 0, `${path} has only our elements`);
    const handlers = await page.evaluate(() => [...document.querySelectorAll("*")].flatMap((one) => [...one.attributes]).filter((one) => one.name.startsWith("on") || /^\s*javascript:/i.test(one.value)).length);
    check(handlers === 0, `${path} has handlers`);
  }
  await page.goto(`/tasks/${env.TASK}`);
  const text = await page.locator("main").innerText();
  check(text.includes("<script>"), "it is shown as text");
}
