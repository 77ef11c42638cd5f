// A task of ten thousand events, within the bounds of docs/performance.md.

/** Milliseconds of processor time of each task of the page's main thread while `act` runs. Time on the clock would count other processes too. */
async function tasks(browser, page, act) {
  await browser.startTracing(page, { categories: ["toplevel"] });
  await act();
  const { traceEvents } = JSON.parse(await browser.stopTracing());
  const thread = ({ pid, tid }) => `${pid} ${tid}`;
  const main = new Set(traceEvents.filter((event) => event.name === "thread_name" && event.args.name === "CrRendererMain").map(thread));
  const times = traceEvents.filter((event) => event.name === "ThreadControllerImpl::RunTask" && main.has(thread(event))).map((event) => (event.tdur ?? 0) / 1000);
  if (times.length < 20) throw new Error(`the browser told of ${times.length} tasks`);
  return times;
}

export default async function ({ env, browser, visit, check, ask, until }) {
  const page = await visit();
  // Warm: the program's files are in the browser.
  await page.goto("/tasks");
  const client = await page.context().newCDPSession(page);
  let readable;
  const load = await tasks(browser, page, async () => {
    const began = Date.now();
    await page.goto(`/tasks/${env.TASK}`, { waitUntil: "commit" });
    await page.waitForSelector("#e10000");
    readable = Date.now() - began;
    await page.waitForLoadState("load");
    await page.waitForTimeout(500);
  });
  const long = Math.max(...load);
  const elements = () => page.evaluate(() => document.querySelectorAll("*").length);
  const figures = { readable, long, elements: await elements() };
  // Upwards through some thousand events: far ones go, near ones come, and nothing is missing.
  for (let step = 0; step < 40; step++) {
    await page.evaluate(() => scrollTo(0, 0));
    await page.waitForTimeout(60);
  }
  const first = await page.locator("#talk").getAttribute("data-first");
  check(Number(first) < 8500, `older events come: ${first}`);
  figures.elementsAfter = await elements();
  const parts = () => page.locator("#talk .part[data-before]").count();
  const before = await parts();
  // Downwards at sixty frames while fifty events a second come.
  await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight));
  await ask("stream");
  const frames = 300;
  const scrolled = await tasks(browser, page, () =>
    page.evaluate(async (frames) => {
      let direction = -1;
      for (let n = 0; n < frames; n++) {
        await new Promise((done) => requestAnimationFrame(done));
        if (n % 60 === 0) direction = -direction;
        scrollBy(0, 40 * direction);
      }
    }, frames),
  );
  figures.slow = scrolled.filter((time) => time > 20).length / frames;
  figures.slowest = Math.max(...scrolled);
  await until("the newest event", async () => Number(await page.locator("#talk").getAttribute("data-last")) > 10100);
  check((await parts()) === before && before > 10, `older parts stay: ${before}, then ${await parts()}`);
  const { metrics } = await client.send("Performance.enable").then(() => client.send("Performance.getMetrics"));
  figures.heapMb = metrics.find((one) => one.name === "JSHeapUsedSize").value / 1e6;
  console.log(JSON.stringify(figures));
  check(readable < 1000 * Number(env.SLACK), `newest readable after ${readable} ms`);
  check(figures.elements <= 8000 && figures.elementsAfter <= 8000, `${figures.elements}, ${figures.elementsAfter} elements`);
  check(long <= 50 * Number(env.SLACK), `a task of ${long} ms at load`);
  check(figures.slow <= 0.02, `${figures.slow} of the frames are slow`);
  check(figures.heapMb <= 250, `${figures.heapMb} MB`);
}
