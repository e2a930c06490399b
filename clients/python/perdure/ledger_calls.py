"""LedgerService as typed methods."""

from __future__ import annotations

from perdure.calls import Calls
from perdure.ledger import RECORD_VIEWS, LedgerEntry, LedgerFilter, LedgerScope, RecordView, Verification
from perdure.pages import Page, Pages
from perdure.v1 import ledger_service_pb2 as pb
from perdure.values import RunStatus


class LedgerCalls(Calls):
    """LedgerService without its stream, which is `Client.subscribe`. Reading never changes a run."""

    def list_records(
        self,
        scope: LedgerScope | str,
        *,
        filter: LedgerFilter | None = None,
        after_seq: int = 0,
        view: RecordView = "record",
        page_size: int = 0,
    ) -> Pages[LedgerEntry]:
        """Records of a scope (a string is a run id) as of now, in position order. An unknown run has none.

        `after_seq` is for the scope of one run.
        """
        wanted = filter.to_wire() if filter is not None else None
        whose = LedgerScope.of(scope).message

        async def fetch(page_token: str) -> Page[LedgerEntry]:
            request = pb.ListRecordsRequest(
                namespace=self._connection.namespace,
                scope=whose,
                filter=wanted,
                view=RECORD_VIEWS[view],
                page_size=page_size,
                page_token=page_token,
                after_seq=0 if page_token else after_seq,
            )
            reply = await self._connection.unary(self._ledger.ListRecords, request)
            return Page([LedgerEntry.from_wire(entry) for entry in reply.entries], reply.next_page_token)

        return Pages(fetch)

    async def verify_run(self, run_id: str) -> Verification:
        """Has the server recompute the hash chain and every payload commitment of a run.

        Raises:
            NotFound: RUN_NOT_FOUND.
        """
        request = pb.VerifyRunRequest(namespace=self._connection.namespace, run_id=run_id)
        reply = await self._connection.unary(self._ledger.VerifyRun, request)
        return Verification(
            intact=reply.intact,
            seq=reply.seq,
            head_hash=reply.head_hash,
            first_bad_seq=reply.first_bad_seq,
            problem=reply.problem,
            status=RunStatus.from_wire(reply.status),
        )
