"""A teacher is a `ChatModel` bound to an open step: it speaks only where its source was named and admitted.

Every answer is written to the step's journal before it is handed out, so that a killed step asks nothing twice: the
same request (its digest covers all that decides the answer) is answered from the journal.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from trueseed.core.canonical import digest, now
from trueseed.core.chat import Answer, ChatModel, Request, TokenLogprob
from trueseed.workspace import Step


class Teacher:
    """Binds `model` to `step`. Raises `Refused` when the step did not name the model's source."""

    def __init__(self, model: ChatModel, step: Step) -> None:
        step.admits(model.source)
        self.source = model.source
        self._model, self._step = model, step
        self._journal = step.journal(f"answers-{digest(model.source)[:8]}")
        self._known: dict[str, Answer] = {}
        for line in self._journal:
            self._known[line["request"]] = _answer(line["answer"])
            step.asked(line["request"], line["asked_at"])
            self._count(self._known[line["request"]])

    def answers(self, requests: Iterable[Request | None]) -> Iterator[tuple[int, Answer]]:
        """As `ChatModel.answers`; what the journal knows is handed out from there and costs nothing."""
        queue = _Queue(requests, self._known)
        while not queue.exhausted:
            for asked, answer in self._model.answers(queue.round()):
                position, identity = queue.sent[asked]
                queue.in_flight -= 1
                self._keep(identity, answer)
                yield position, answer
                yield from queue.replayed()
            yield from queue.replayed()

    def stream(self, request: Request) -> Iterator[str | Answer]:
        identity = digest(request.to_json())
        for piece in self._model.stream(request):
            if isinstance(piece, Answer):
                self._keep(identity, piece)
            yield piece

    def _keep(self, identity: str, answer: Answer) -> None:
        at = now()
        self._journal.append({"request": identity, "asked_at": at, "answer": _plain(answer)})
        self._known[identity] = answer
        self._step.asked(identity, at)
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

    def __init__(self, requests: Iterable[Request | None], known: dict[str, Answer]) -> None:
        self.exhausted = False
        self.in_flight = 0
        self.sent: list[tuple[int, str]] = []  # this round: position among all requests, digest
        self._requests, self._known = iter(requests), known
        self._replayed: list[tuple[int, Answer]] = []
        self._taken = 0

    def round(self) -> Iterator[Request | None]:
        self.sent = []
        while True:
            held_back = len(self._replayed) >= self.AHEAD
            request = None if held_back else next(self._requests, _END)
            if request is _END:
                self.exhausted = True
                return
            if isinstance(request, Request):
                position, identity = self._taken, digest(request.to_json())
                self._taken += 1
                if identity in self._known:
                    self._replayed.append((position, self._known[identity]))
                    continue
                self.sent.append((position, identity))
                self.in_flight += 1
                yield request
            elif self.in_flight:
                yield None
            else:
                return  # nothing to wait for: let the consumer see what was replayed, then ask again

    def replayed(self) -> Iterator[tuple[int, Answer]]:
        ready, self._replayed = self._replayed, []
        yield from ready


_END = object()


def _plain(answer: Answer) -> dict[str, Any]:
    return {
        "text": answer.text,
        "finish": answer.finish,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "logprobs": [[step.token, step.logprob] for step in answer.logprobs],
        "because": answer.because,
    }


def _answer(plain: dict[str, Any]) -> Answer:
    logprobs = tuple(TokenLogprob(token, logprob) for token, logprob in plain.pop("logprobs"))
    return Answer(**plain, logprobs=logprobs)
