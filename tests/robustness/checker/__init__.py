"""Judges a store by what clients were told and by its exported ledger, and by nothing else.

It shares no code with the server: hashes, keys and rules are written again here from the contract.
"""
