// A connection to a Perdure server, with nothing but gRPC and the contract's generated code.

import { parseArgs } from "node:util";

import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { LedgerService } from "perdure/v1/ledger_service_pb";
import { RunService } from "perdure/v1/run_service_pb";
import { WorkflowService } from "perdure/v1/workflow_service_pb";

/**
 * The options of the command line: --address HOST:PORT, --namespace, and those named.
 * @param {string[]} names
 */
export function options(...names) {
  const declared = Object.fromEntries(["address", "namespace", ...names].map((name) => [name, { type: "string" }]));
  const { values } = parseArgs({ options: declared });
  const missing = ["address", ...names].filter((name) => values[name] === undefined);
  if (missing.length > 0) {
    throw new Error(`missing: ${missing.map((name) => `--${name}`).join(", ")}`);
  }
  return { namespace: "default", ...values };
}

/** Clients of the services at an address. */
export function connect(address) {
  const transport = createGrpcTransport({ baseUrl: `http://${address}` });
  return {
    runs: createClient(RunService, transport),
    ledger: createClient(LedgerService, transport),
    workflows: createClient(WorkflowService, transport),
  };
}

/**
 * The reason of a refused call: `reason` of the google.rpc.ErrorInfo among the details of its status.
 * @returns {Promise<string>} the reason, or "" when the call succeeded
 */
export async function reasonOf(call) {
  try {
    await call;
    return "";
  } catch (error) {
    if (!(error instanceof ConnectError)) {
      throw error;
    }
    const info = error.details.find((detail) => detail.type === "google.rpc.ErrorInfo");
    return info === undefined ? `no ErrorInfo: ${error.message}` : firstString(info.value);
  }
}

/** Field 1, a string, of an encoded message. */
function firstString(bytes) {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    if (number === 1 && type === WireType.LengthDelimited) {
      return reader.string();
    }
    reader.skip(type);
  }
  return "";
}
