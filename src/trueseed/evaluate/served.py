"""Which model answered, by its server's word: a name on the wire is an alias, and what it stands for moves.

    one = Served(teacher, asked="gpt-4-1106-preview", dated=True)
    ...                                 # asked as any other model
    one.names                           # {"gpt-4-1106-preview"}: scores keep them

A model at a dated version is one model. Where its server says at the first answer that it is of another date, or names
a second model amid the task, the asking ends: a score of both would be of neither.
"""

import re
from collections.abc import Iterable, Iterator

from trueseed.core.chat import Answer, ChatModel, Request
from trueseed.errors import TeacherError

_DATED = re.compile(
    r"(20\d\d-?\d\d(?:-?\d\d)?|(?<=[-@])(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01])(?!\d)|(?<=[-@])2\d(?:0[1-9]|1[0-2])(?!\d))"
)  # 2024-07-18, 0613, 2407


def date_in(name: str) -> str:
    """The date that a model's name ends on or holds, in digits; '' of a name without one.

    >>> tuple(map(date_in, ("gpt-4o-mini-2024-07-18", "gpt-4-1106-preview", "mistral-small-2402", "gpt-4")))
    ('20240718', '1106', '2402', '')
    """
    found = _DATED.search(name)
    return found[1].replace("-", "") if found else ""


class Served:
    """A `ChatModel`. names: by which its server answered so far. asked: by which it is asked. dated: whether it is one
    version, and so one model.
    """

    def __init__(self, model: ChatModel, *, asked: str, dated: bool) -> None:
        self.source, self.names = model.source, set[str]()
        self._model, self._asked, self._dated = model, asked, dated

    def answers(self, requests: Iterable[Request | None]) -> Iterator[tuple[int, Answer]]:
        """As `ChatModel.answers`. Raises `TeacherError` when a dated model is another."""
        for position, answer in self._model.answers(requests):
            self._hear(answer)
            yield position, answer

    def stream(self, request: Request) -> Iterator[str | Answer]:
        yield from self._model.stream(request)

    def _hear(self, answer: Answer) -> None:
        if not answer.model:
            return
        self.names.add(answer.model)
        if not self._dated:
            return
        asked, said = date_in(self._asked), date_in(answer.model)
        if asked and said and asked != said:
            raise TeacherError(
                f"{self.source} was asked as {self._asked!r}, and its server answers as {answer.model!r}: another "
                f"model, and so another target. Name that one (`model`), or give what the other answered once "
                f"(`outputs`)"
            )
        if len(self.names) > 1:
            raise TeacherError(
                f"{self.source} moved while it was asked: its server answered as "
                f"{' and as '.join(sorted(self.names))}. One score would be of neither; ask it again on another day "
                f"(`on`), by a dated name where it has one"
            )
