"""What the command says when something does not work: the reason, and what to do about it.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 the server could not be reached.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from perdure.errors import PerdureError

FAILED: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3
INTERRUPTED: Final = 130

# By reason of the contract's ErrorReason. Each names the next command or the setting to change.
ADVICE: Final = {
    "INVALID_FIELD": "correct the value; `perdure COMMAND --help` lists what each option takes",
    "INVALID_JSON": "give RFC 8259 JSON: double quotes, no NaN, no repeated keys, integers within 64 bits",
    "INVALID_PAGE_TOKEN": "start the list again without a page token",
    "INVALID_CURSOR": "a cursor belongs to one scope and filter; use the same ones, or start from the beginning",
    "INVALID_SPEC": "correct the nodes named above; `perdure workflow validate FILE` checks without storing",
    "WAIT_ID_REQUIRED": "name the wait with --wait-id (`perdure inbox` lists them), or say --any-wait",
    "ANSWER_NOT_ALLOWED": "`perdure run get RUN_ID` shows the question, its choices and its schema",
    "PAYLOAD_TOO_LARGE": "store the large value elsewhere and pass a reference to it; docs/limits.md has the limits",
    "VARS_TOO_LARGE": "store large values elsewhere and keep references to them in the run's vars",
    "RUN_NOT_FOUND": "`perdure run list` shows the runs of this namespace; another is chosen with --namespace",
    "WORKFLOW_NOT_FOUND": (
        "`perdure workflow list` shows what is registered; `perdure workflow register FILE` adds one"
    ),
    "NODE_NOT_FOUND": "`perdure workflow show WORKFLOW_ID` lists the nodes",
    "NAMESPACE_NOT_FOUND": "create it with `perdure namespace create NAME`, or choose another with --namespace",
    "RUN_EXISTS": "a run id names one ledger for ever: take another id, or add --on-existing return",
    "REQUEST_ID_REUSED": "this --request-id was used with another body: leave it out, or take a new one",
    "NAMESPACE_EXISTS": "nothing to do: it is there",
    "RUN_ENDED": "`perdure run get RUN_ID` shows how it ended; start another run to do it again",
    "RUN_NOT_WAITING": "`perdure run get RUN_ID` shows what it does; `perdure inbox` lists what waits",
    "WAIT_ENDED": "somebody else answered, or time was up; `perdure ledger show RUN_ID` tells who and when",
    "WAIT_NOT_RESUMABLE": "this wait ends by its child run, or by its wait id only (--wait-id)",
    "WAIT_KEY_MISMATCH": "`perdure run get RUN_ID` shows the key of the wait",
    "RUN_NOT_MANUAL": "the server moves this run by itself; only runs started with --drive manual are ticked",
    "STEP_NOT_PARKED": "`perdure run get RUN_ID` shows the open step; only parked steps are resolved",
    "CURSOR_EXPIRED": "start from the oldest cursor that is left, named above, or from the beginning",
    "CURSOR_FROM_OTHER_STORE": "the store was replaced or rolled back: start from the beginning",
    "TOO_MANY_CALLS": "the server is busy: try again in a moment",
    "TOO_MANY_STREAMS": "end another stream of this caller first",
    "UNAUTHENTICATED": "give a valid token (--token or PERDURE_TOKEN), or a client certificate (--cert and --key)",
    "NAMESPACE_DENIED": "the token is not bound to this namespace: choose one it is bound to with --namespace",
    "DRAINING": "the server is stopping: try again once it is back",
    "STORE_UNAVAILABLE": "the server cannot reach its store: `perdure doctor` tells more, its log tells most",
    "STORE_DAMAGED": "`perdure doctor` names the runs that cannot be read; keep the damaged file, and put the last "
    "backup in place with `perdure restore`",
    "CONFLICT": "others changed the run at the same time: run the command again",
    "DEADLINE_EXCEEDED": "allow more time with --timeout; the same --request-id makes a repeat safe",
    "RUN_NOT_FAILED": "only a failed run is retried; `perdure run get RUN_ID` shows what it is",
    "DEADLINE_PASSED": "give a new one with --deadline, or with --from-node let the node plan anew",
    "EFFECT_IN_DOUBT": "retry it without --from-node: it parks, and `perdure run resolve` decides what happened",
    "MIGRATION_REFUSED": "`perdure run migrate RUN_ID --dry-run` names all that is missing; --map OLD=NEW renames",
    "INTERNAL": "a defect: report it with the error id; the server's log holds the cause under that id",
    "UNIMPLEMENTED": "the server is older than this command: `perdure doctor` compares versions",
    "SCHEDULE_NOT_FOUND": "`perdure schedule list` shows those there are",
    "SCHEDULE_EXISTS": "`perdure schedule update` changes it",
    "SCHEDULE_CHANGED": "`perdure schedule get` shows it as it stands now",
    "CONCURRENCY_LIMIT": "Try again when a run of the key has ended, or start with --on-limit queue.",
    "LIMIT_REACHED": "docs/limits.md has the limits; let runs end or start fewer at once",
}

_ADVICE_BY_CODE: Final = {
    "UNAVAILABLE": "start one with `perdure serve`, or name another with --address or PERDURE_ADDRESS; if one runs "
    "there, `perdure doctor` finds what is between (TLS: --ca, --cert and --key)",
    "DEADLINE_EXCEEDED": "no answer in time: allow more with --timeout, or see whether the server is well with "
    "`perdure doctor`",
    "UNIMPLEMENTED": "what answers there is no Perdure server, or an older one: check --address",
    "UNAUTHENTICATED": ADVICE["UNAUTHENTICATED"],
    "DATA_LOSS": "the stream was not what the ledger promises: run `perdure doctor` and keep its output",
}

_UNREACHABLE_CODES: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "UNKNOWN"})


@dataclass(eq=False)
class Refusal(Exception):
    """Why a command ends without having done its work.

    Args:
        message: what is wrong.
        advice: what to do about it; "" when the message says it.
        reason: a stable word, as in the contract's ErrorReason.
        code: name of the gRPC status code; "" when no call was made.
        fields: (field, what is wrong with it).
        metadata: facts by name.
        exit_code: FAILED, USAGE or UNREACHABLE.
    """

    message: str
    advice: str = ""
    reason: str = ""
    code: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    metadata: dict[str, str] = field(default_factory=dict[str, str])
    exit_code: int = FAILED

    def as_json(self) -> dict[str, object]:
        """The object printed on standard error under --json."""
        fields = [{"field": name, "description": description} for name, description in self.fields]
        return {
            "error": {
                "reason": self.reason or ("USAGE" if self.exit_code == USAGE else ""),
                "code": self.code,
                "message": self.message,
                "advice": self.advice,
                "fields": fields,
                "metadata": self.metadata,
            }
        }


def refusal(error: PerdureError) -> Refusal:
    """What to say about a failed call."""
    code = error.code.name
    is_silent = not error.reason and code in _UNREACHABLE_CODES
    return Refusal(
        message=error.message,
        advice=ADVICE.get(error.reason) or _ADVICE_BY_CODE.get(code, ""),
        reason=error.reason or ("UNREACHABLE" if is_silent else code),
        code=code,
        fields=tuple((problem.field, problem.description) for problem in error.fields),
        metadata=dict(error.metadata),
        exit_code=UNREACHABLE if is_silent else FAILED,
    )
