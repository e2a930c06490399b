"""`perdure doctor`: is the server reachable, mine to use, sound, and able to move its runs?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from perdure_server.cli.invocation import CONNECT_S, Session, connected
from perdure_server.cli.output import Column
from perdure_server.cli.refusals import FAILED, UNREACHABLE, refusal
from perdure_server.cli.wording import now, short_span

if TYPE_CHECKING:
    from perdure import Client
    from perdure.admin_calls import ServerInfo
    from perdure.errors import PerdureError

SKEW_WARNING: Final = timedelta(seconds=1)
SKEW_PROBLEM: Final = timedelta(seconds=60)
_SHOWN_FINDINGS: Final = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found, and what to do about it ("" when all is well)."""

    check: str
    state: Literal["ok", "warning", "problem"]
    detail: str
    advice: str = ""


@connected
async def doctor(
    session: Session,
    audit: Annotated[bool, typer.Option("--audit/--no-audit", help="Compare every run with its ledger.")] = True,
) -> int:
    """Check everything between this terminal and the runs, and say what to do about each finding.

    Exit code 1 if there is a problem, 3 if the server cannot be reached.
    """
    findings: list[Finding] = []

    async def noted() -> AsyncIterator[Finding]:
        async for finding in examined(session, audit=audit):
            findings.append(finding)
            yield finding

    columns: list[Column[Finding]] = [
        Column("CHECK", lambda each: each.check),
        Column("STATE", lambda each: each.state, is_status=True),
        Column("FOUND", lambda each: each.detail, may_fold=True),
        Column("WHAT TO DO", lambda each: each.advice, may_fold=True),
    ]
    await session.output.rows(noted(), columns, none="nothing was checked")
    problems = {each.check for each in findings if each.state == "problem"}
    if "reachable" in problems:
        return UNREACHABLE
    return FAILED if problems else 0


async def examined(session: Session, *, audit: bool) -> AsyncIterator[Finding]:
    """All checks, in the order in which one depends on the other; stops where the next ones cannot be made."""
    from perdure.errors import PerdureError

    try:
        async with session.connect() as client:
            yield Finding("reachable", "ok", f"{session.settings.address} answers")
            yield transport(session)
            try:
                asked_at = now()
                info = await client.get_server_info()
                answered_at = now()
            except PerdureError as error:
                yield failed("access", error)
                return
            yield Finding("access", "ok", f"accepted as a caller of namespace {session.settings.namespace!r}")
            yield versions(info)
            yield store(info)
            yield clock_skew(info, asked_at, answered_at)
            yield await health(client)
            try:
                async for finding in runs(client, audit=audit):
                    yield finding
            except PerdureError as error:
                yield failed("runs", error)
    except PerdureError:
        yield await unreachable(session)


def failed(check: str, error: PerdureError) -> Finding:
    """A check that was refused."""
    why = refusal(error)
    return Finding(check, "problem", f"{why.reason}: {why.message}", why.advice)


async def unreachable(session: Session) -> Finding:
    """Why nobody answers: nothing listens there, or it listens but does not speak what is expected."""
    import asyncio

    host, _, port = session.settings.address.rpartition(":")
    speaks_tls = "with TLS" if session.settings.tls_config() else "without TLS"
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, TimeoutError, ValueError) as cause:
        advice = "start it with `perdure serve`, or name another server with --address or PERDURE_ADDRESS"
        return Finding("reachable", "problem", f"nothing listens at {session.settings.address}: {cause}", advice)
    writer.close()
    detail = f"something listens at {session.settings.address}, but not Perdure {speaks_tls}"
    advice = "if the server has --tls-cert, connect with --ca FILE (or --tls), and --cert and --key if it asks"
    return Finding("reachable", "problem", detail, advice)


def transport(session: Session) -> Finding:
    """Whether what is said can be overheard."""
    settings = session.settings
    if settings.tls_config() is not None:
        return Finding("transport", "ok", "TLS")
    host = settings.address.rpartition(":")[0].strip("[]") or settings.address
    if host in {"127.0.0.1", "localhost", "::1"} or settings.address.startswith("unix:"):
        return Finding("transport", "ok", "plain text, to this machine only")
    advice = "start the server with --tls-cert and --tls-key, and connect with --ca"
    return Finding("transport", "warning", f"plain text to {host}", advice)


