"""The kill loop: real clients keep servers busy while servers and workers are killed, stopped and restarted; then a
checker judges by what the clients were told and by the exported ledger."""
