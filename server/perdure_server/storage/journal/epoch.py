"""Another epoch for a journal whose folder was brought back by other means: a copy of it, a snapshot of the disk."""

from __future__ import annotations

from pathlib import Path

import orjson

from perdure_server.storage.journal.disk import Disk, folder_lock
from perdure_server.storage.journal.files import CUT, EPOCH, JournalFiles, numbers
from perdure_server.storage.journal.loading import Loader
from perdure_server.storage.journal.state import State
from perdure_server.storage.port import StoreError
from perdure_server.storage.rules import Genesis


def change_epoch(folder: Path, genesis: Genesis, epoch: str) -> None:
    """Makes the data of a folder that of another epoch, by a line after all others.

    Raises: StoreError if there is no journal, or it is in use or damaged.
    """
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if not numbers(names, "journal") and not numbers(names, "snapshot"):
        raise StoreError(f"there is no journal in {folder}: --store names the folder that `perdure serve` uses")
    lock = folder_lock(folder)
    lock.acquire()
    try:
        disk = Disk(folder)
        loader = Loader(disk, State(genesis))
        place = loader.load()
        files = JournalFiles(disk, loader.epoch, place)
        if loader.was_cut:
            files.append([orjson.dumps({"type": CUT})])
        files.append([orjson.dumps({"type": EPOCH, "epoch": epoch})])
        files.close()
    except OSError as error:
        raise StoreError(f"{folder} is not a usable journal: {error}") from error
    finally:
        lock.release()
