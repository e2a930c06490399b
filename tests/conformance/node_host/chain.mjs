// The ledger's evidence, checked as its comments in the contract describe it.

import { createHash } from "node:crypto";

import { fromBinary } from "@bufbuild/protobuf";
import { StepRecordSchema } from "perdure/v1/records_pb";

const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest();

function lengthPrefixed(text) {
  const bytes = Buffer.from(text, "utf8");
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** What the first record of a run is chained to. */
export function genesis(namespace, runId) {
  return sha256(lengthPrefixed("perdure/run/v1"), lengthPrefixed(namespace), lengthPrefixed(runId));
}

/** Every PayloadRef inside a message. */
function* payloadRefs(value) {
  if (Array.isArray(value)) {
    for (const item of value) {
      yield* payloadRefs(item);
    }
  } else if (value !== null && typeof value === "object" && !(value instanceof Uint8Array)) {
    if (value.$typeName === "perdure.v1.PayloadRef") {
      yield value;
      return;
    }
    yield* payloadRefs(Object.values(value));
  }
}

/**
 * Follows the hash chain of a run, and compares every payload with what its record commits to.
 *
 * @param entries LedgerEntry messages in view RECORD_BYTES, from seq 1
 * @returns {{records: object[], problems: string[]}} the decoded records, and what does not fit
 */
export function verify(namespace, runId, entries) {
  const problems = [];
  const records = [];
  let head = genesis(namespace, runId);
  for (const entry of entries) {
    const bytes = entry.form.value;
    const record = fromBinary(StepRecordSchema, bytes);
    records.push(record);
    const place = `record ${record.seq}`;
    if (record.seq !== BigInt(records.length)) {
      problems.push(`${place} stands at place ${records.length}`);
    }
    if (record.runId !== runId) {
      problems.push(`${place} is of run ${record.runId}`);
    }
    if (!head.equals(entry.prevHash)) {
      problems.push(`${place} does not follow the one before`);
    }
    head = sha256(Buffer.from("perdure/record/v1"), entry.prevHash, bytes);
    if (!head.equals(entry.recordHash)) {
      problems.push(`${place} has another hash`);
    }
    problems.push(...unmetCommitments(record, entry.payloads).map((problem) => `${place}: ${problem}`));
  }
  return { records, problems };
}

function unmetCommitments(record, payloads) {
  const problems = [];
  const byIndex = new Map(payloads.map((payload) => [payload.index, payload.content]));
  for (const ref of payloadRefs(record)) {
    const content = byIndex.get(ref.index);
    if (content?.case !== "inline") {
      problems.push(`payload ${ref.index} is not there`);
    } else if (BigInt(content.value.data.length) !== ref.size) {
      problems.push(`payload ${ref.index} has another size`);
    } else if (!sha256(content.value.salt, content.value.data).equals(ref.commitment)) {
      problems.push(`payload ${ref.index} is not the one committed to`);
    }
  }
  return problems;
}
