"""Where the figures were made: processor, disk, versions."""

import os
import platform
import sqlite3
import time
from importlib.metadata import version
from pathlib import Path

_PROBE_S = 0.3
_PROBE_BYTES = b"x" * 4096


def describe(base: Path) -> dict[str, str]:
    """Facts a reader needs before comparing figures; `base` is where the stores lie."""
    return {
        "processor": f"{os.cpu_count()} x {_processor()}",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "grpcio": version("grpcio"),
        "protobuf": version("protobuf"),
        "event loop": f"uvloop {version('uvloop')}",
        "sqlite": f"{sqlite3.sqlite_version}, WAL, synchronous=FULL",
        "file system": file_system(base),
        "fdatasync": f"{flushes_per_s(base):,.0f} /s (4 KiB appended each)",
        "load average": f"{os.getloadavg()[0]:.2f} at the start",
    }


def file_system(directory: Path) -> str:
    """Type of the file system that holds `directory`; on tmpfs a flush costs nothing."""
    path = str(directory.resolve())
    best = ("", "unknown")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, kind, *_ = line.split()
        inside = path == mount or path.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best[0]):
            best = (mount, kind)
    return best[1]


def flushes_per_s(directory: Path) -> float:
    """How often per second 4 KiB can be appended and flushed there, one after the other."""
    path = directory / "flush-probe"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        count, begun = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - begun) < _PROBE_S:
            os.write(descriptor, _PROBE_BYTES)
            os.fdatasync(descriptor)
            count += 1
        return count / elapsed
    finally:
        os.close(descriptor)
        path.unlink()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
