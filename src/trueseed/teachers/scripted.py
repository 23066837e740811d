"""A teacher that says what it is told to: the documented fake, for tests of anything that asks.

>>> from trueseed.core.chat import Request, user
>>> teacher = ScriptedTeacher("own/script", lambda request: request.messages[-1].content.upper())
>>> [answer.text for _, answer in teacher.answers([Request(messages=user("hello"))])]
['HELLO']
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from trueseed.core.chat import Answer, Finish, Request
from trueseed.errors import TeacherError

Script = Callable[[Request], str | Answer] | Sequence[str | Answer]


class ScriptedTeacher:
    """A `ChatModel` over a script: a function of the request, or answers in the order of asking.

    A token is a word here: an answer of more words than `max_tokens` is cut and finishes with `length`, and the answer
    ends before the first stop string. `slots` requests are taken before any is answered, the last one first, so that
    answers come back in another order than they were asked, as real ones do. `requests` keeps what was asked.
    """

    def __init__(self, source: str, script: Script, *, slots: int = 1) -> None:
        self.source = source
        self.requests: list[Request] = []
        self._script, self._slots = script, slots

    def answers(self, requests: Iterable[Request | None]) -> Iterator[tuple[int, Answer]]:
        """See `ChatModel.answers`. Raises `TeacherError` when the script has no more answers."""
        waiting: list[tuple[int, Answer]] = []
        taken, source, open_ = 0, iter(requests), True
        while open_ or waiting:
            while open_ and len(waiting) < self._slots:
                request = next(source, _END)
                if request is _END:
                    open_ = False
                elif isinstance(request, Request):
                    waiting.append((taken, self._answer(request)))
                    taken += 1
                else:
                    break
            if waiting:
                yield waiting.pop()
            elif open_:
                raise TeacherError("the requests wait for an answer, but nothing was asked")

    def stream(self, request: Request) -> Iterator[str | Answer]:
        """The answer word by word, then whole."""
        answer = self._answer(request)
        head, *rest = answer.text.split(" ")
        yield head
        yield from (f" {word}" for word in rest)
        yield answer

    def _answer(self, request: Request) -> Answer:
        asked = len(self.requests)
        self.requests.append(request)
        if callable(self._script):
            said = self._script(request)
        elif asked < len(self._script):
            said = self._script[asked]
        else:
            raise TeacherError(f"the script has {len(self._script)} answers, and one more was asked for")
        return said if isinstance(said, Answer) else _spoken(said, request)


_END = object()


def _spoken(text: str, request: Request) -> Answer:
    for stop in request.stop:
        text = text.partition(stop)[0]
    words = text.split(" ")
    finish: Finish = "length" if len(words) > request.max_tokens else "stop"
    return Answer(
        text=" ".join(words[: request.max_tokens]),
        finish=finish,
        prompt_tokens=sum(len(message.content.split()) for message in request.messages),
        completion_tokens=min(len(words), request.max_tokens),
    )
