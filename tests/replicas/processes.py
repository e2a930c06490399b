"""`perdure serve` several times on one PostgreSQL database."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from subprocess import Popen

from tests.e2e.processes import PERDURE, defective
from tests.e2e.shell import serve

WITHIN_S = 60.0


class Servers:
    """Server processes on one database.

    Args:
        url: of the database.
        defect: one of tests.robustness.defects, planted in each.
    """

    def __init__(self, url: str, defect: str = "") -> None:
        self.url = url
        self._command = defective(defect) if defect else PERDURE
        self._readers = ThreadPoolExecutor(16)
        self._logs: dict[str, Future[str]] = {}
        self.log = ""
        self.processes: dict[str, Popen[str]] = {}

    def start(self, listen: str = "127.0.0.1:0") -> str:
        """One more; its address once it listens."""
        flags = ("--store", self.url, "--drain-seconds", "2", "--listen", listen)
        process, address = serve(*flags, command=self._command)
        assert process.stderr is not None
        self._logs[address] = self._readers.submit(process.stderr.read)
        self.processes[address] = process
        return address

    def start_together(self, number: int) -> list[str]:
        """Several at the same moment."""
        starting = [self._readers.submit(self.start) for _ in range(number)]
        return [started.result(WITHIN_S) for started in starting]

    def end(self, address: str, *, kill: bool = False) -> None:
        """Ends one, by SIGTERM or by SIGKILL."""
        process = self.processes.pop(address)
        if kill:
            process.kill()
        else:
            process.terminate()
        process.wait(WITHIN_S)
        self.log += self._logs.pop(address).result(WITHIN_S)
        assert process.stderr is not None
        process.stderr.close()

    def close(self) -> None:
        """Ends them all."""
        for address in list(self.processes):
            self.end(address, kill=True)
        self._readers.shutdown()
