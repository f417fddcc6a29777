"""Walking through a list, page after page."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeVar


class _Page(Protocol):
    @property
    def next_page_token(self) -> str: ...


_AnyPage = TypeVar("_AnyPage", bound=_Page)


async def every_page(fetch: Callable[[str], Awaitable[_AnyPage]]) -> AsyncIterator[_AnyPage]:
    """Every page of a query, fetched when asked for; ``fetch`` takes a page token, empty at first."""
    token = ""
    while True:
        page = await fetch(token)
        yield page
        token = page.next_page_token
        if not token:
            return
