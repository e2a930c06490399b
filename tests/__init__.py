"""The test suites, one folder each; `make help` names the verb that runs each."""
