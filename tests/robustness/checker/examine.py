"""The whole examination: an export, and what clients were told."""

from __future__ import annotations

from tests.robustness.checker.ending_laws import ending_findings
from tests.robustness.checker.event_laws import event_findings
from tests.robustness.checker.export import Export
from tests.robustness.checker.finding import Finding
from tests.robustness.checker.step_laws import step_findings
from tests.robustness.checker.testimony import Testimony
from tests.robustness.checker.told import told_findings
from tests.robustness.checker.tree_laws import tree_findings
from tests.robustness.checker.wait_laws import wait_findings


def examine(export: Export, testimony: Testimony) -> list[Finding]:
    """Everything that is not as promised; empty is good."""
    ledger, findings = export.opened()
    for run_id, records in ledger.items():
        findings += step_findings(run_id, records)
        findings += wait_findings(run_id, records, export.events, export.at)
        findings += event_findings(run_id, records, export.events)
    findings += tree_findings(ledger)
    findings += ending_findings(testimony, ledger)
    findings += told_findings(testimony, ledger, export.events)
    return findings
