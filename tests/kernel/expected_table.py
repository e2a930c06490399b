"""What every input does to a run in every state, as reviewed data: nothing here is derived from the kernel.

One block a row. A line reads `input: outcome | outcome while paused   # why`; `=` means the same outcome
while paused. An outcome is a Reason (the input is refused), `nothing` (accepted, no record), or the kinds of
the new records, `>`, and the run's status and activity. A run stays paused or not unless the line says
`held` or `free`. A name in lower case stands for every variant of its group (`GROUPS`) without a line of
its own in the block. Inputs and their variants are built in `table_inputs.py`, runs in `ledgers.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.kernel import expected_joins

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "leases": ("StepLeased", "StepLeased/other", "LeaseLapsed", "LeaseLapsed/stale"),
    "turns": ("TurnTaken", "TurnTaken/other"),
    "branches": ("BranchesDue", "BranchesDue/failed", "BranchesDue/other"),
    "reports": (
        "NodePlanned",
        "NodePlanned/failed",
        "NodePlanned/stale",
        "EffectBegun",
        "EffectBegun/stale",
        "EffectSettled",
        "EffectSettled/failed",
        "EffectSettled/stale",
        "StepReleased",
        "StepReleased/stale",
    ),
    "resumes": ("Resume", "Resume/any", "Resume/other"),
    "timers": (
        "TimerFired/start",
        "TimerFired/retry",
        "TimerFired/until",
        "TimerFired/wait_deadline",
        "TimerFired/run_deadline",
        "TimerFired/schedule_to_start",
        "TimerFired/start_to_close",
        "TimerFired/heartbeat",
    ),
    "children": (
        "ChildEndSeen/awaited",
        "ChildEndSeen/awaited_failed",
        "ChildEndSeen/beside",
        "ChildEndSeen/branch",
        "ChildEndSeen/branch_failed",
        "ChildEndSeen/unknown",
    ),
    "resolves": ("ResolveStep/rerun", "ResolveStep/completed", "ResolveStep/failed", "ResolveStep/other"),
    "budgets": ("TickBudget", "TickBudget/0"),
    "retries": ("Retry", "Retry/deadline", "Retry/from_node"),
    "moves": ("Migrate", "Migrate/unmapped", "Migrate/same"),
    "unmapped": ("Migrate/unmapped",),
}

_EVERY_LIVE: Final = """
branches: NOT_DUE | =
retries: RUN_NOT_FAILED | =
unmapped: MIGRATION_REFUSED | =                                    # where the run stands has another name there
Migrate/same: nothing | =                                          # the version that it has
"""
"""Goes before the block of every row of a run that has not ended."""

NONE: Final = """
StartRun: run_started > RUNNING QUEUED
branches: RUN_NOT_FOUND
turns: RUN_NOT_FOUND
leases: RUN_NOT_FOUND
reports: RUN_NOT_FOUND
resumes: RUN_NOT_FOUND
EventMatched: RUN_NOT_FOUND
timers: RUN_NOT_FOUND
children: RUN_NOT_FOUND
Cancel: RUN_NOT_FOUND
Pause: RUN_NOT_FOUND
Unpause: RUN_NOT_FOUND
resolves: RUN_NOT_FOUND
budgets: RUN_NOT_FOUND
EventOffered: RUN_NOT_FOUND
SlotGranted: RUN_NOT_FOUND
retries: RUN_NOT_FOUND
moves: RUN_NOT_FOUND
"""

QUEUED_NODE: Final = """
StartRun: RUN_EXISTS | =
turns: NOT_DUE | =
leases: NOT_DUE | =
StepLeased: step_started > RUNNING LEASED | NOT_DUE                # while paused no attempt starts
reports: STALE_ATTEMPT | =                                         # attempt 1 was never handed out
resumes: RUN_NOT_WAITING | =
EventMatched: NOT_DUE | =
timers: NOT_DUE | =
TimerFired/schedule_to_start: step_completed > RUNNING BACKOFF | NOT_DUE   # nobody is late for a held task
TimerFired/run_deadline: failed > FAILED NONE | failed > FAILED NONE free
children: NOT_DUE | =
ChildEndSeen/beside: child_ended > RUNNING QUEUED | =              # P6: a child's end always reaches its parent
Cancel: cancelled > CANCELLED NONE | cancelled > CANCELLED NONE free   # accepted in every activity, clears paused
Pause: paused > RUNNING QUEUED held | nothing
Unpause: nothing | unpaused > RUNNING QUEUED free
resolves: STEP_NOT_PARKED | =
budgets: RUN_NOT_MANUAL | =
EventOffered: nothing | =
SlotGranted: NOT_DUE | =
Migrate: migrated > RUNNING QUEUED | =                             # same step, same visit
"""

QUEUED_LAPSED: Final = """
StartRun: RUN_EXISTS | =
turns: NOT_DUE | =
leases: NOT_DUE | =
StepLeased: step_started > RUNNING LEASED | NOT_DUE
reports: STALE_ATTEMPT | =                                         # P5: a stale lease never commits, re-leased or not
resumes: RUN_NOT_WAITING | =
EventMatched: NOT_DUE | =
timers: NOT_DUE | =
TimerFired/schedule_to_start: step_completed > RUNNING BACKOFF | NOT_DUE
TimerFired/run_deadline: failed > FAILED NONE | failed > FAILED NONE free
children: NOT_DUE | =
ChildEndSeen/beside: child_ended > RUNNING QUEUED | =
Cancel: cancelled > CANCELLED NONE | cancelled > CANCELLED NONE free
Pause: paused > RUNNING QUEUED held | nothing
Unpause: nothing | unpaused > RUNNING QUEUED free
resolves: STEP_NOT_PARKED | =
budgets: RUN_NOT_MANUAL | =
EventOffered: nothing | =
SlotGranted: NOT_DUE | =
Migrate: migrated > RUNNING QUEUED | =
"""

QUEUED_EFFECT: Final = QUEUED_NODE

QUEUED_TURN: Final = """
StartRun: RUN_EXISTS | =
TurnTaken: step_completed > RUNNING QUEUED | NOT_DUE               # while paused no effect starts
TurnTaken/other: NOT_DUE | =
leases: NOT_DUE | =                                                # a turn is the server's own: no worker gets it
reports: STALE_ATTEMPT | =
resumes: RUN_NOT_WAITING | =
EventMatched: NOT_DUE | =
timers: NOT_DUE | =
TimerFired/run_deadline: failed > FAILED NONE | failed > FAILED NONE free
children: NOT_DUE | =
ChildEndSeen/beside: child_ended > RUNNING QUEUED | =
Cancel: cancelled > CANCELLED NONE | cancelled > CANCELLED NONE free
Pause: paused > RUNNING QUEUED held | nothing
Unpause: nothing | unpaused > RUNNING QUEUED free
resolves: STEP_NOT_PARKED | =
budgets: RUN_NOT_MANUAL | =
EventOffered: nothing | =
SlotGranted: NOT_DUE | =
Migrate: migrated > RUNNING QUEUED | =
"""

QUEUED_SERVER_NODE: Final = """
StartRun: RUN_EXISTS | =
turns: NOT_DUE | =                                                 # the turn of a node is its plan
leases: NOT_DUE | =
reports: STALE_ATTEMPT | =
NodePlanned: step_completed > RUNNING QUEUED | NOT_DUE             # the server's plan has attempt 0
NodePlanned/failed: step_completed failed > FAILED NONE | NOT_DUE
resumes: RUN_NOT_WAITING | =
EventMatched: NOT_DUE | =
timers: NOT_DUE | =
TimerFired/run_deadline: failed > FAILED NONE | failed > FAILED NONE free
children: NOT_DUE | =
ChildEndSeen/beside: child_ended > RUNNING QUEUED | =
Cancel: cancelled > CANCELLED NONE | cancelled > CANCELLED NONE free
Pause: paused > RUNNING QUEUED held | nothing
Unpause: nothing | unpaused > RUNNING QUEUED free
resolves: STEP_NOT_PARKED | =
budgets: RUN_NOT_MANUAL | =
EventOffered: nothing | =
SlotGranted: NOT_DUE | =
Migrate: migrated > RUNNING QUEUED | =
Migrate/unmapped: migrated > RUNNING QUEUED | =
"""

LEASED_NODE: Final = """
StartRun: RUN_EXISTS | =
turns: NOT_DUE | =
leases: NOT_DUE | =
LeaseLapsed: requeued > RUNNING QUEUED | =                         # while paused: a held task
reports: STALE_ATTEMPT | =
NodePlanned: step_completed > RUNNING QUEUED | =                   # reports are accepted while paused
NodePlanned/failed: step_completed > RUNNING BACKOFF | =
EffectBegun: BAD_REPORT | =                                        # a node has no begin
EffectSettled: BAD_REPORT | =
EffectSettled/failed: BAD_REPORT | =
StepReleased: requeued > RUNNING QUEUED | =
resumes: RUN_NOT_WAITING | =
EventMatched: NOT_DUE | =
timers: NOT_DUE | =
TimerFired/start_to_close: step_completed > RUNNING BACKOFF | =    # a timeout counts against the retry policy
TimerFired/heartbeat: step_completed > RUNNING BACKOFF | =
TimerFired/run_deadline: failed > FAILED NONE | failed > FAILED NONE free
children: NOT_DUE | =
ChildEndSeen/beside: child_ended > RUNNING LEASED | =
Cancel: cancelled > CANCELLED NONE | cancelled > CANCELLED NONE free
Pause: paused > RUNNING LEASED held | nothing
Unpause: nothing | unpaused > RUNNING LEASED free
resolves: STEP_NOT_PARKED | =
budgets: RUN_NOT_MANUAL | =
EventOffered: nothing | =
SlotGranted: NOT_DUE | =
Migrate: migrated > RUNNING QUEUED | =                             # a plan would be of the other version
"""

LEASED_EFFECT: Final = """
StartRun: RUN_EXISTS | =
turns: NOT_DUE | =
leases: NOT_DUE | =
LeaseLapsed: requeued > RUNNING QUEUED | =                         # irreversible, not begun: handed out again
reports: STALE_ATTEMPT | =
NodePlanned: BAD_REPORT | =                                        # a plan is no outcome of an effect
NodePlanned/failed: BAD_REPORT | =
EffectBegun: step_begun > RUNNING LEASED | =                       # this attempt started before the pause
EffectSettled: BAD_REPORT | =                                      # it begins first; the lease stands
EffectSettled/failed: step_completed > RUNNING BACKOFF | =         # not begun: the retry policy applies
StepReleased: requeued > RUNNING QUEUED | =
resumes: RUN_NOT_WAITING | =
EventMatched: NOT_DUE | =
timers: NOT_DUE | =
TimerFired/start_to_close: step_completed > RUNNING BACKOFF | =
TimerFired/heartbeat: step_completed > RUNNING BACKOFF | =
TimerFired/run_deadline: failed > FAILED NONE | failed > FAILED NONE free
children: NOT_DUE | =
ChildEndSeen/beside: child_ended > RUNNING LEASED | =
Cancel: cancelled > CANCELLED NONE | cancelled > CANCELLED NONE free
Pause: paused > RUNNING LEASED held | nothing
Unpause: nothing | unpaused > RUNNING LEASED free
resolves: STEP_NOT_PARKED | =
budgets: RUN_NOT_MANUAL | =
EventOffered: nothing | =
SlotGranted: NOT_DUE | =
Migrate: migrated > RUNNING LEASED | =                             # no version in an effect: it goes on
"""

LEASED_BEGUN: Final = """
StartRun: RUN_EXISTS | =
turns: NOT_DUE | =
leases: NOT_DUE | =
LeaseLapsed: parked > RUNNING PARKED | =                           # begun without a report: in doubt
reports: STALE_ATTEMPT | =
NodePlanned: BAD_REPORT | =
NodePlanned/failed: BAD_REPORT | =
EffectBegun: nothing duplicate | =                                 # a repeated Begin is acked again
EffectSettled: step_completed > RUNNING QUEUED | =
EffectSettled/failed: step_completed failed > FAILED NONE | step_completed failed > FAILED NONE free  # final
StepReleased: requeued > RUNNING QUEUED | =                        # a release says that nothing was executed
resumes: RUN_NOT_WAITING | =
EventMatched: NOT_DUE | =
timers: NOT_DUE | =
TimerFired/start_to_close: parked > RUNNING PARKED | =             # "a lapse or timeout parks it IN_DOUBT"
TimerFired/heartbeat: parked > RUNNING PARKED | =
TimerFired/run_deadline: failed > FAILED NONE | failed > FAILED NONE free
children: NOT_DUE | =
ChildEndSeen/beside: child_ended > RUNNING LEASED | =
Cancel: cancelled > CANCELLED NONE | cancelled > CANCELLED NONE free
Pause: paused > RUNNING LEASED held | nothing
Unpause: nothing | unpaused > RUNNING LEASED free
resolves: STEP_NOT_PARKED | =
budgets: RUN_NOT_MANUAL | =
EventOffered: nothing | =
SlotGranted: NOT_DUE | =
Migrate: migrated > RUNNING LEASED | =
"""

BACKOFF_RETRY: Final = """
StartRun: RUN_EXISTS | =
turns: NOT_DUE | =
leases: NOT_DUE | =
reports: STALE_ATTEMPT | =                                         # attempt 1 has been reported
resumes: RUN_NOT_WAITING | =
EventMatched: NOT_DUE | =
timers: NOT_DUE | =
TimerFired/retry: requeued > RUNNING QUEUED | =                    # timers are accepted while paused: a held task
TimerFired/run_deadline: failed > FAILED NONE | failed > FAILED NONE free
children: NOT_DUE | =
ChildEndSeen/beside: child_ended > RUNNING BACKOFF | =
Cancel: cancelled > CANCELLED NONE | cancelled > CANCELLED NONE free
Pause: paused > RUNNING BACKOFF held | nothing
Unpause: nothing | unpaused > RUNNING BACKOFF free
resolves: STEP_NOT_PARKED | =
budgets: RUN_NOT_MANUAL | =
EventOffered: nothing | =
SlotGranted: NOT_DUE | =
Migrate: migrated > RUNNING BACKOFF | =
"""

BACKOFF_START: Final = """
StartRun: RUN_EXISTS | =
turns: NOT_DUE | =
leases: NOT_DUE | =
reports: STALE_ATTEMPT | =
resumes: RUN_NOT_WAITING | =
EventMatched: NOT_DUE | =
timers: NOT_DUE | =
TimerFired/start: requeued > RUNNING QUEUED | =
TimerFired/run_deadline: failed > FAILED NONE | failed > FAILED NONE free
children: NOT_DUE | =
Cancel: cancelled > CANCELLED NONE | cancelled > CANCELLED NONE free
Pause: paused > RUNNING BACKOFF held | nothing
Unpause: nothing | unpaused > RUNNING BACKOFF free
resolves: STEP_NOT_PARKED | =
budgets: RUN_NOT_MANUAL | =
EventOffered: nothing | =
SlotGranted: NOT_DUE | =
Migrate: migrated > RUNNING BACKOFF | =
"""

# In line for a slot of its concurrency key: no timer but the deadline.
BACKOFF_SLOT: Final = """
StartRun: RUN_EXISTS | =
turns: NOT_DUE | =
leases: NOT_DUE | =
reports: STALE_ATTEMPT | =
resumes: RUN_NOT_WAITING | =
EventMatched: NOT_DUE | =
timers: NOT_DUE | =
TimerFired/run_deadline: failed > FAILED NONE | failed > FAILED NONE free
children: NOT_DUE | =
Cancel: cancelled > CANCELLED NONE | cancelled > CANCELLED NONE free
Pause: paused > RUNNING BACKOFF held | nothing
Unpause: nothing | unpaused > RUNNING BACKOFF free
resolves: STEP_NOT_PARKED | =
budgets: RUN_NOT_MANUAL | =
EventOffered: nothing | =
SlotGranted: requeued > RUNNING QUEUED | NOT_DUE                 # while paused, others pass it
Migrate: migrated > RUNNING BACKOFF | =
"""

# The deadline of this wait has no node: "fails the step DEADLINE".
WAITING_EVENT: Final = """
StartRun: RUN_EXISTS | =
turns: NOT_DUE | =
leases: NOT_DUE | =
reports: STALE_ATTEMPT | =
Resume: resumed > RUNNING QUEUED | =                               # a resume ends a wait during a pause too
Resume/any: resumed > RUNNING QUEUED | =
Resume/other: WAIT_ENDED | =
EventMatched: event_consumed > RUNNING QUEUED | =
timers: NOT_DUE | =
TimerFired/wait_deadline: step_completed failed > FAILED NONE | step_completed failed > FAILED NONE free
TimerFired/run_deadline: failed > FAILED NONE | failed > FAILED NONE free
children: NOT_DUE | =
ChildEndSeen/beside: child_ended > WAITING WAITING | =
Cancel: cancelled > CANCELLED NONE | cancelled > CANCELLED NONE free
Pause: paused > WAITING WAITING held | nothing
Unpause: nothing | unpaused > WAITING WAITING free
resolves: STEP_NOT_PARKED | =
budgets: RUN_NOT_MANUAL | =
EventOffered: nothing | =
SlotGranted: NOT_DUE | =
Migrate: migrated > WAITING WAITING | =
"""

WAITING_USER: Final = """
StartRun: RUN_EXISTS | =
turns: NOT_DUE | =
leases: NOT_DUE | =
reports: STALE_ATTEMPT | =
Resume: resumed > RUNNING QUEUED | =
Resume/any: resumed > RUNNING QUEUED | =
Resume/other: WAIT_ENDED | =
EventMatched: NOT_DUE | =
timers: NOT_DUE | =
TimerFired/wait_deadline: resumed > RUNNING QUEUED | =             # to its on_deadline_node
TimerFired/run_deadline: failed > FAILED NONE | failed > FAILED NONE free
children: NOT_DUE | =
ChildEndSeen/beside: child_ended > WAITING WAITING | =
Cancel: cancelled > CANCELLED NONE | cancelled > CANCELLED NONE free
Pause: paused > WAITING WAITING held | nothing
Unpause: nothing | unpaused > WAITING WAITING free
resolves: STEP_NOT_PARKED | =
budgets: RUN_NOT_MANUAL | =
EventOffered: nothing | =
SlotGranted: NOT_DUE | =
Migrate: migrated > WAITING WAITING | =                            # the wait keeps its id
"""

WAITING_UNTIL: Final = """
StartRun: RUN_EXISTS | =
turns: NOT_DUE | =
leases: NOT_DUE | =
reports: STALE_ATTEMPT | =
Resume: resumed > RUNNING QUEUED | =                               # until waits end by their wait_id only
Resume/any: WAIT_NOT_RESUMABLE | =
Resume/other: WAIT_ENDED | =
EventMatched: NOT_DUE | =
timers: NOT_DUE | =
TimerFired/until: resumed > RUNNING QUEUED | =
TimerFired/run_deadline: failed > FAILED NONE | failed > FAILED NONE free
children: NOT_DUE | =
ChildEndSeen/beside: child_ended > WAITING WAITING | =
Cancel: cancelled > CANCELLED NONE | cancelled > CANCELLED NONE free
Pause: paused > WAITING WAITING held | nothing
Unpause: nothing | unpaused > WAITING WAITING free
resolves: STEP_NOT_PARKED | =
budgets: RUN_NOT_MANUAL | =
EventOffered: nothing | =
SlotGranted: NOT_DUE | =
Migrate: migrated > WAITING WAITING | =
"""

WAITING_CHILD: Final = """
StartRun: RUN_EXISTS | =
turns: NOT_DUE | =
leases: NOT_DUE | =
reports: STALE_ATTEMPT | =
resumes: WAIT_NOT_RESUMABLE | =                                    # it ends by its child
Resume/other: WAIT_ENDED | =
EventMatched: NOT_DUE | =
timers: NOT_DUE | =
TimerFired/run_deadline: failed > FAILED NONE | failed > FAILED NONE free
ChildEndSeen/awaited: child_ended > RUNNING QUEUED | =
ChildEndSeen/awaited_failed: child_ended step_completed failed > FAILED NONE | child_ended step_completed failed > \
FAILED NONE free
ChildEndSeen/beside: child_ended > WAITING WAITING | =
ChildEndSeen/branch: NOT_DUE | =
ChildEndSeen/branch_failed: NOT_DUE | =
ChildEndSeen/unknown: NOT_DUE | =
Cancel: cancelled > CANCELLED NONE | cancelled > CANCELLED NONE free
Pause: paused > WAITING WAITING held | nothing
Unpause: nothing | unpaused > WAITING WAITING free
resolves: STEP_NOT_PARKED | =
budgets: RUN_NOT_MANUAL | =
EventOffered: nothing | =
SlotGranted: NOT_DUE | =
Migrate: migrated > WAITING WAITING | =
"""

PARKED_POISON: Final = """
StartRun: RUN_EXISTS | =
turns: NOT_DUE | =
leases: NOT_DUE | =
reports: STALE_ATTEMPT | =                                         # its lease is lost; a person decides
resumes: RUN_NOT_WAITING | =
EventMatched: NOT_DUE | =
timers: NOT_DUE | =
TimerFired/run_deadline: failed > FAILED NONE | failed > FAILED NONE free
children: NOT_DUE | =
ChildEndSeen/beside: child_ended > RUNNING PARKED | =
Cancel: cancelled > CANCELLED NONE | cancelled > CANCELLED NONE free
Pause: paused > RUNNING PARKED held | nothing
Unpause: nothing | unpaused > RUNNING PARKED free
ResolveStep/rerun: unparked > RUNNING QUEUED | =                   # while paused it leaves a held task
ResolveStep/completed: unparked step_completed > RUNNING QUEUED | =
ResolveStep/failed: unparked step_completed failed > FAILED NONE | unparked step_completed failed > FAILED NONE free
ResolveStep/other: STEP_NOT_PARKED | =
budgets: RUN_NOT_MANUAL | =
EventOffered: nothing | =
SlotGranted: NOT_DUE | =
Migrate: migrated > RUNNING PARKED | =
"""

PARKED_IN_DOUBT: Final = PARKED_POISON

IDLE: Final = """
StartRun: RUN_EXISTS | =
turns: NOT_DUE | =
leases: NOT_DUE | =
reports: STALE_ATTEMPT | =
resumes: RUN_NOT_WAITING | =
EventMatched: NOT_DUE | =
timers: NOT_DUE | =
TimerFired/run_deadline: failed > FAILED NONE | failed > FAILED NONE free
children: NOT_DUE | =
Cancel: cancelled > CANCELLED NONE | cancelled > CANCELLED NONE free
Pause: paused > RUNNING IDLE held | nothing
Unpause: nothing | unpaused > RUNNING IDLE free
resolves: STEP_NOT_PARKED | =
TickBudget: budget_added > RUNNING QUEUED | =                      # while paused the node is entered, its task held
TickBudget/0: nothing | =
EventOffered: nothing | =
SlotGranted: NOT_DUE | =
Migrate: migrated > RUNNING IDLE | =
"""

CANCELLING: Final = """
StartRun: RUN_EXISTS | =
turns: NOT_DUE | =
leases: NOT_DUE | =
StepLeased: step_started > RUNNING LEASED | NOT_DUE                # the on_cancel_node is a node like any other
reports: STALE_ATTEMPT | =
NodePlanned: late_result > RUNNING QUEUED stale | =                # of the attempt leased when the cancel came: kept
NodePlanned/failed: late_result > RUNNING QUEUED stale | =
EffectSettled: late_result > RUNNING QUEUED stale | =
EffectSettled/failed: late_result > RUNNING QUEUED stale | =
resumes: RUN_NOT_WAITING | =
EventMatched: NOT_DUE | =
timers: NOT_DUE | =
TimerFired/run_deadline: cancelled > CANCELLED NONE | cancelled > CANCELLED NONE free  # however that path ends
children: NOT_DUE | =
ChildEndSeen/beside: child_ended > RUNNING QUEUED | =
Cancel: cancelled > CANCELLED NONE | cancelled > CANCELLED NONE free   # a second cancel, at once
Pause: paused > RUNNING QUEUED held | nothing
Unpause: nothing | unpaused > RUNNING QUEUED free
resolves: STEP_NOT_PARKED | =
budgets: RUN_NOT_MANUAL | =
EventOffered: nothing | =
SlotGranted: NOT_DUE | =
Migrate: migrated > RUNNING QUEUED | =
Migrate/unmapped: migrated > RUNNING QUEUED | =
"""

ENDED_COMPLETED: Final = """
StartRun: RUN_EXISTS
branches: NOT_DUE
turns: NOT_DUE
leases: NOT_DUE
reports: STALE_ATTEMPT                                             # the token's attempt is no longer open
EffectBegun: RUN_ENDED
EffectBegun/stale: RUN_ENDED
StepReleased: RUN_ENDED
StepReleased/stale: RUN_ENDED
resumes: RUN_ENDED
EventMatched: NOT_DUE
timers: NOT_DUE
children: NOT_DUE
Cancel: nothing                                                    # "changes nothing and succeeds"
Pause: RUN_ENDED
Unpause: RUN_ENDED
resolves: RUN_ENDED
budgets: RUN_ENDED
EventOffered: RUN_ENDED
SlotGranted: NOT_DUE
retries: RUN_NOT_FAILED
moves: RUN_ENDED
"""

ENDED_CANCELLED: Final = """
StartRun: RUN_EXISTS
branches: NOT_DUE
turns: NOT_DUE
leases: NOT_DUE
reports: STALE_ATTEMPT                                             # the token's attempt is no longer open
EffectBegun: RUN_ENDED
EffectBegun/stale: RUN_ENDED
StepReleased: RUN_ENDED
StepReleased/stale: RUN_ENDED
NodePlanned: late_result > CANCELLED NONE stale                    # the attempt leased then: kept, without effect
NodePlanned/failed: late_result > CANCELLED NONE stale
EffectSettled: late_result > CANCELLED NONE stale
EffectSettled/failed: late_result > CANCELLED NONE stale
resumes: RUN_ENDED
EventMatched: NOT_DUE
timers: NOT_DUE
children: NOT_DUE
Cancel: nothing
Pause: RUN_ENDED
Unpause: RUN_ENDED
resolves: RUN_ENDED
budgets: RUN_ENDED
EventOffered: RUN_ENDED
SlotGranted: NOT_DUE
retries: RUN_NOT_FAILED
moves: RUN_ENDED
"""

_REOPENED: Final = """
Retry: DEADLINE_PASSED                                             # that of the run: it would fail again at once
Retry/deadline: reopened > RUNNING QUEUED
Retry/from_node: reopened > RUNNING QUEUED
"""

ENDED_DEADLINE: Final = ENDED_CANCELLED.replace("CANCELLED NONE", "FAILED NONE").replace(
    "\nretries: RUN_NOT_FAILED\n", _REOPENED
)

ENDED_FAILED: Final = ENDED_COMPLETED.replace("\nretries: RUN_NOT_FAILED\n", _REOPENED)

# The irreversible effect began, and then failed: it may have been executed.
ENDED_IN_DOUBT: Final = ENDED_COMPLETED.replace(
    "\nretries: RUN_NOT_FAILED\n",
    """
Retry: DEADLINE_PASSED
Retry/deadline: reopened > RUNNING PARKED
Retry/from_node: EFFECT_IN_DOUBT
""",
)

ROWS: Final[Mapping[str, str]] = {
    name: text if name == "NONE" or name.startswith("ENDED") else _EVERY_LIVE.rstrip() + text
    for name, text in [*globals().items(), *vars(expected_joins).items()]
    if name.isupper() and isinstance(text, str) and name[0] != "_" and name not in {"GROUPS", "ROWS"}
}
"""Name of a row to its block."""
