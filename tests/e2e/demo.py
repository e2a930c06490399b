"""`make demo`: two orders survive `kill -9` of the server, wait for people, are charged once, and end.

    python -m tests.e2e.demo

Everything is real: `perdure serve` on SQLite, a Python worker, the `perdure` command, a Node program with nothing
but generated code. Everything that the server acknowledged, in replies and in the live ledger, is written down as
it comes and compared with the ledger afterwards. Exit code 1 if anything is lost.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from perdure import Client, LedgerEntry, LedgerScope, PerdureError, RunFilter, Subscription
from tests.conformance.node_programs import NodeProgramError, install_packages, node_is_here, run_program
from tests.e2e.evidence import Evidence, statement_problems
from tests.e2e.outside import Call, Outside
from tests.e2e.processes import Program, ProgramError, Server, run_perdure, running
from tests.e2e.stage import Stage

ALPHA, BETA = "order-alpha", "order-beta"
ORDERS = {
    ALPHA: {"amount": 120, "items": ["lamp", "shade"], "remind_after_seconds": 6.0},
    BETA: {"amount": 40, "items": ["book"], "remind_after_seconds": 6.5},
}


@dataclass
class Bank:
    """The world outside: closed when it is first asked about an order, and slow to answer when it is charged."""

    outside: Outside
    charges: asyncio.Queue[Call] = field(default_factory=asyncio.Queue[Call])
    _asked: set[str] = field(default_factory=set[str])

    async def work(self) -> None:
        """Says "closed" to the first question about an order, "open" to the next; keeps charges for later."""
        while True:
            call = await self.outside.call(timeout=3600)
            if call.asked["ask"] == "charge":
                self.charges.put_nowait(call)
                continue
            order = str(call.asked["order"])
            await call.answer({"open": order in self._asked})
            self._asked.add(order)


class LiveLedger:
    """The live ledger of everything, written down as it comes, from before the crash to the end."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._news = asyncio.Condition()

    async def follow(self, subscription: Subscription) -> None:
        """Reads for as long as it is left to."""
        async for entry in subscription:
            async with self._news:
                self._evidence.streamed(entry)
                self._news.notify_all()

    async def shows(self, run_id: str, kind: str, node_id: str = "", times: int = 1) -> None:
        """Returns once such records of a run have been streamed."""

        def count() -> int:
            seen = self._evidence.kinds[run_id]
            return sum(each == kind and node_id in {"", node} for each, node in seen)

        async with asyncio.timeout(30), self._news:
            await self._news.wait_for(lambda: count() >= times)


@dataclass
class Play:
    """Everything on stage."""

    stage: Stage
    folder: Path
    bank: Bank
    evidence: Evidence
    live: LiveLedger
    server: Server
    worker: Program
    client: Client

    @property
    def store(self) -> str:
        """The store's URL."""
        return f"sqlite:///{self.folder}/orders.sqlite"

    @property
    def statement(self) -> Path:
        """The bank's statement."""
        return self.folder / "statement.jsonl"

    async def command(self, *arguments: str) -> Program:
        """Shows a `perdure` command and what it prints."""
        self.stage.command("perdure", *arguments)
        program = await run_perdure(*arguments, address=self.server.address, environment=self.stage.terminal())
        self.stage.output(program.lines)
        if await program.ended() != 0:
            self.stage.failures.append(f"`perdure {' '.join(arguments)}` failed")
        return program


async def orders_begin(play: Play) -> None:
    """Two orders come to their question; one is approved, and its charge begins."""
    play.stage.act("Two orders come in and ask for a person's approval")
    for order, content in ORDERS.items():
        reply = await play.client.start_run("order", content, run_id=order, labels={"demo": "yes"})
        play.evidence.replied("start", order, reply.seq)
        await play.live.shows(order, "waiting", "approve")
        play.stage.say(f"[bold]{order}[/] over {content['amount']} EUR waits; a reminder runs beside it")
    await play.command("inbox")

    play.stage.act(f"{BETA} is approved; the bank is closed at first, then takes the charge")
    await approve_with_command(play, BETA, "ada")
    await play.live.shows(BETA, "step_begun", "charge")
    call = await play.bank.charges.get()
    play.stage.say("the charge is [bold]irreversible[/]: the server noted its beginning before the worker acted")
    play.stage.say(f"it is at the bank now, under the key {call.asked['key']}")
    play.bank.charges.put_nowait(call)


