"""The ledger of a process: admission of streams, verification of runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perdure_server.engine.errors import InvalidCursorError, RunNotFoundError, TooManyStreamsError
from perdure_server.kernel.limits import DEFAULT_LIMITS
from perdure_server.kernel.model import RunStatus
from perdure_server.ledger.reads import AfterCursor
from perdure_server.ledger.selection import ScopeKind
from perdure_server.storage.port import RunKey, StoreError
from tests.ledger.rig import HeldStore, Rig, running, select, subscribe_to
from tests.ledger.writer import COMPLETED, ENDS, STARTED, RunLedger


@pytest.mark.promise("P10")
async def test_a_caller_has_only_so_many_streams() -> None:
    rig = Rig(limits=replace(DEFAULT_LIMITS, streams_per_caller=2))
    async with running(rig), rig.subscription(caller="me"), rig.subscription(caller="me") as second:
        with pytest.raises(TooManyStreamsError) as caught:
            await rig.ledger.subscribe(subscribe_to(), "me")
        assert caught.value.retry_after_us > 0
        async with rig.subscription(caller="you"):
            assert rig.ledger.open_streams == 3
        second.subscription.close()
        second.subscription.close()
        async with rig.subscription(caller="me"):
            assert rig.ledger.open_streams == 2


async def test_a_stream_that_is_refused_takes_no_slot() -> None:
    rig = Rig(limits=replace(DEFAULT_LIMITS, streams_per_caller=1))
    async with running(rig):
        for _ in range(3):
            with pytest.raises(InvalidCursorError):
                await rig.ledger.subscribe(subscribe_to(start=AfterCursor("x")), "me")
        async with rig.subscription():
            assert rig.ledger.open_streams == 1


async def test_a_run_that_does_not_exist_cannot_be_followed() -> None:
    async with running(Rig()) as rig:
        rig.commit(RunLedger("a", namespace="other"), STARTED)
        with pytest.raises(RunNotFoundError) as caught:
            await rig.ledger.subscribe(subscribe_to(select(ScopeKind.RUN, "a")), "me")
        assert (caught.value.field, caught.value.metadata) == ("scope.run_id", {"run_id": "a"})


async def test_a_store_that_fails_ends_the_stream_with_its_error() -> None:
    async with running(Rig()) as rig:
        rig.commit(RunLedger("a"), STARTED)
        async with rig.subscription() as stream:
            await stream.read_until("subscribed")
            rig.store.failing = True
            with pytest.raises(StoreError):
                await stream.read_until("caught_up")
        assert rig.ledger.open_streams == 0


@pytest.mark.promise("P9")
async def test_an_intact_run_is_verified() -> None:
    rig = Rig(HeldStore(page_records=2))
    async with running(rig):
        ledger = RunLedger("a")
        rig.commit(ledger, STARTED, COMPLETED)
        rig.commit(RunLedger("b"), STARTED)
        rig.commit(ledger, COMPLETED, COMPLETED, ENDS)
        verified = await rig.ledger.verify_run(ledger.key)
    assert verified.report.intact
    assert (verified.report.seq, verified.report.head_hash) == (5, ledger.head_hash)
    assert verified.status == RunStatus.COMPLETED


@pytest.mark.promise("P9")
async def test_a_tampered_run_is_found() -> None:
    rig = Rig(HeldStore(page_records=2))
    async with running(rig):
        ledger = RunLedger("a")
        rig.commit(ledger, STARTED, COMPLETED, COMPLETED, COMPLETED)
        rig.store.records[3] = replace(rig.store.records[3], record=b"\x0a\x01a\x10\x04")
        verified = await rig.ledger.verify_run(ledger.key)
    assert (verified.report.intact, verified.report.first_bad_seq) == (False, 4)


async def test_an_unknown_run_cannot_be_verified() -> None:
    async with running(Rig()) as rig:
        with pytest.raises(RunNotFoundError):
            await rig.ledger.verify_run(RunKey("default", "nobody"))
