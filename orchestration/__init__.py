"""Job lifecycle: catalog, state machine, task handlers, settings, CLI, local stack."""