async def approve_with_command(play: Play, order: str, person: str) -> None:
    """Answers an order's question with the `perdure` command, and notes what it acknowledged."""
    program = await play.command("run", "resume", order, "approve", "--by", person)
    told = re.search(r"at record (\d+)", "\n".join(program.lines))
    if told is None:
        raise program.error("did not tell at which record the answer stands")
    play.evidence.replied("resume", order, int(told.group(1)))


async def server_dies(play: Play) -> None:
    """SIGKILL while one order waits and another's charge is at the bank; a reminder falls due meanwhile."""
    play.stage.act("The server is killed with SIGKILL")
    reminders = await play.client.list_runs(RunFilter(workflow_id="reminder")).all()
    seen = play.evidence.record_count
    await play.server.kill()
    play.stage.say(
        f"server (pid {play.server.pid}) is dead: no farewell, no flush; {seen} records were streamed so far"
    )
    due = [run.waiting.until for run in reminders if run.waiting is not None and run.waiting.until is not None]
    play.stage.say(f"{ALPHA} waits for a person, {BETA} has a charge in flight, {len(due)} of 2 reminder timers run")
    call = await play.bank.charges.get()
    await call.answer({"charged": call.asked["amount"], "currency": "EUR"})
    play.stage.say("meanwhile the bank answers the worker, who has nobody to tell")
    for instant in due:
        await until(instant)
    if due:
        play.stage.say("meanwhile the reminders fall due, with nobody to fire them")
    else:
        play.stage.warn("this machine was so slow that the reminders had fired before")


async def until(instant: datetime) -> None:
    """Returns at an instant of this machine's clock."""
    passed = asyncio.Event()
    delay = (instant - datetime.now(UTC)).total_seconds()
    asyncio.get_running_loop().call_later(max(delay, 0), passed.set)
    await passed.wait()


async def server_returns(play: Play) -> None:
    """A new process on the same file: everything goes on by itself."""
    play.stage.act("A new server on the same file")
    play.server = await Server.serve(play.store, listen=play.server.address)
    play.stage.say(f"server (pid {play.server.pid}) listens; worker and live ledger reconnect by themselves")
    await play.live.shows(BETA, "completed")
    play.stage.say(f"{BETA}: the worker's report of the charge was accepted, the parcel is packed, the order is done")
    for run in await play.client.list_runs(RunFilter(workflow_id="reminder")).all():
        await play.live.shows(run.run_id, "completed")
    play.stage.say("both reminders have fired, late ones at once")
    waiting = await play.client.get_run(ALPHA, view="basic")
    play.stage.check(f"{ALPHA} still waits for the same answer", [] if waiting.status == "waiting" else [str(waiting)])


async def person_approves(play: Play, *, with_node: bool) -> None:
    """The other order's answer, given by a program in another language."""
    if with_node:
        play.stage.act(f"{ALPHA} is approved by a Node program that has only the generated code")
        arguments = ("--address", play.server.address, "--run", ALPHA, "--answer", '"approve"')
        play.stage.command("node", "approve.mjs", *arguments)
        reply = await run_program("approve.mjs", *arguments)
        play.stage.output([json.dumps(reply)])
        play.evidence.replied("resume", reply["run_id"], reply["seq"])
    else:
        play.stage.act(f"{ALPHA} is approved with the perdure command")
        play.stage.warn("node and npm are not installed here, so the approval does not come from a Node program")
        await approve_with_command(play, ALPHA, "grace")
    call = await play.bank.charges.get()
    await call.answer({"charged": call.asked["amount"], "currency": "EUR"})
    await play.live.shows(ALPHA, "completed")


async def verdict(play: Play) -> None:
    """What is left at the end, compared with everything that was acknowledged."""
    play.stage.act("What it came to")
    await play.command("run", "tree", ALPHA)
    await play.command("ledger", "show", ALPHA)

    play.stage.act("Nothing is lost")
    runs = await play.client.list_runs().all()
    ledgers = {run.run_id: await play.client.list_records(run.run_id).all() for run in runs}
    records = sum(map(len, ledgers.values()))
    stage, evidence = play.stage, play.evidence
    acknowledged = f"{len(evidence.replies)} replies and {evidence.record_count} streamed records"
    stage.check(f"{acknowledged} are in the ledger, hash for hash", evidence.ledger_problems(ledgers))
    stage.check("the live ledger, across the crash, had no gap, repeat or disorder", evidence.stream_problems())
    missed = [run_id for run_id, entries in ledgers.items() if len(entries) != len(evidence.records[run_id])]
    stage.check(f"it showed all {records} records of {len(runs)} runs", [f"not all of run {each}" for each in missed])
    charges = {run_id: charge_keys(ledgers[run_id]) for run_id in ORDERS}
    again = [f"{run_id} has {len(keys)} charge results" for run_id, keys in charges.items() if len(keys) != 1]
    keys = {run_id: found[0] for run_id, found in charges.items() if found}
    once = again or statement_problems(play.statement, ORDERS, keys)
    stage.check("each order was charged exactly once, says the bank's own statement", once)
    stage.check("every run has completed", [f"{r.run_id} {r.status}" for r in runs if r.status != "completed"])
    stage.check("each charge was tried again before it began", retry_problems(ledgers))
    broken = [run_id for run_id in ledgers if not (await play.client.verify_run(run_id)).intact]
    stage.check("every hash chain and payload commitment verifies", [f"run {each} does not" for each in broken])
    audit = await play.client.audit_all_runs()
    stage.check("every state equals the fold of its ledger", [f"{f.run_id}: {f.detail}" for f in audit.findings])


