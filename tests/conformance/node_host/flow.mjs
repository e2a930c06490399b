// A workflow without any worker: a choice, items, branches, a person and a timer, all run by the server. This host,
// made of generated stubs only, registers it, starts a run, answers the person and sees the run to its end. Prints
// one line of JSON; exit code 1 if something is not as promised.

import { randomUUID } from "node:crypto";

import { RunStatus, WaitReason } from "perdure/v1/common_pb";
import { NodeKind } from "perdure/v1/model_pb";
import { RecordKind } from "perdure/v1/records_pb";
import { WaitRunUntil } from "perdure/v1/run_service_pb";

import { connect, options } from "./server.mjs";

const { address, namespace } = options();
const server = connect(address);
const failures = [];

function expect(what, found, wanted) {
  if (found !== wanted) {
    failures.push(`${what}: ${found} instead of ${wanted}`);
  }
}

const json = JSON.stringify;
const complete = (output) => ({ kind: NodeKind.COMPLETE, templateJson: json(output) });

const spec = {
  workflowId: "order",
  entryNode: "large",
  nodes: {
    large: {
      kind: NodeKind.CHOICE,
      choices: [{ when: "vars.lines.exists(l, l.price * double(l.count) > 100.0)", next: "priced" }],
      next: "small",
    },
    small: complete({ approved: false }),
    priced: {
      kind: NodeKind.FOREACH,
      foreach: {
        items: "vars.lines.filter(l, l.count > 0)",
        entryNode: "price",
        varsJson: json({ sum: "${item.price * double(item.count)}", sku: "${item.sku}", place: "${index}" }),
        maxConcurrency: 2,
      },
      resultKey: "sums",
      next: "checked",
    },
    price: complete({ sku: "${vars.sku}", sum: "${vars.sum}", branch: "${run.branch}" }),
    checked: {
      kind: NodeKind.PARALLEL,
      branches: [
        { name: "person", entryNode: "ask", varsJson: json({ question: "${'Buy ' + string(vars.sums.size()) + '?'}" }) },
        { name: "clock", entryNode: "rest" },
      ],
      resultKey: "checks",
      next: "decided",
    },
    ask: {
      kind: NodeKind.EFFECT,
      templateJson: json({ type: "ask_user", payload: { prompt: "${vars.question}", choices: ["yes", "no"] } }),
      resultKey: "answer",
      next: "answered",
    },
    answered: complete({ answer: "${vars.answer}" }),
    rest: {
      kind: NodeKind.EFFECT,
      templateJson: json({ type: "wait_until", payload: { delay_seconds: 0.1 } }),
      resultKey: "rested",
      next: "rested",
    },
    rested: complete({ ready: "${vars.rested.ready}" }),
    decided: {
      kind: NodeKind.ASSIGN,
      assign: [
        { path: "/approved", op: { case: "setJson", value: json("${vars.checks.person.answer == 'yes'}") } },
        { path: "/log", op: { case: "appendJson", value: json({ ready: "${vars.checks.clock.ready}" }) } },
      ],
      next: "done",
    },
    done: complete({ approved: "${vars.approved}", log: "${vars.log}", sums: "${vars.sums.map(s, s.sum)}" }),
  },
};

async function main() {
  const checked = await server.workflows.validateWorkflow({ namespace, spec });
  expect("problems", json(checked.problems.map((each) => [each.field, each.description])), "[]");
  expect("warnings", json(checked.warnings.map((each) => each.field)), "[]");
  const wrong = { ...spec, nodes: { ...spec.nodes, large: { ...spec.nodes.large, next: "gone" } } };
  const told = await server.workflows.validateWorkflow({ namespace, spec: wrong });
  expect("the place of a fault", told.problems.map((each) => each.field).join(), "nodes[large].next");
  const registered = await server.workflows.registerWorkflow({ namespace, requestId: randomUUID(), spec });
  expect("version", registered.version, checked.version);

  const lines = [
    { sku: "a", price: 60.5, count: 2 },
    { sku: "b", price: 1.25, count: 0 },
    { sku: "c", price: 0.5, count: 3 },
  ];
  const start = { namespace, requestId: randomUUID(), workflowId: spec.workflowId, varsJson: json({ lines }) };
  const { runId } = await server.runs.startRun(start);

  const joining = await server.runs.waitRun({ namespace, runId, until: WaitRunUntil.SETTLED });
  expect("the parent joins", joining.run.waiting?.reason, WaitReason.JOIN);
  const person = await asked(runId);
  expect("the question", person.wait.prompt, "Buy 2?");
  await server.runs.resumeRun({
    namespace,
    requestId: randomUUID(),
    runId: person.runId,
    waitId: person.wait.waitId,
    payloadJson: '"yes"',
  });

  const { run, reached } = await server.runs.waitRun({ namespace, runId, until: WaitRunUntil.ENDED });
  expect("reached its end", reached, true);
  expect("status at the end", run.status, RunStatus.COMPLETED);
  expect("output", run.outputJson, '{"approved":true,"log":[{"ready":true}],"sums":[121.0,1.5]}');
  return { run_id: runId, kinds: await kinds(runId), output: run.outputJson };
}

/** The question of the run's tree, as the inbox shows it. */
async function asked(rootRunId) {
  for (;;) {
    const { waits } = await server.runs.listWaits({ namespace, sessionId: rootRunId, reasons: [WaitReason.USER] });
    if (waits.length > 0) {
      return waits[0];
    }
    await server.runs.waitRun({ namespace, runId: rootRunId, until: WaitRunUntil.ENDED, wait: { seconds: 0n, nanos: 20_000_000 } });
  }
}

async function kinds(runId) {
  const { entries } = await server.ledger.listRecords({ namespace, scope: { scope: { case: "runId", value: runId } } });
  return entries.map((entry) => RecordKind[entry.form.value.kind].toLowerCase());
}

const verdict = await main().catch((error) => {
  failures.push(String(error));
  return {};
});
console.log(json({ ok: failures.length === 0, failures, ...verdict }));
process.exit(failures.length === 0 ? 0 : 1);
