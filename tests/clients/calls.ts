// Ten calls with the client that openapi-typescript makes of the contract. Prints `ok` at the end.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

const [url, key] = process.argv.slice(2);
const api = createClient<paths>({ baseUrl: url, headers: { "X-API-Key": key } });

/** The answer of a call; what the server refuses is an error. */
function must<T>(what: string, reply: { data?: T; error?: unknown }): T {
  if (reply.data === undefined) throw new Error(`${what}: ${JSON.stringify(reply.error)}`);
  return reply.data;
}

/** What an event tells: the compiler knows the data of each kind. */
function told(event: components["schemas"]["Event"]): string {
  switch (event.kind) {
    case "status":
      return event.data.status;
    case "permission":
      return event.data.toolName;
    default:
      return event.kind;
  }
}

const later = "2125-01-01T00:00:00Z";
const submitted = must(
  "submitTask",
  await api.POST("/api/tasks", {
    body: { instruction: "From TypeScript", runAt: later, tags: ["ts"], options: { sdk: { permissionMode: "ask" } } },
  }),
);
if (!("createdAt" in submitted)) throw new Error("no receipt");
const id = submitted.taskId;
const path = { params: { path: { id } } };
const page = must("listTasks", await api.GET("/api/tasks", { params: { query: { tag: "ts", status: "pending" } } }));
if (page.tasks[0]?.taskId !== id || page.total !== 1) throw new Error("not listed");
const task = must("getTask", await api.GET("/api/tasks/{id}", path));
if (task.options.sdk?.permissionMode !== "default" || task.result !== null) throw new Error("not as it was asked for");
const changed = must("changeTask", await api.PATCH("/api/tasks/{id}", { ...path, body: { priority: 7 } }));
if (changed.priority !== 7) throw new Error("not changed");
const events = must("listTaskEvents", await api.GET("/api/tasks/{id}/events/page", path));
if (events.events.map(told).join() !== "pending,log") throw new Error("no event");
const why = must("explainTask", await api.GET("/api/tasks/{id}/explain", path));
if (!why.reasons.some((reason) => reason.code === "NOT_DUE")) throw new Error("no reason");
const schedule = must(
  "addSchedule",
  await api.POST("/api/schedules", { body: { cron: "0 0 1 1 *", task: { instruction: "Yearly" } } }),
);
if (schedule.timeZone !== "UTC") throw new Error("no schedule");
const limit = must("setLimit", await api.PUT("/api/queue/limits", { body: { group: "tag", name: "ts", concurrency: 2 } }));
if (limit.concurrency !== 2 || limit.rate !== null) throw new Error("no limit");
const cancelled = must("cancelTask", await api.DELETE("/api/tasks/{id}", path));
if (cancelled.status !== "cancelled") throw new Error("not cancelled");
const missing = await api.GET("/api/tasks/{id}", { params: { path: { id: "none" } } });
if (missing.error?.error.code !== "TASK_NOT_FOUND") throw new Error("no error");
console.log("ok");
