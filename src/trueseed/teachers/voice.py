"""How a run hears its teacher: weights of ours on the engine, or a model behind an API under an allowance."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from trueseed.core.artifacts import Artifact
from trueseed.core.chat import Answer, ChatModel, Request
from trueseed.lm.speed import Speed
from trueseed.teachers.account.allowance import Allowance, Price
from trueseed.teachers.account.holds import Holds
from trueseed.teachers.account.limits import Limit
from trueseed.teachers.account.state import Account, our_entity
from trueseed.teachers.api.headers import Live
from trueseed.teachers.api.providers import Endpoint, spoken_to
from trueseed.teachers.api.remote import Remote
from trueseed.terms.model import Use
from trueseed.workspace import Step

if TYPE_CHECKING:
    from trueseed.lm.engine import Engine


class Voice(Protocol):
    """The teacher as the steps hear it. speaks: which one speaks, and how: all that decides an answer besides the
    request, which the cache goes by. identity: that and the contract, part of what a step that asks is. scorer: tells
    how likely it finds a text; None when it cannot. price: None for weights that are run here.
    """

    source: str

    @property
    def price(self) -> Price | None: ...

    @property
    def speaks(self) -> dict[str, Any]: ...

    @property
    def identity(self) -> dict[str, Any]: ...

    @property
    def scorer(self) -> "Engine | None": ...

    def speaking(self, step: Step) -> AbstractContextManager[ChatModel]: ...

    def close(self) -> None: ...


class OurWeights:
    """Loaded when somebody first wants to hear them and let go before training."""

    price = None

    def __init__(self, weights: Artifact, source: str, speed: Speed) -> None:
        self.weights, self.source, self._speed = weights, source, speed
        self._engine: Engine | None = None

    @property
    def speaks(self) -> dict[str, Any]:
        return {"teacher_weights": self.weights.digest, "engine": self._speed.identity}

    identity = speaks

    @property
    def scorer(self) -> "Engine":
        from trueseed.lm.engine import Engine

        if self._engine is None:
            self._engine = Engine(self.weights.folder, self.source, **self._speed.model_dump())
        return self._engine

    @contextmanager
    def speaking(self, step: Step) -> Iterator[ChatModel]:  # noqa: ARG002  they speak in any step
        yield self.scorer

    def close(self) -> None:
        self._engine = None


class BehindAnApi:
    """Asked under the allowance and the holds of our legal entity. What it costs, how many calls are under way and
    where the key lies do not change its answers, so they are no part of its identity. top_logprobs: in what it is asked
    for training, so many of the most probable tokens are asked for at each place (see `Telling`).
    """

    scorer = None

    def __init__(
        self, endpoint: Endpoint, contract: str | None, limits: Sequence[Limit], top_logprobs: int = 0
    ) -> None:
        self.source = endpoint.source
        self._endpoint, self._contract, self._limits = endpoint, contract, limits
        self._top_logprobs = top_logprobs

    @property
    def price(self) -> Price:
        return self._endpoint.known_price()

    @property
    def speaks(self) -> dict[str, Any]:
        told = {"top_logprobs": self._top_logprobs} if self._top_logprobs else {}
        return {"remote": spoken_to(self._endpoint), **told}

    @property
    def identity(self) -> dict[str, Any]:
        return {**self.speaks, "contract": self._contract}

    @contextmanager
    def speaking(self, step: Step) -> Iterator[ChatModel]:
        with closing(Account.open()) as account:
            holds = Holds(account, our_entity())
            holds.restore(step.workspace.ledger)
            allowance = Allowance(account, self._limits, our_entity())
            with Remote(self._endpoint, step, allowance=allowance, holds=holds) as remote:
                tells = self._top_logprobs if step.admits(self.source) is Use.TRAIN else 0
                yield Telling(remote, tells) if tells else remote

    def close(self) -> None:
        pass


class Telling:
    """A remote teacher that is also asked how probable it found each token. What it says is the same without that, so
    records and their requests are too; who distils finds the rest with the answers that are kept.
    """

    def __init__(self, model: Remote, top_logprobs: int) -> None:
        self.source, self._model, self._top = model.source, model, top_logprobs

    @property
    def live_limits(self) -> Mapping[str, Live]:
        return self._model.live_limits

    def answers(self, requests: Iterable[Request | None]) -> Iterator[tuple[int, Answer]]:
        return self._model.answers(each and replace(each, top_logprobs=self._top) for each in requests)

    def stream(self, request: Request) -> Iterator[str | Answer]:
        return self._model.stream(request)

    def cached(self, request: str) -> None:
        self._model.cached(request)
