"""The Faust shell: app, agents, delivery guards, staging, merge queue."""
