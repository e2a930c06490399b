"""Which task tokens name attempts of the data that is served.

A restore goes back in time: the attempt that a worker holds may be handed out again, under the same number, to
another one. The two are told apart by the epoch of their tokens.
"""

from __future__ import annotations

from perdure_server.dispatch.messages import TaskToken
from perdure_server.ids import epoch_tag
from perdure_server.storage.port import StoreInfo


class Timeline:
    """The data of one epoch.

    Args:
        info: of its store.
    """

    def __init__(self, info: StoreInfo) -> None:
        self.tag = epoch_tag(info.epoch)
        self._tags = {self.tag, b""} if info.takes_old_tokens else {self.tag}

    def owns(self, token: TaskToken) -> bool:
        """Whether the token was given out in this epoch."""
        return token.epoch in self._tags
