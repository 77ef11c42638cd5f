// The server goes, and comes back: the page says so, and is whole again, without a gap and nothing twice.
export default async function ({ env, visit, ask, check, until, expected }) {
  expected.push("Failed to load resource", "net::ERR");
  const page = await visit();
  await page.goto(`/tasks/${env.TASK}`);
  // The second call runs while the server goes: its result belongs into the fold that the page has by then.
  await page.waitForSelector(".call >> text=while");
  await ask("kill");
  await page.waitForSelector("#offline:not([hidden]) >> text=Not live since");
  check((await page.locator(".call").count()) > 0, "what was there stays");
  await ask("start");
  await page.waitForSelector("#offline", { state: "hidden" });
  await ask("go");
  await page.waitForSelector(".state.completed");
  await until("the last event", async () => (await page.locator(".ev >> text=the end of it").count()) > 0);
  const ids = await page.locator(".ev[id]").evaluateAll((all) => all.map((one) => Number(one.id.slice(1))));
  check(new Set(ids).size === ids.length, "nothing twice");
  const sorted = [...ids].sort((a, b) => a - b);
  check(JSON.stringify(ids) === JSON.stringify(sorted), `in order: ${ids}`);
  check((await page.locator(".result").innerText()).includes("the end of it"), "the result is there without another load");
  await page.reload();
  await page.waitForSelector(".result >> text=the end of it");
  const whole = await page.locator(".ev[id]").evaluateAll((all) => all.map((one) => Number(one.id.slice(1))));
  check(JSON.stringify(ids) === JSON.stringify(whole), `without a gap: ${ids} and ${whole}`);
}