def charge_keys(entries: list[LedgerEntry]) -> list[str]:
    """The idempotency key of each charge result in a ledger."""
    return [
        entry.record.idempotency_key
        for entry in entries
        if entry.record.step_completed.effect_type == "charge" and entry.record.step_completed.HasField("result")
    ]


def retry_problems(ledgers: dict[str, list[LedgerEntry]]) -> list[str]:
    """Orders whose charge step was not retried once, before the charge began, because the bank was closed."""
    problems: list[str] = []
    for run_id in ORDERS:
        begun = next((e.seq for e in ledgers[run_id] if e.kind == "step_begun"), 0)
        failed = [e.seq for e in ledgers[run_id] if e.record.step_completed.failure.type == "BANK_CLOSED"]
        if not (len(failed) == 1 and failed[0] < begun):
            problems.append(f"{run_id}: the bank was closed at records {failed}, the charge began at {begun}")
    return problems


async def perform(stage: Stage, folder: Path) -> None:
    """The whole play, with everything it starts ended at its end."""
    with_node = node_is_here()
    if with_node:
        await install_packages()
    stage.act("A server on SQLite, and a worker")
    server = await Server.serve(f"sqlite:///{folder}/orders.sqlite")
    async with running(server), Outside.open(folder / "bank.sock") as outside, Client.connect(server.address) as client:
        stage.say(f"server (pid {server.pid}) listens on {server.address}")
        worker = await Program.module("worker", "tests.e2e.order_worker", *worker_arguments(server, outside, folder))
        async with running(worker):
            await worker.line(lambda line: "ready" in line, "line that it is ready")
            stage.say(f"worker (pid {worker.pid}) serves the workflows order, reminder and packing")
            evidence = Evidence()
            play = Play(stage, folder, Bank(outside), evidence, LiveLedger(evidence), server, worker, client)
            try:
                async with client.subscribe(LedgerScope.all(), start="beginning") as subscription:
                    await acts(play, subscription, with_node=with_node)
                await leave(play)
            except (PerdureError, ProgramError, NodeProgramError, TimeoutError) as error:
                stage.failures.append(f"{type(error).__name__}: {error}")
                for program in (play.server, worker):
                    stage.warn(f"{program.name} (pid {program.pid}) said:")
                    stage.output(program.lines)
            finally:
                await play.server.kill()


def worker_arguments(server: Server, outside: Outside, folder: Path) -> list[str]:
    """The worker's command line."""
    statement = str(folder / "statement.jsonl")
    return ["--address", server.address, "--bank", str(outside.path), "--statement", statement]


async def acts(play: Play, subscription: Subscription, *, with_node: bool) -> None:
    """One after the other, while the bank works and the live ledger is read."""
    async with asyncio.TaskGroup() as group:
        background = [group.create_task(play.bank.work()), group.create_task(play.live.follow(subscription))]
        await orders_begin(play)
        await server_dies(play)
        await server_returns(play)
        await person_approves(play, with_node=with_node)
        await verdict(play)
        for task in background:
            task.cancel()


async def leave(play: Play) -> None:
    """Worker and server end when they are asked to."""
    codes = {program.name: await program.stop() for program in (play.worker, play.server)}
    play.stage.check("worker and server leave when asked", [f"{name}: exit code {c}" for name, c in codes.items() if c])


async def main() -> int:
    """The exit code of the demo."""
    stage = Stage()
    stage.title("Perdure demo: durable workflows survive kill -9")
    with tempfile.TemporaryDirectory(prefix="perdure-demo-") as folder:
        await perform(stage, Path(folder))
    return stage.close()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
