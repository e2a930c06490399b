"""Dispatch: workers, streams, leases, claims; with the real engine over a store in memory."""
