"""A teacher that may not be asked any more: what it answered in this step before is all that is heard of it."""

from collections.abc import Iterable, Iterator

from trueseed.core.chat import Answer, Request
from trueseed.errors import TrueSeedError


class Silent:
    """A `ChatModel` that answers nothing. because: raised instead, once as many requests were taken as can be."""

    def __init__(self, source: str, because: TrueSeedError) -> None:
        self.source = source
        self._because = because

    def answers(self, requests: Iterable[Request | None]) -> Iterator[tuple[int, Answer]]:
        asked = False
        for request in requests:
            asked = asked or request is not None
            if request is None:
                break
        if asked:
            raise self._because
        yield from ()

    def stream(self, request: Request) -> Iterator[str | Answer]:
        list(self.answers([request]))
        yield from ()

    def cached(self, request: str) -> None:  # noqa: ARG002  none is handed out
        """Answers of other steps are answers of a teacher that may not be asked, and are not used either."""
        raise self._because