def versions(info: ServerInfo) -> Finding:
    """Whether command and server are of the same release."""
    from importlib.metadata import version

    mine = version("perdure")
    detail = f"server {info.server_version}, this command {mine}, up {short_span(timedelta(seconds=info.uptime))}"
    if info.server_version.split(".")[:2] == mine.split(".")[:2]:
        return Finding("versions", "ok", detail)
    return Finding("versions", "warning", detail, "install the same release on both sides")


def store(info: ServerInfo) -> Finding:
    """What keeps the runs."""
    features = "; ".join(f"{name}: {text}" for name, text in sorted(info.store_features.items()))
    detail = f"{info.store_kind}, epoch {info.store_epoch[:12]}" + (f"; {features}" if features else "")
    if info.store_kind == "memory":
        advice = "for anything but tests, start with --store sqlite:///FILE or file:FOLDER"
        return Finding("store", "warning", f"{detail}; everything is lost when the server stops", advice)
    return Finding("store", "ok", detail)


def clock_skew(info: ServerInfo, asked_at: datetime, answered_at: datetime) -> Finding:
    """How far the server's clock is from this machine's; the way there and back is not counted."""
    early, late = asked_at - info.server_time, info.server_time - answered_at
    skew = max(early, late, timedelta(0))
    side = "behind" if early > late else "ahead of"
    if skew < SKEW_WARNING:
        return Finding("clocks", "ok", "the server's clock and this machine's agree")
    detail = f"the server's clock is {short_span(skew)} {side} this machine's"
    advice = "set both by NTP: start times and deadlines are instants of the server's clock"
    return Finding("clocks", "problem" if skew >= SKEW_PROBLEM else "warning", detail, advice)


async def health(client: Client) -> Finding:
    """What the server says of its own readiness."""
    import grpc.aio
    from grpc_health.v1 import health_pb2

    check = client.connection.channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    try:
        reply = await check(health_pb2.HealthCheckRequest(), timeout=CONNECT_S)
    except grpc.aio.AioRpcError as error:
        detail = f"the health check says {error.code().name}: {error.details()}"
        return Finding("health", "warning", detail, "see the server's log")
    if reply.status == health_pb2.HealthCheckResponse.SERVING:
        return Finding("health", "ok", "serving")
    word = health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)
    return Finding("health", "problem", word, "the server drains or its store does not answer: see its log")


async def runs(client: Client, *, audit: bool) -> AsyncIterator[Finding]:
    """Whether the runs of the namespace can move, and are what their ledgers say."""
    from perdure.runs import RunFilter

    open_statuses = ("running", "waiting")
    counted = await client.count_runs(RunFilter(statuses=open_statuses))
    workers = await client.list_workers()
    queued = await client.count_runs(RunFilter(activities=("queued",)))
    parked = await client.count_runs(RunFilter(activities=("parked",)))
    yield Finding("runs", "ok", f"{'at least ' if counted.at_least else ''}{counted.count} have not ended")
    if workers or not queued.count:
        holding = sum(worker.held_tasks for worker in workers)
        yield Finding("workers", "ok", f"{len(workers)} connected, {holding} tasks in their hands")
    else:
        advice = "start a worker for them; `perdure run list --activity queued` shows them"
        yield Finding("workers", "warning", f"none connected, and {queued.count} runs have work to hand out", advice)
    if parked.count:
        advice = "`perdure run list --activity parked` shows them; `perdure run resolve RUN_ID` decides about each"
        yield Finding("parked", "warning", f"{parked.count} runs cannot go on by themselves", advice)
    if audit:
        async for finding in audited(client):
            yield finding


async def audited(client: Client) -> AsyncIterator[Finding]:
    """Every run compared with its ledger."""
    found = await client.audit_all_runs()
    scope = f"{found.runs_checked} runs, {found.records_checked} records"
    if not found.findings:
        yield Finding("audit", "ok", f"{scope}: state, rows and hash chains agree with the ledgers")
        return
    advice = "stop the server, keep a copy of the store, and report this; `perdure ledger show RUN_ID` has the records"
    for each in found.findings[:_SHOWN_FINDINGS]:
        place = f" at record {each.seq}" if each.seq else ""
        yield Finding("audit", "problem", f"run {each.run_id}{place}: {each.kind}: {each.detail}", advice)
    more = len(found.findings) - _SHOWN_FINDINGS
    if more > 0:
        yield Finding("audit", "problem", f"{scope}: {more} more findings", advice)
