"""Chats that come and go while others are being answered, all decoded together: what a server needs.

floor = engine.floor(slots=8)
key = floor.admit(request)
while floor.busy:
    for key, item in floor.advance(): ...
"""

from collections.abc import Iterator

from trueseed.core.chat import Answer, Request
from trueseed.lm.batch import Batch
from trueseed.lm.format import Format
from trueseed.lm.talk import Talk


class Floor:
    """Answers being spoken, by the key that `admit` gave."""

    def __init__(self, batch: Batch, form: Format, context: int) -> None:
        self._batch, self._form, self._context = batch, form, context
        self._talks: dict[int, Talk] = {}
        self._admitted = 0

    @property
    def free(self) -> int:
        """How many more may be admitted now."""
        return self._batch.free

    @property
    def busy(self) -> bool:
        return self._batch.busy

    def admit(self, request: Request) -> int:
        """Raises `ConfigError` for a request that cannot be answered."""
        talk = Talk(self._admitted, request, self._form, self._context, streamed=True)
        self._batch.admit(talk)
        self._talks[talk.position] = talk
        self._admitted += 1
        return talk.position

    def advance(self) -> Iterator[tuple[int, str | Answer]]:
        """One more token for each whose prompt is read: the text that can be shown, and the whole `Answer` of those
        that ended.
        """
        self._batch.advance()
        for key, talk in list(self._talks.items()):
            if piece := talk.fresh_text():
                yield key, piece
            if talk.finish:
                del self._talks[key]
                yield key, talk.answer()

    def drop(self, key: int) -> None:
        """Nobody listens any more: its slot is free after the next `advance`."""
        self._talks.pop(key).finish = "stop"
