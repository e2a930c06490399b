"""Crash enumeration: one script, killed after (or in place of) each of its commits, must end in the same ledgers."""
