// A host in Node: registers a workflow, starts a run, tails its ledger, answers its question, drives it to its
// end, and checks every hash on the way. Prints one line of JSON; exit code 1 if something is not as promised.

import { randomUUID } from "node:crypto";

import { RunStatus, WaitReason } from "perdure/v1/common_pb";
import { Goodbye_Reason, RecordView } from "perdure/v1/ledger_service_pb";
import { NodeKind } from "perdure/v1/model_pb";
import { RecordKind } from "perdure/v1/records_pb";
import { WaitRunUntil } from "perdure/v1/run_service_pb";

import { verify } from "./chain.mjs";
import { connect, options, reasonOf } from "./server.mjs";

const { address, namespace } = options();
const server = connect(address);
const failures = [];

function expect(what, found, wanted) {
  if (found !== wanted) {
    failures.push(`${what}: ${found} instead of ${wanted}`);
  }
}

const effect = (type, payload, resultKey, next) => ({
  kind: NodeKind.EFFECT,
  templateJson: JSON.stringify({ type, payload }),
  resultKey,
  next,
});

// Every node is the server's own, so no worker is needed anywhere.
const spec = {
  workflowId: "node-host",
  entryNode: "ask",
  nodes: {
    ask: effect("ask_user", { prompt: "Go on?", choices: ["yes", "no"], allow_free_text: false }, "answer", "rest"),
    rest: effect("wait_until", { delay_seconds: 0.1 }, "rested", "tell"),
    tell: effect("emit_event", { name: "told", scope: "run", payload: { said: "${vars.answer}" } }, "told", "hear"),
    hear: effect("wait_event", { name: "told", scope: "run" }, "heard", "look"),
    look: effect("vars_query", { path: "order" }, "looked", "done"),
    done: {
      kind: NodeKind.COMPLETE,
      templateJson: JSON.stringify({ answer: "${vars.answer}", order: "${vars.order}", heard: "${vars.heard.payload}" }),
    },
  },
};

/** The entries of a run's ledger as they are committed, up to the goodbye; `caughtUp` tells when it is live. */
async function tail(runId, caughtUp) {
  const entries = [];
  const stream = server.ledger.subscribeLedger({
    namespace,
    scope: { scope: { case: "runId", value: runId } },
    start: { case: "beginning", value: true },
    view: RecordView.RECORD_BYTES,
    stopWhenTerminal: true,
  });
  let first;
  for await (const { event } of stream) {
    first ??= event.case;
    if (event.case === "batch") {
      entries.push(...event.value.entries);
    } else if (event.case === "caughtUp") {
      caughtUp();
    } else if (event.case === "goodbye") {
      expect("goodbye", event.value.reason, Goodbye_Reason.COMPLETE);
      expect("first message", first, "subscribed");
      return entries;
    }
  }
  throw new Error("the stream ended without goodbye");
}

async function pages(runId) {
  const entries = [];
  let pageToken = "";
  do {
    const page = await server.ledger.listRecords({
      namespace,
      scope: { scope: { case: "runId", value: runId } },
      view: RecordView.RECORD_BYTES,
      pageSize: 3,
      pageToken,
    });
    entries.push(...page.entries);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return entries;
}

const hex = (bytes) => Buffer.from(bytes).toString("hex");
const hashes = (entries) => entries.map((entry) => hex(entry.recordHash));

async function main() {
  const registered = await server.workflows.registerWorkflow({ namespace, requestId: randomUUID(), spec });

  // An integer that a JavaScript number cannot hold: the text travels and is kept as it is.
  const start = {
    namespace,
    requestId: randomUUID(),
    workflowId: spec.workflowId,
    varsJson: '{"order":{"id":"N-1","amount":9007199254740993}}',
  };
  const { runId, seq } = await server.runs.startRun(start);
  const again = await server.runs.startRun(start);
  expect("run id of a repeated start", again.runId, runId);
  expect("seq of a repeated start", again.seq, seq);

  const live = Promise.withResolvers?.() ?? withResolvers();
  const tailing = tail(runId, live.resolve);
  await Promise.race([live.promise, tailing]);

  const asked = await server.runs.waitRun({ namespace, runId, until: WaitRunUntil.SETTLED });
  expect("status while it asks", asked.run.status, RunStatus.WAITING);
  expect("reason of the wait", asked.run.waiting?.reason, WaitReason.USER);
  const waitId = asked.run.waiting?.waitId;
  const answer = (payload, requestId) => ({ namespace, requestId, runId, waitId, payloadJson: JSON.stringify(payload) });
  expect("a forbidden answer", await reasonOf(server.runs.resumeRun(answer("maybe", randomUUID()))), "ANSWER_NOT_ALLOWED");
  const given = answer("yes", randomUUID());
  const resumed = await server.runs.resumeRun(given);
  expect("seq of a repeated answer", (await server.runs.resumeRun(given)).seq, resumed.seq);
  expect("a second answer", await reasonOf(server.runs.resumeRun(answer("no", randomUUID()))), "WAIT_ENDED");

  const { run, reached } = await server.runs.waitRun({ namespace, runId, until: WaitRunUntil.ENDED });
  expect("reached its end", reached, true);
  expect("status at the end", run.status, RunStatus.COMPLETED);
  const heard = '"heard":{"said":"yes"}';
  expect("output", run.outputJson, `{"answer":"yes","order":{"id":"N-1","amount":9007199254740993},${heard}}`);

  const tailed = await tailing;
  const { records, problems } = verify(namespace, runId, tailed);
  failures.push(...problems);
  expect("records tailed", BigInt(tailed.length), run.seq);
  expect("head hash", hashes(tailed).at(-1), hex(run.headHash));
  expect("records listed", hashes(await pages(runId)).join(), hashes(tailed).join());

  return {
    run_id: runId,
    workflow_version: registered.version,
    kinds: records.map((record) => RecordKind[record.kind].toLowerCase()),
    record_hashes: hashes(tailed),
    output: run.outputJson,
  };
}

function withResolvers() {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
}

const verdict = await main().catch((error) => {
  failures.push(String(error));
  return {};
});
console.log(JSON.stringify({ ok: failures.length === 0, failures, ...verdict }));
process.exit(failures.length === 0 ? 0 : 1);
