"""The fault kit: a TCP proxy that a test puts between two programs, and that misbehaves as networks do."""
