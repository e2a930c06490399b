"""One cursor chain of an observer, over many streams."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from random import Random

from perdure import Client, LedgerScope
from perdure.client import Connecting
from perdure.errors import NotFound
from perdure.subscription import SubscribeOptions
from tests.faults.link import pause
from tests.robustness.checker.testimony import StreamedRecord
from tests.robustness.kill_loop.witness import Witness

LONGEST_READ_S = 4.0
CHECKPOINT_S = 2.0


class Chain:
    """One subscriber.

    Args:
        name: of the chain, for the witness.
        scope: what it follows.
        targets: of its connections; each goes to one of them.
        witness: gets each record.
        longest_read_s: how long a stream lasts at most before it is broken off; None: none is.

    Attributes:
        streams: how many it has opened.
    """

    def __init__(
        self,
        name: str,
        scope: LedgerScope,
        targets: Sequence[str],
        namespace: str,
        witness: Witness,
        dice: Random,
        longest_read_s: float | None = LONGEST_READ_S,
    ) -> None:
        self._name = name
        self._scope = scope
        self._targets = targets
        self._namespace = namespace
        self._witness = witness
        self._dice = dice
        self._longest_read_s = longest_read_s
        self._cursor = ""
        self.streams = 0

    async def follow(self, finish: asyncio.Event) -> None:
        """Over many streams and some connections; once `finish` is set, to the end of what exists."""
        while not finish.is_set():
            async with self._connected() as client:
                for _ in range(self._dice.randint(1, 5)):
                    await self._read_for_a_while(client, finish)
        async with self._connected() as client:
            while not await self._read(client, to_the_end=True):
                await pause(0.1)

    async def _read_for_a_while(self, client: Client, finish: asyncio.Event) -> None:
        reading = asyncio.create_task(self._read(client, to_the_end=False))
        finishing = asyncio.create_task(finish.wait())
        timeout = self._dice.uniform(0.1, self._longest_read_s) if self._longest_read_s else None
        await asyncio.wait({reading, finishing}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            reading.result()
        for task in (reading, finishing):
            task.cancel()
        await asyncio.gather(reading, finishing, return_exceptions=True)

    async def _read(self, client: Client, *, to_the_end: bool) -> bool:
        """Reads one subscription; False if there is nothing to subscribe to yet."""
        options = SubscribeOptions(
            checkpoint_interval=CHECKPOINT_S, view="record_bytes", stop_when_caught_up=to_the_end
        )
        if self._cursor:
            options["after_cursor"] = self._cursor
        with suppress(NotFound):
            async with client.subscribe(self._scope, **options) as subscription:
                self.streams += 1
                async for batch in subscription.batches():
                    for entry in batch.entries:
                        record = StreamedRecord(self._name, entry.run_id, entry.seq, entry.position, entry.record_hash)
                        self._witness.streamed(record)
                    self._cursor = batch.cursor
            return True
        await pause(0.2)
        return False

    def _connected(self) -> Connecting:
        return Client.connect(self._dice.choice(self._targets), namespace=self._namespace, connect_timeout=None)
