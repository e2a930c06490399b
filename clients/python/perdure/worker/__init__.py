"""The worker: serves nodes and effects over one stream."""
