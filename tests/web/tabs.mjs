// Seven tabs, more than a browser has connections for: those that nobody sees hold none, and each is live when it is seen.
export default async function ({ env, visit, api }) {
  const first = await visit();
  // A browser without a screen shows all of its tabs at once; the test says which one is seen.
  await first.context().addInitScript(() => {
    window.unseen = false;
    Object.defineProperty(document, "hidden", { get: () => window.unseen });
  });
  const show = (tab, seen) => tab.evaluate((seen) => {
    window.unseen = !seen;
    document.dispatchEvent(new Event("visibilitychange"));
  }, seen);
  const tabs = [first];
  for (let n = 1; n < 7; n++) tabs.push(await first.context().newPage());
  for (const tab of tabs) {
    await tab.goto("/tasks");
    await show(tab, false);
  }
  const id = (await api("POST", "/api/tasks", { instruction: "seen everywhere\nstep say x", context: { workingDirectory: env.WS } })).taskId;
  for (const tab of tabs) {
    await show(tab, true);
    await tab.waitForSelector(`#t${id}`);
    await show(tab, false);
  }
}
