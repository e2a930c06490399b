"""Real processes: server, workers, hosts in other languages, kill -9."""
