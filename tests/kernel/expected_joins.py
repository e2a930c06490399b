"""Rows of the expected table (see `expected_table`) for runs that wait for branches."""

from __future__ import annotations

from typing import Final

# Two of three branches must complete; the first of them is under way, and there is room for one more.
WAITING_JOIN: Final = """
Migrate: migrated > WAITING WAITING | =
StartRun: RUN_EXISTS | =
turns: NOT_DUE | =                                                 # its turn starts branches
BranchesDue: branches_started > WAITING WAITING | NOT_DUE          # while paused no branch starts
BranchesDue/failed: step_completed failed > FAILED NONE | NOT_DUE  # its vars could not be made
BranchesDue/other: NOT_DUE | =
leases: NOT_DUE | =
SlotGranted: NOT_DUE | =
reports: STALE_ATTEMPT | =
resumes: WAIT_NOT_RESUMABLE | =                                    # it ends by its branches
Resume/other: WAIT_ENDED | =
EventMatched: NOT_DUE | =
EventOffered: nothing | =
timers: NOT_DUE | =
TimerFired/run_deadline: failed > FAILED NONE | failed > FAILED NONE free
children: NOT_DUE | =
ChildEndSeen/branch: child_ended > WAITING WAITING | =             # one of two
ChildEndSeen/branch_failed: child_ended > WAITING WAITING | =      # two can still complete
ChildEndSeen/beside: child_ended > WAITING WAITING | =
Cancel: cancelled > CANCELLED NONE | cancelled > CANCELLED NONE free
Pause: paused > WAITING WAITING held | nothing
Unpause: nothing | unpaused > WAITING WAITING free
resolves: STEP_NOT_PARKED | =
budgets: RUN_NOT_MANUAL | =
"""

# As above, with two branches under way and the third one's output there: no room is left.
WAITING_JOIN_FULL: Final = """
Migrate: migrated > WAITING WAITING | =
StartRun: RUN_EXISTS | =
turns: NOT_DUE | =
branches: NOT_DUE | =
leases: NOT_DUE | =
SlotGranted: NOT_DUE | =
reports: STALE_ATTEMPT | =
resumes: WAIT_NOT_RESUMABLE | =
Resume/other: WAIT_ENDED | =
EventMatched: NOT_DUE | =
EventOffered: nothing | =
timers: NOT_DUE | =
TimerFired/run_deadline: failed > FAILED NONE | failed > FAILED NONE free
children: NOT_DUE | =
ChildEndSeen/branch: child_ended joined > RUNNING QUEUED | =       # a child's end ends a wait during a pause too
ChildEndSeen/branch_failed: child_ended > WAITING WAITING | =
ChildEndSeen/beside: child_ended > WAITING WAITING | =
Cancel: cancelled > CANCELLED NONE | cancelled > CANCELLED NONE free
Pause: paused > WAITING WAITING held | nothing
Unpause: nothing | unpaused > WAITING WAITING free
resolves: STEP_NOT_PARKED | =
budgets: RUN_NOT_MANUAL | =
"""

# All three are needed: the first failure is the effect's.
WAITING_JOIN_ALL: Final = WAITING_JOIN_FULL.replace(
    "child_ended joined > RUNNING QUEUED", "child_ended > WAITING WAITING"
).replace(
    "branch_failed: child_ended > WAITING WAITING | =",
    "branch_failed: child_ended step_completed failed > FAILED NONE | child_ended step_completed failed > "
    "FAILED NONE free",
)
