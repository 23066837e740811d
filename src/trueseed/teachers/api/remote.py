"""A teacher behind an API: any OpenAI-compatible server, asked only inside a step, under an allowance.

    with Remote(endpoint, step, allowance=allowance, holds=holds) as model:
        for position, answer in Teacher(model, step).answers(requests): ...

Every call, also one that is tried again, is paid for as `call` says. A failure becomes an action (`actions`): what
passes is asked again later, and holds no place meanwhile; what does not pass ends the round once everything under way
came back and was counted (`round`, `endings`). The SDK retries nothing by itself.

Calls run on an event loop in a thread of their own; requests are pulled, and all is decided, in the caller's thread.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from queue import SimpleQueue
from types import TracebackType
from typing import Any

from trueseed.core.chat import Answer, Request
from trueseed.errors import ConfigError, TrueSeedError
from trueseed.teachers.account.allowance import Allowance
from trueseed.teachers.account.holds import Holds
from trueseed.teachers.account.way import Way
from trueseed.teachers.api.background import Background
from trueseed.teachers.api.call import Caller, Ended
from trueseed.teachers.api.endings import Endings
from trueseed.teachers.api.headers import Live
from trueseed.teachers.api.held import must_be_free
from trueseed.teachers.api.providers import Endpoint, Provider, Reach, provider, reach
from trueseed.teachers.api.round import Round
from trueseed.teachers.api.tab import Tab
from trueseed.teachers.api.throttle import Throttle
from trueseed.workspace import Step


class Remote:
    """A `ChatModel`. Raises `Refused` when the step did not name the source, its maker is on hold or its price is not
    known, `ConfigError` when the key or the address is missing; all before any call.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        step: Step,
        *,
        allowance: Allowance,
        holds: Holds,
        environment: Mapping[str, str] = os.environ,
        pause_s: float = 1.0,
    ) -> None:
        self.source = endpoint.source
        use = step.admits(self.source)
        must_be_free(endpoint, holds, environment)
        price = endpoint.known_price()
        known, there = provider(endpoint), reach(endpoint, environment)
        way = Way.to(self.source, base_url=there.base_url, key=there.key)
        self._step, self._patience_s = step, endpoint.patience_s
        self._throttle = Throttle(endpoint.at_once, pause_s)
        client = _client(endpoint, known, there)
        self._tab = Tab(
            source=self.source,
            use=use,
            project=step.workspace.project,
            price=price,
            allowance=allowance,
            holds=holds,
            way=way,
        )
        self._caller = Caller(
            client,
            self._tab,
            provider=known,
            model=endpoint.wire_model,
            key=there.key,
            timeout_s=endpoint.timeout_s,
        )
        self._endings = Endings(self.source, step, holds, allowance.quotas, way)
        self._background = Background(f"ask {self.source}")

    @property
    def live_limits(self) -> Mapping[str, Live]:
        """The provider's limits as its last answer told them; empty when it told none."""
        return self._throttle.live

    def __enter__(self) -> "Remote":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if kind is None:
            self._endings.quotas_written()

    def close(self) -> None:
        """Ends the thread. What is still under way is broken off, and stays charged at the most it can cost."""
        self._background.close(self._caller.close)
        self._tab.close()

    def answers(self, requests: Iterable[Request | None]) -> Iterator[tuple[int, Answer]]:
        """See `ChatModel.answers`. A question that cannot be answered comes back with finish `skipped`.

        Raises, once everything under way came back: `Refused` (hold, recall, region), `Paused` (allowance, quota, a
        wait beyond patience), `ConfigError` (key, model, request), `TeacherError` (the server stays broken).
        """
        line = _Line(self._caller, self._background, self._endings, self._step)
        round_ = Round(iter(requests), line, self._throttle, patience_s=self._patience_s)
        try:
            yield from round_.answers()
        finally:
            round_.break_off()

    def cached(self, request: str) -> None:
        """Counts an answer to the request of this digest that came from the cache. Raises `OnHold`."""
        self._tab.cached(request)

    def stream(self, request: Request) -> Iterator[str | Answer]:
        """Pieces as they come, then the whole. One try: what was spoken cannot be taken back. Raises as `answers`, and
        `ConfigError` for log-probabilities or tools, which are read from whole answers only.
        """
        if request.logprobs or request.top_logprobs or request.tools:
            raise ConfigError("a stream carries no log-probabilities and no tools here; ask for the whole answer")
        self._step.look_if_grown()
        arrived: SimpleQueue[str | Ended] = SimpleQueue()
        spoken = self._caller.spoken(request, self._caller.body(request), arrived.put)
        self._throttle.started()
        call = self._background.start(spoken, arrived.put, lambda err: arrived.put(Ended(error=err)))
        try:
            while isinstance(item := arrived.get(), str):
                yield item
        finally:
            call.cancel()
            self._throttle.ended()
        if item.answer is None:
            raise self._endings.of(item)
        if item.usage_missing:
            self._step.count("usage_missing")
        yield item.answer
        if item.error is not None:
            raise self._endings.of(item)


class _Line:
    """A round's way to the outside."""

    def __init__(self, caller: Caller, background: Background, endings: Endings, step: Step) -> None:
        self.body, self.ending, self.count = caller.body, endings.of, step.count
        self._whole, self._begin, self._step = caller.whole, background.start, step

    def start(self, request: Request, body: Mapping[str, Any], put: Callable[[Ended], None]) -> "Future[None]":
        """Looks for recalls before every call, one that is tried again too."""
        try:
            self._step.look_if_grown()
        except TrueSeedError as stop:
            put(Ended(error=stop))
            return Future()
        return self._begin(self._whole(request, body), put, lambda err: put(Ended(error=err)))


def _client(endpoint: Endpoint, found: Provider, where: Reach) -> Any:
    try:
        import openai
    except ImportError as err:
        raise ConfigError("remote teachers need the OpenAI SDK: pip install 'trueseed[remote]'") from err
    from trueseed.teachers.api import transport

    common: dict[str, Any] = {
        "api_key": where.key,
        "max_retries": 0,
        "timeout": endpoint.timeout_s,
        "http_client": transport.client(),
    }
    if found.is_azure:
        version = endpoint.api_version or os.environ.get("OPENAI_API_VERSION") or found.api_version
        return openai.AsyncAzureOpenAI(azure_endpoint=where.base_url, api_version=version, **common)
    client = openai.AsyncOpenAI(base_url=where.base_url, **common)
    if not where.is_usual:  # the SDK would tell our organisation at OpenAI to whoever is asked
        client.organization = client.project = None
    return client
