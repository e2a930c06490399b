"""Random interleavings of everything that can happen to a family of runs, held against the promises."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from perdure_server.kernel import inputs as i
from perdure_server.kernel import model as m
from perdure_server.kernel.decision import Decision, EventAppend, MailKind, Rejection
from perdure_server.kernel.obligations import obligations
from perdure_server.kernel.records import Resolution
from perdure_server.kernel.values import Leaf
from tests.kernel.machine_draws import (
    DEADLINES,
    FLOWS,
    INDEX,
    NAMES,
    OTHERS,
    PLANS,
    RARE_FAILURES,
    REMOTE,
    RETRY,
    SCOPES,
    SPECS,
    TIMEOUTS,
    S,
)
from tests.kernel.machine_lifecycle import migrated, retried
from tests.kernel.world import Token, World

UNTYPED_RULE: Any = rule


def act(**draws: Any) -> Callable[[Callable[..., None]], Any]:
    """A rule: something happens, and meanwhile workers and loops do their part, most of the time."""

    def make(what: Callable[..., None]) -> Any:
        @functools.wraps(what)
        def both(self: Interleavings, index: int, plan: m.StepPlan, **drawn: Any) -> None:
            what(self, index, **drawn)
            if index % 4:
                self.meanwhile(index, plan)

        return UNTYPED_RULE(index=INDEX, plan=PLANS, **draws)(both)

    return make


class Interleavings(RuleBasedStateMachine):
    """Clients, workers, the server's loops, crashes and a clock that is not to be trusted."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(dict(SPECS), dict(OTHERS))

    def pick(self, index: int, *activities: m.Activity) -> m.RunState:
        """One of the runs; most of the time one in one of `activities`, if there is one."""
        runs = list(self.world.runs.values())
        fitting = [run for run in runs if run.activity in activities] if index % 8 else []
        return (fitting or runs)[index % len(fitting or runs)]

    def result(self) -> m.EffectResult:
        """A result like no other."""
        return m.EffectResult(Leaf.of(f"merge {next(self.world.numbers)}"))

    @initialize(flow=FLOWS, manual=st.booleans())
    def first_run(self, flow: str, manual: bool) -> None:
        self.start(flow, m.Drive.MANUAL if manual else m.Drive.AUTO)

    def start(self, flow: str, drive: m.Drive = m.Drive.AUTO, **fields: Any) -> None:
        """Starts one more run of the one session."""
        run_id = f"run-{next(self.world.numbers)}"
        event = i.StartRun("default", run_id, Leaf(b"{}"), session_id="session-1", drive=drive, **fields)
        self.world.start(flow, event)

    @rule(flow=FLOWS, delay=DEADLINES, deadline=DEADLINES)
    def another_run(self, flow: str, delay: int, deadline: int) -> None:
        live = [run for run in self.world.runs.values() if not run.ended]
        if len(live) < 3 and len(self.world.runs) < 12:
            now = self.world.now
            self.start(flow, start_at=delay and now + delay, deadline_at=deadline and now + deadline)

    def hand_out(self, run: m.RunState) -> None:
        """A worker gets a due task."""
        assert run.step is not None
        taken = self.world.submit(run.run_id, i.StepLeased(run.step.step_id, "worker-1"))
        assert isinstance(taken, Decision), "a due task is handed out"

    def meanwhile(self, index: int, plan: m.StepPlan) -> None:
        """The server takes its turns, and workers take a task and report one."""
        for run in self.world.turns():
            self.world.take_turn(run)
        leased, ready = self.world.tasks(leased=True), self.world.tasks(leased=False)
        if ready:
            self.hand_out(ready[index % len(ready)])
        if leased:
            token = self.world.token_of(leased[index % len(leased)])
            if token.effect and index % 5:
                self.world.submit(token.run_id, i.EffectBegun(token.step_id, token.attempt))
            if token.effect and index % 5 == 1:
                return
            self.send(token, plan, None, index % 2 == 0, waits=index % 7 == 0)
        if not ready and not leased and len(self.world.runs) < 12:
            self.start("undoing" if index % 2 else "plain", m.Drive.MANUAL if index % 5 == 0 else m.Drive.AUTO)

    @act()
    def loops_come_round(self, index: int) -> None:
        """The server's loops: mail, then events, then timers that are due."""
        for mail in list(self.world.mail)[: 1 + index % 3]:
            self.world.deliver(mail)
        for run_id in list(self.world.runs):
            self.world.match(run_id)
        for run in list(self.world.runs.values()):
            for kind, due_at in obligations(run).timers.items():
                if due_at <= self.world.now and self.world.runs[run.run_id] is run:
                    assert isinstance(self.world.submit(run.run_id, i.TimerFired(kind, due_at)), Decision)

    def token(self, index: int, newest: bool) -> Token | None:
        """One of the attempts handed out so far: the newest of them often."""
        tokens = self.world.tokens
        if not tokens:
            return None
        return tokens[-1 - index % min(len(tokens), 2)] if newest else tokens[index % len(tokens)]

    @rule(index=INDEX, newest=st.booleans(), plan=PLANS, failure=RARE_FAILURES, carry=st.booleans())
    def report(self, index: int, newest: bool, plan: m.StepPlan, failure: m.StepFailure | None, carry: bool) -> None:
        """A worker reports one of its attempts, perhaps an old one."""
        token = self.token(index, newest)
        if token is not None:
            self.send(token, plan, failure, carry, waits=index % 7 == 0)

    def send(self, token: Token, plan: m.StepPlan, failure: m.StepFailure | None, carry: bool, *, waits: bool) -> None:
        """A worker reports an attempt, whichever it is."""
        if token.effect:
            outcome = m.WaitRequest(m.WaitReason.JOB) if waits else self.result()
            self.world.report(token, failure or outcome, None)
            return
        may_carry = plan.effect is not None and isinstance(plan.effect.request, m.RemoteRequest)
        may_carry = may_carry and plan.effect is not None and plan.effect.risk is not m.Risk.IRREVERSIBLE
        fits = plan.next_node in SPECS["plain"].nodes or not plan.next_node
        carried = self.result() if carry and may_carry and fits else None
        self.world.report(token, failure or plan, None if failure else carried)

    @act()
    def begin(self, index: int) -> None:
        """A worker begins an effect, without reporting it yet."""
        token = self.token(index, newest=True)
        if token is not None:
            self.world.submit(token.run_id, i.EffectBegun(token.step_id, token.attempt))

    @act(newest=st.booleans(), delay=st.sampled_from([None, None, 0, S]))
    def drop(self, index: int, newest: bool, delay: int | None) -> None:
        """A worker gives an attempt back, or dies with it."""
        token = self.token(index, newest)
        if token is None:
            return
        if delay is None:
            self.world.submit(token.run_id, i.LeaseLapsed(token.step_id, token.attempt))
        else:
            self.world.submit(token.run_id, i.StepReleased(token.step_id, token.attempt, delay))

    @act(kind=st.sampled_from(i.TimerKind), wait=st.booleans())
    def timer(self, index: int, kind: i.TimerKind, wait: bool) -> None:
        run = self.pick(index, m.Activity.BACKOFF, m.Activity.LEASED, m.Activity.WAITING)
        timers = obligations(run).timers
        kind = kind if kind in timers or not timers else sorted(timers)[index % len(timers)]
        due_at = timers.get(kind, self.world.now)
        if wait:
            self.world.now = max(self.world.now, due_at)
        step = run.step.step_id if run.step else 0
        fired = self.world.submit(run.run_id, i.TimerFired(kind, due_at, step, run.step.attempt if run.step else 0))
        due = kind in timers and self.world.now >= due_at
        if kind is not i.TimerKind.HEARTBEAT:
            assert isinstance(fired, Decision) == due, "a timer is taken when it is due, and only then"

    @act(right=st.booleans())
    def resume(self, index: int, right: bool) -> None:
        run = self.pick(index, m.Activity.WAITING)
        payload = Leaf.of(f"answer {next(self.world.numbers)}")
        wait_id = run.waiting.wait_id if run.waiting and right else index
        answer = self.world.submit(run.run_id, i.Resume(wait_id, not right, payload))
        named = run.waiting is not None and wait_id in (0, run.waiting.wait_id)
        assert named or isinstance(answer, Rejection), "an answer ends the wait that it names"
        if isinstance(answer, Decision):
            assert run.waiting is not None
            self.world.check_answers(run.run_id, payload, run.waiting.wait_id)

    @act(name=NAMES, scope=SCOPES)
    def emit(self, index: int, name: str, scope: m.EventScope) -> None:
        """A client emits: often what a run waits for."""
        run = self.pick(index, m.Activity.WAITING)
        scope_id = {m.EventScope.SESSION: "session-1", m.EventScope.GLOBAL: ""}.get(scope, run.run_id)
        if run.waiting is not None and run.waiting.event_name and index % 3:
            scope, scope_id = run.waiting.event_scope, run.waiting.event_scope_id
            name = name if run.waiting.event_name == "*" else run.waiting.event_name
        event_id = f"event-{index if index % 4 == 0 else next(self.world.numbers)}"
        self.world.emit(EventAppend(scope, scope_id, name, event_id, Leaf(b"{}"), self.world.now))

    @act()
    def offer(self, index: int) -> None:
        """Somebody offers any event to any wait: only one that the wait may have is taken."""
        if self.world.events:
            run = self.pick(index, m.Activity.WAITING)
            self.world.offer(run.run_id, self.world.events[index % len(self.world.events)])

    @act()
    def listen_again(self, index: int) -> None:
        """A run that hears events in a loop: it gets one, and waits for the next of the same key, or of all."""
        run = self.pick(index, m.Activity.WAITING)
        if run.waiting is None or not run.waiting.event_name or not self.world.match(run.run_id):
            return
        asked = m.WaitEvent("*" if index % 5 == 0 else run.waiting.event_name, run.waiting.event_scope)
        again = [ready for ready in self.world.tasks(leased=False) if ready.run_id == run.run_id]
        if again:
            self.hand_out(again[0])
            self.world.report(self.world.tokens[-1], m.StepPlan(effect=m.Effect("own", asked), next_node="a"), None)
            self.world.take_turn(self.world.runs[run.run_id])
            self.world.match(run.run_id)

    @act(late=PLANS)
    def zombie(self, index: int, late: m.StepPlan) -> None:
        """A worker loses its lease, another one gets the step, and the first one reports all the same."""
        leased = self.world.tasks(leased=True)
        if not leased:
            return
        run = leased[index % len(leased)]
        token = self.world.token_of(run)
        self.world.submit(run.run_id, i.LeaseLapsed(token.step_id, token.attempt))
        again = [ready for ready in self.world.tasks(leased=False) if ready.run_id == run.run_id]
        if again and index % 3:
            self.hand_out(again[0])
        self.send(token, late, None, False, waits=False)

    @act(late=PLANS, twice=st.booleans())
    def cancel_under_way(self, index: int, late: m.StepPlan, twice: bool) -> None:
        """A run is cancelled in the middle of an attempt, and the attempt is reported all the same."""
        leased = self.world.tasks(leased=True)
        if not leased or index % 3 == 0:
            return
        token = self.world.token_of(leased[index % len(leased)])
        self.world.submit(token.run_id, i.Cancel("enough"))
        for _ in range(1 + twice):
            self.send(token, late, None, False, waits=False)

    @act(how=st.sampled_from(["lapse", "start_to_close", "heartbeat"]))
    def die_after_begin(self, index: int, how: str) -> None:
        """A worker gets an irreversible effect, begins it and is not heard of again."""
        ready = [run for run in self.world.tasks(leased=False) if run.step is not None and run.step.effect is None]
        if not ready:
            return
        run_id = ready[index % len(ready)].run_id
        self.hand_out(self.world.runs[run_id])
        effect = m.Effect("remote", REMOTE, "k", RETRY, TIMEOUTS, risk=m.Risk.IRREVERSIBLE)
        plan = m.StepPlan(effect=effect, next_node="a")
        self.world.report(self.world.token_of(self.world.runs[run_id]), plan, None)
        if not obligations(self.world.runs[run_id]).task:
            return
        self.hand_out(self.world.runs[run_id])
        token = self.world.token_of(self.world.runs[run_id])
        self.world.submit(token.run_id, i.EffectBegun(token.step_id, token.attempt))
        if how == "lapse":
            self.world.submit(token.run_id, i.LeaseLapsed(token.step_id, token.attempt))
            return
        self.world.now += 60 * S
        kind = i.TimerKind[how.upper()]
        self.world.submit(token.run_id, i.TimerFired(kind, self.world.now, token.step_id, token.attempt))

    @act()
    def deliver(self, index: int) -> None:
        if self.world.mail:
            self.world.deliver(self.world.mail[index % len(self.world.mail)])

    @act()
    def cancel(self, index: int) -> None:
        if index % 3 == 0:
            assert isinstance(self.world.submit(self.pick(index // 3).run_id, i.Cancel("enough")), Decision)

    @act(pause=st.booleans())
    def pause(self, index: int, pause: bool) -> None:
        """Somebody pauses a run, or unpauses all that are paused."""
        paused = [run for run in self.world.runs.values() if run.paused]
        runs = paused if paused and not pause else [self.pick(index)]
        for run in runs:
            taken = self.world.submit(run.run_id, i.Pause() if pause else i.Unpause())
            assert isinstance(taken, Decision) != run.ended
            held = self.world.runs[run.run_id]
            if held.paused and held.step is not None:
                for start in (i.StepLeased(held.step.step_id, "worker-1"), i.TurnTaken(held.step.step_id)):
                    assert isinstance(self.world.submit(run.run_id, start), Rejection), "nothing starts while paused"

    @act(steps=st.integers(0, 3))
    def tick(self, index: int, steps: int) -> None:
        run = self.pick(index, m.Activity.IDLE)
        taken = self.world.submit(run.run_id, i.TickBudget(steps))
        assert isinstance(taken, Decision) == (run.drive is m.Drive.MANUAL and not run.ended)

    @act(resolution=st.sampled_from(Resolution))
    def resolve(self, index: int, resolution: Resolution) -> None:
        run = self.pick(index, m.Activity.PARKED)
        step_id = run.step.step_id if run.step else 1
        node = run.step is None or run.step.effect is None
        plan = m.StepPlan(next_node="a") if node and resolution is Resolution.COMPLETED else None
        taken = self.world.submit(run.run_id, i.ResolveStep(step_id, resolution, plan=plan))
        assert isinstance(taken, Decision) == (run.activity is m.Activity.PARKED)

    @act(from_node=st.booleans(), pause=st.booleans(), repair=st.booleans())
    def retry(self, index: int, from_node: bool, pause: bool, repair: bool) -> None:
        """Somebody opens a run again; most of the time one that failed."""
        runs = list(self.world.runs.values())
        failed = [run for run in runs if run.status is m.RunStatus.FAILED] if index % 8 else []
        run = (failed or runs)[index % len(failed or runs)]
        ops = (m.VarsOp("/repaired", "set", Leaf.of(index)),) if repair else ()
        if sum(not other.ended for other in runs) < 4:
            later = self.world.now + 60 * S if run.deadline_at else 0
            retried(self.world, run, i.Retry(ops, from_node, later, pause))

    @act(mapped=st.booleans())
    def migrate(self, index: int, mapped: bool) -> None:
        """Somebody moves a run to the other version of its workflow."""
        migrated(self.world, self.pick(index), mapped=mapped)

    @rule(seconds=st.integers(-30, 60))
    def clock(self, seconds: int) -> None:
        self.world.now += seconds * S

    @rule()
    def crash(self) -> None:
        self.world.restart()

    @invariant()
    def every_result_is_merged_once(self) -> None:
        self.world.check_merged()

    @invariant()
    def children_are_known_until_their_end_is_told(self) -> None:
        told = {(mail.to_run_id, mail.from_run_id) for mail in self.world.mail if mail.kind is MailKind.CHILD_ENDED}
        for run in self.world.runs.values():
            for child_id in run.children:
                child = self.world.runs[child_id]
                assert not child.ended or (run.run_id, child_id) in told

    def teardown(self) -> None:
        """Whatever happened: once everybody does their part, every run ends, and nothing is left over."""
        if not self.world.runs:
            return
        self.world.restart()
        for _ in range(400):
            if all(run.ended for run in self.world.runs.values()) and not self.world.mail:
                break
            for run_id in list(self.world.runs):
                self.help_along(run_id)
            for mail in list(self.world.mail):
                self.world.deliver(mail)
        stuck = {run.run_id: (run.activity.name, run.waiting) for run in self.world.runs.values() if not run.ended}
        assert not stuck
        assert not self.world.mail
        self.world.check_merged()

    def help_along(self, run_id: str) -> None:
        """What is missing for one run to go on."""
        world, run = self.world, self.world.runs[run_id]
        if run.ended:
            return
        if run.paused:
            world.submit(run_id, i.Unpause())
        elif run.activity is m.Activity.QUEUED:
            self.do_step(run)
        elif run.activity is m.Activity.LEASED and run.step is not None:
            world.submit(run_id, i.LeaseLapsed(run.step.step_id, run.step.attempt))
        elif run.activity is m.Activity.PARKED and run.step is not None:
            world.submit(run_id, i.ResolveStep(run.step.step_id, Resolution.FAILED))
        elif run.activity is m.Activity.IDLE:
            world.submit(run_id, i.TickBudget(1))
        elif run.activity is m.Activity.BACKOFF:
            kind = min(obligations(run).timers.keys() & {i.TimerKind.START, i.TimerKind.RETRY})
            world.now = max(world.now, obligations(run).timers[kind])
            assert isinstance(world.submit(run_id, i.TimerFired(kind, 0)), Decision)
        elif run.join is not None:
            if obligations(run).turn is False:
                world.take_turn(run)
        elif not world.match(run_id) and run.waiting is not None and not run.waiting.child_run_id:
            assert isinstance(world.submit(run_id, i.Resume(run.waiting.wait_id, False, Leaf(b"1"))), Decision)

    def do_step(self, run: m.RunState) -> None:
        """A worker, or the server, does the due step and ends the run as soon as it can."""
        assert run.step is not None
        if run.step.server_side:
            self.world.take_turn(run)
            return
        assert isinstance(self.world.submit(run.run_id, i.StepLeased(run.step.step_id, "worker-9")), Decision)
        token = self.world.tokens[-1]
        if token.effect:
            self.world.submit(run.run_id, i.EffectBegun(token.step_id, token.attempt))
            self.world.report(token, self.result(), None)
        else:
            self.world.report(token, m.StepPlan(complete_output=Leaf(b"{}")), None)


def promises(test: Callable[[], None]) -> Callable[[], None]:
    """Marks a test with the promises that the machine holds."""
    for number in ("P1", "P3", "P5", "P6", "P7"):
        test = pytest.mark.promise(number)(test)
    return test


def run_machine(examples: int) -> None:
    """Plays `examples` random interleavings of at most 100 steps."""
    chosen = settings(max_examples=examples, stateful_step_count=100, suppress_health_check=[HealthCheck.too_slow])
    run_state_machine_as_test(Interleavings, settings=chosen)


@pytest.mark.timeout(900)
@promises
def test_no_interleaving_breaks_a_promise() -> None:
    run_machine(min(settings().max_examples, 60))
