"""The journal store: the state in memory, every change of it a line of a JSONL file, one flush a batch."""
