"""A teacher is a `ChatModel` bound to an open step: it speaks only where its source was named and admitted.

Every answer is written to the step's journal before it is handed out, so that a killed step asks nothing twice: the
same request (its digest covers all that decides the answer) is answered from the journal.
"""

from collections.abc import Callable, Iterable, Iterator

from trueseed.core.canonical import digest, now
from trueseed.core.chat import Answer, ChatModel, Request
from trueseed.errors import TrueSeedError
from trueseed.teachers.answered import Answered
from trueseed.workspace import Step


class Teacher:
    """Binds `model` to `step`. Raises `Refused` when the step did not name the model's source."""

    def __init__(self, model: ChatModel, step: Step) -> None:
        step.admits(model.source)
        self.source = model.source
        self._model, self._step = model, step
        self._answered = Answered(step.journal(f"answers-{digest(model.source)[:8]}"))
        step.hears(model.source, self._answered.asked_at)
        for answer in self._answered:
            self._count(answer)

    def answers(self, requests: Iterable[Request | None]) -> Iterator[tuple[int, Answer]]:
        """As `ChatModel.answers`; what the journal knows is handed out from there and costs nothing, also when the
        model has come to an end.
        """
        queue = _Queue(requests, self._answered.get)
        while not queue.exhausted:
            try:
                for asked, answer in self._model.answers(queue.round()):
                    position, identity = queue.sent.pop(asked)
                    self._keep(identity, answer)
                    yield position, answer
                    yield from queue.replayed()
            except TrueSeedError:
                yield from queue.replayed()
                raise
            yield from queue.replayed()

    def stream(self, request: Request) -> Iterator[str | Answer]:
        identity = digest(request.to_json())
        for piece in self._model.stream(request):
            if isinstance(piece, Answer):
                self._keep(identity, piece)
            yield piece

    def _keep(self, identity: str, answer: Answer) -> None:
        self._answered.keep(identity, now(), answer)
        self._count(answer)

    def _count(self, answer: Answer) -> None:
        self._step.count("asked")
        self._step.count("prompt_tokens", answer.prompt_tokens)
        self._step.count("completion_tokens", answer.completion_tokens)


class _Queue:
    """Requests on their way to the model, without those that the journal can answer.

    A round ends when the model has nothing to do until the consumer has seen the replayed answers.
    """

    AHEAD = 32  # replayed answers held back at most while the model is busy

    def __init__(self, requests: Iterable[Request | None], known: Callable[[str], Answer | None]) -> None:
        self.exhausted = False
        self.sent: dict[int, tuple[int, str]] = {}  # under way, by position in this round: among all requests, digest
        self._requests, self._known = iter(requests), known
        self._replayed: list[tuple[int, Answer]] = []
        self._taken = 0

    def round(self) -> Iterator[Request | None]:
        self.sent, asked = {}, 0
        while True:
            held_back = len(self._replayed) >= self.AHEAD
            request = None if held_back else next(self._requests, _END)
            if request is _END:
                self.exhausted = True
                return
            if isinstance(request, Request):
                position, identity = self._taken, digest(request.to_json())
                self._taken += 1
                if (known := self._known(identity)) is not None:
                    self._replayed.append((position, known))
                    continue
                self.sent[asked] = position, identity
                asked += 1
                yield request
            elif self.sent:
                yield None
            else:
                return  # nothing to wait for: let the consumer see what was replayed, then ask again

    def replayed(self) -> Iterator[tuple[int, Answer]]:
        ready, self._replayed = self._replayed, []
        yield from ready


_END = object()
