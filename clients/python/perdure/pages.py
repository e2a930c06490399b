"""Lists that come in pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Page(Generic[_T]):
    """Some items of a list. `next_page_token` is "" on the last page."""

    items: Sequence[_T]
    next_page_token: str


class Pages(Generic[_T]):
    """A list, fetched as it is read: `async for item in pages`, or page by page with `page`."""

    def __init__(self, fetch: Callable[[str], Awaitable[Page[_T]]]) -> None:
        self._fetch = fetch

    async def page(self, page_token: str = "") -> Page[_T]:
        """The first page, or the one a token of this list names.

        Raises:
            InvalidArgument: the token is not one of this list (INVALID_PAGE_TOKEN).
        """
        return await self._fetch(page_token)

    async def __aiter__(self) -> AsyncIterator[_T]:
        token = ""
        while True:
            page = await self._fetch(token)
            for item in page.items:
                yield item
            token = page.next_page_token
            if not token:
                return

    async def all(self) -> list[_T]:
        """Every item; mind the length."""
        return [item async for item in self]
