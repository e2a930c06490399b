"""`python -m perdure_server.cli` is the same as `perdure`."""

from perdure_server.cli import main

main()
