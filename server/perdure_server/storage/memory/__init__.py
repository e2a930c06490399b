"""The memory store: plain dicts, nothing on disk. The model that the other stores are tested against."""

from perdure_server.storage.memory.store import MemoryStore

__all__ = ["MemoryStore"]
