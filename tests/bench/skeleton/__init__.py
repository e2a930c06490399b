"""The bench baseline: an asyncio gRPC stream with batches and SQLite group commit.

Nothing else is in it: no validation, no ledger, no leases, no recovery. It is
the price of the two things that no durable runtime over gRPC can do without, so
the ratio to it is what Perdure's own work costs.
"""
