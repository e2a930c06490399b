"""The ledger layer: chain, cursors, tailer, subscriptions."""
