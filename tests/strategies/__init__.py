"""Hypothesis strategies that suites share."""
