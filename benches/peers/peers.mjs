// What people would use instead: a queue behind Fastify, with durable acknowledgements. Started by the
// benchmark: `node peers.mjs bullmq|pg-boss|graphile-worker serve|run|drain ADDRESS [COUNT|PROGRAM]`.
//   serve  answers POST /api/tasks with 202 when the job is stored; prints its port
//   run    the same, and starts the program for each job
//   drain  adds so many jobs that do nothing, then prints how long ten at a time take for them
//   each   the same for graphile-worker without its local queue: as it is set up when nothing is said
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import Fastify from "fastify";

const [kind, role, address, extra] = process.argv.slice(2);
const NAME = "tasks";
const CONCURRENCY = 10;

const kinds = {
  async bullmq() {
    const { Queue, Worker } = await import("bullmq");
    const connection = { host: "127.0.0.1", port: Number(address) };
    const queue = new Queue(NAME, { connection });
    return {
      add: async (data) => (await queue.add("task", data)).id,
      addMany: (many) => queue.addBulk(many.map((data) => ({ name: "task", data }))),
      work: (run) => new Worker(NAME, run, { connection, concurrency: CONCURRENCY }),
    };
  },
  async "pg-boss"() {
    const { default: Boss } = await import("pg-boss");
    const boss = new Boss(address);
    await boss.start();
    await boss.createQueue(NAME);
    return {
      add: (data) => boss.send(NAME, data),
      addMany: (many) => boss.insert(many.map((data) => ({ name: NAME, data }))),
      work: (run) =>
        boss.work(NAME, { batchSize: CONCURRENCY, pollingIntervalSeconds: 0.5 }, (jobs) => Promise.all(jobs.map(run))),
      // It polls; a queue that is full is fetched from without a pause.
      drain: async (run) => {
        for (;;) {
          const jobs = await boss.fetch(NAME, { batchSize: CONCURRENCY });
          if (!jobs?.length) return;
          await boss.complete(NAME, jobs.map((job) => job.id));
          await Promise.all(jobs.map(run));
        }
      },
    };
  },
  async "graphile-worker"() {
    const { makeWorkerUtils, run } = await import("graphile-worker");
    const { default: pg } = await import("pg");
    const pgPool = new pg.Pool({ connectionString: address, max: CONCURRENCY + 10 });
    const utils = await makeWorkerUtils({ pgPool });
    await utils.migrate();
    return {
      add: async (data) => (await utils.addJob(NAME, data)).id,
      addMany: (many) =>
        utils.addJobs(many.map((payload) => ({ identifier: NAME, payload }))),
      work: (job) =>
        run({
          pgPool,
          concurrency: CONCURRENCY,
          noHandleSignals: true,
          pollInterval: 500,
          logger: quiet,
          // As its authors measure it.
          preset: role === "drain" ? { worker: { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 } } : {},
          taskList: { [NAME]: (payload) => job({ data: payload }) },
        }),
    };
  },
};

const silent = () => {};
const { Logger } = kind === "graphile-worker" ? await import("graphile-worker") : { Logger: null };
const quiet = Logger ? new Logger(() => silent) : undefined;

const queue = await kinds[kind]();

if (role === "drain" || role === "each") {
  const count = Number(extra);
  for (let at = 0; at < count; at += 1000) {
    await queue.addMany(Array.from({ length: Math.min(1000, count - at) }, () => ({ instruction: "x" })));
  }
  let left = count;
  const began = performance.now();
  await new Promise((done) => {
    (queue.drain ?? queue.work)(async () => {
      left -= 1;
      if (left === 0) done();
    });
  });
  console.log(performance.now() - began);
  process.exit(0);
}

const schema = {
  body: {
    type: "object",
    required: ["instruction"],
    properties: { instruction: { type: "string" }, tags: { type: "array", items: { type: "string" } }, folder: { type: "string" } },
  },
};
const app = Fastify();
app.post("/api/tasks", { schema }, async (request, reply) => {
  const id = await queue.add(request.body);
  reply.code(202);
  return { taskId: id ?? randomUUID(), status: "pending" };
});
if (role === "run") {
  queue.work(({ data }) => {
    mkdirSync(data.folder, { recursive: true });
    const child = spawn(extra, ["-p"], { cwd: data.folder, stdio: ["pipe", "ignore", "ignore"] });
    child.stdin.end("x\n");
    return new Promise((done) => child.on("close", done));
  });
}
await app.listen({ host: "127.0.0.1", port: 0 });
console.log(app.server.address().port);
