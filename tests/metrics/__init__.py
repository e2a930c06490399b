"""Metrics and probes of a process."""
