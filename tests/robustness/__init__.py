"""Robustness suites: a real server process that is killed, traced, flooded and told nonsense."""
