"""A teacher is a `ChatModel` bound to an open step: it speaks only where its source was named and admitted.

Every answer is kept before it is handed out (`cache`), so that a killed step asks nothing twice. With an identity,
what stands behind the answers besides the request, they are kept for other steps too, and theirs are used here.

    teacher = Teacher(model, step, identity=voice.speaks)
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from trueseed.core.canonical import digest, now
from trueseed.core.chat import Answer, ChatModel, Request
from trueseed.errors import TeacherError, TrueSeedError
from trueseed.teachers.answers.cache import Cache
from trueseed.workspace import Step


@runtime_checkable
class Metered(Protocol):
    """A model whose calls are counted somewhere: answers that spared one are, too."""

    def cached(self, request: str) -> None:
        """An answer to the request of this digest came from the cache. Raises `Refused` when it may not be used."""


class Teacher:
    """Binds `model` to `step`. identity: as of `Cache`; None shares nothing with other steps.

    Raises `Refused` when the step did not name the model's source.
    """

    def __init__(self, model: ChatModel, step: Step, *, identity: Mapping[str, Any] | None = None) -> None:
        step.admits(model.source)
        self.source = model.source
        self._model = model
        self._count = model.cached if isinstance(model, Metered) else None
        self._cache = Cache(step, model.source, identity)

    def answers(self, requests: Iterable[Request | None]) -> Iterator[tuple[int, Answer]]:
        """As `ChatModel.answers`; what is known already is handed out without asking, and costs nothing.

        Raises `Refused` when the source was recalled or its maker put on hold meanwhile.
        """
        queue = _Queue(requests, self.known)
        while True:
            yield from queue.known()
            if queue.exhausted:
                break
            try:
                for asked, answer in self._model.answers(queue.round()):
                    yield from queue.answered(asked, answer, self._keep)
            except TrueSeedError:
                yield from queue.replayed()  # what is known is handed out although the model came to its end
                raise
            yield from queue.replayed()
            if queue.under_way:
                raise TeacherError(
                    f"{self.source} stopped with {len(queue.under_way)} answers under way; the same command resumes"
                )
        if queue.ending:
            raise queue.ending

    def stream(self, request: Request) -> Iterator[str | Answer]:
        identity = digest(request.to_json())
        if found := self.known(identity):
            if found.text:
                yield found.text
            yield found
            return
        for piece in self._model.stream(request):
            if isinstance(piece, Answer):
                self._keep(identity, piece)
            yield piece

    def known(self, identity: str) -> Answer | None:
        """The answer to the request of this digest, if it was given before and may be used here; nobody is asked."""
        hit = self._cache.find(identity)
        if hit is None:
            return None
        if hit.cached:
            if self._count:
                self._count(identity)
            self._cache.take(identity)
        return hit.answer

    def _keep(self, identity: str, answer: Answer) -> None:
        self._cache.keep(identity, answer, now())


class _Queue:
    """Requests on their way to the model, without those whose answer is known, or under way already.

    A round is one `answers` of the model. It ends when the model has nothing to do until the consumer has seen what
    was known. find: the known answer to the request of a digest.
    """

    AHEAD = 32  # known answers held back at most while the model is busy

    def __init__(self, requests: Iterable[Request | None], find: Callable[[str], Answer | None]) -> None:
        self.exhausted = False
        self.ending: TrueSeedError | None = None  # raised once what is under way came back
        self._requests, self._find = iter(requests), find
        self._taken = 0
        self._first: Request | None = None  # of the next round
        self.under_way: dict[str, list[int]] = {}  # digest → positions among all requests that wait for it
        self._sent: dict[int, str] = {}  # under way: position in this round → digest
        self._asked = 0  # this round
        self._replayed: list[tuple[int, Answer]] = []

    def known(self) -> Iterator[tuple[int, Answer]]:
        """Known answers, one by one, up to the first request that must be asked. Nothing is under way meanwhile.

        Raises `TeacherError` when the requests wait for an answer all the same.
        """
        self._asked = 0
        while not self.exhausted:
            request = self._next()
            if request is None:
                raise TeacherError("the requests wait for an answer, but nothing was asked")
            if isinstance(request, Request) and not self._knows(request):
                self._first = request
                return
            yield from self.replayed()

    def round(self) -> Iterator[Request | None]:
        """What the model is asked; None while it is to wait for the consumer."""
        request: Request | None = self._first
        while True:
            if isinstance(request, Request):
                yield request
            elif self.exhausted:
                return
            elif request is None:
                if not self.under_way:
                    return  # nothing to wait for: let the consumer see what was known, then ask again
                yield None
            request = self._unknown()

    def answered(self, asked: int, answer: Answer, keep: Callable[[str, Answer], None]) -> Iterator[tuple[int, Answer]]:
        """Keeps the answer to the round's n-th request; hands it to all who wait, and what was known meanwhile."""
        identity = self._sent.pop(asked)
        keep(identity, answer)
        for position in self.under_way.pop(identity):
            yield position, answer
        yield from self.replayed()

    def replayed(self) -> Iterator[tuple[int, Answer]]:
        ready, self._replayed = self._replayed, []
        yield from ready

    def _unknown(self) -> Request | None:
        """The next request that must be asked; None when there is none now."""
        while len(self._replayed) < self.AHEAD and not self.exhausted:
            request = self._next()
            if not isinstance(request, Request):
                return None
            if not self._knows(request):
                return request
        return None

    def _next(self) -> Request | object | None:
        request = next(self._requests, _END)
        if request is _END:
            self.exhausted = True
        return request

    def _knows(self, request: Request) -> bool:
        """Takes the request its position; whether it need not be asked."""
        position, identity = self._taken, digest(request.to_json())
        self._taken += 1
        if identity in self.under_way:
            self.under_way[identity].append(position)
            return True
        try:
            found = self._find(identity)
        except TrueSeedError as err:  # what is under way is paid for, so it is heard out
            self.ending, self.exhausted = err, True
            return True
        if found is not None:
            self._replayed.append((position, found))
            return True
        self._sent[self._asked] = identity
        self._asked += 1
        self.under_way[identity] = [position]
        return False


_END = object()
