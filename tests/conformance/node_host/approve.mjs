// Answers the question that a run asks: --address HOST:PORT --run RUN_ID --answer JSON. Prints what it answered.

import { randomUUID } from "node:crypto";

import { WaitReason } from "perdure/v1/common_pb";

import { connect, options } from "./server.mjs";

const { address, namespace, run: runId, answer } = options("run", "answer");
const { runs } = connect(address);

/** The run's line in the inbox. */
async function question() {
  let pageToken = "";
  do {
    const page = await runs.listWaits({ namespace, reasons: [WaitReason.USER], pageToken });
    const found = page.waits.find((wait) => wait.runId === runId);
    if (found !== undefined) {
      return found.wait;
    }
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  throw new Error(`run ${runId} asks nobody anything`);
}

const wait = await question();
const reply = await runs.resumeRun({
  namespace,
  requestId: randomUUID(),
  runId,
  waitId: wait.waitId,
  payloadJson: answer,
  resumedBy: "approve.mjs",
});
console.log(
  JSON.stringify({ run_id: runId, wait_id: Number(wait.waitId), prompt: wait.prompt, seq: Number(reply.seq) }),
);
