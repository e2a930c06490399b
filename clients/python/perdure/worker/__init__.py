"""The worker: serves nodes and effects over one stream."""

from perdure.worker.worker import Worker

__all__ = ["Worker"]
