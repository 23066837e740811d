"""A remote teacher against a real HTTP server that fails as it is told to."""
# ruff: noqa: SIM117  the server goes on after what is expected to fail

import hashlib
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from trueseed.core.chat import Answer, Request, user
from trueseed.errors import ConfigError, Paused, Refused, TeacherError
from trueseed.serve.api import app
from trueseed.teachers.account.allowance import Allowance, Exhausted, Limit, Used
from trueseed.teachers.account.holds import Holds
from trueseed.teachers.account.state import Account
from trueseed.teachers.api.providers import Endpoint, Prices
from trueseed.teachers.api.remote import Remote
from trueseed.teachers.scripted import ScriptedTeacher
from trueseed.teachers.simulator import Behaviour, Faults, simulator
from trueseed.teachers.teacher import Teacher
from trueseed.terms.catalog import SHIPPED
from trueseed.terms.model import Use
from trueseed.workspace import Step, Workspace

DEEPSEEK = "deepseek/deepseek-chat@api"  # its terms permit training
KEY = "sk-test-5up3rs3cr3t-0123456789"


class Place:
    """A workspace, an account, and the way to ask in them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workspace = Workspace.open(folder / "work", create=True)
        self.account = Account.open()
        self.limits: list[Limit] = []

    def read_terms(self, sources: str) -> None:
        """Terms that permit everything, as an operator who read some contract would add them."""
        own = (SHIPPED / "own" / "own-work.toml").read_text()
        text = own.replace("own-work", "a-contract").replace("own/*", sources).replace('route = "own"', 'route = "any"')
        (self.folder / "work" / "terms").mkdir()
        (self.folder / "work" / "terms" / "contract.toml").write_text(text)
        self.workspace = Workspace.open(self.folder / "work")

    @property
    def holds(self) -> Holds:
        return Holds(self.account, "us")

    @property
    def allowance(self) -> Allowance:
        return Allowance(self.account, self.limits, "us")

    @contextmanager
    def remote(self, base_url: str, source: str = DEEPSEEK, use: Use = Use.TRAIN, **more: Any) -> Iterator[Remote]:
        with self.step(source, use) as step, self.opened(step, base_url, source, **more) as remote:
            yield remote

    def step(self, source: str = DEEPSEEK, use: Use = Use.TRAIN) -> Any:
        return self.workspace.step("generate", ask={source: use})

    def opened(self, step: Step, base_url: str | None, source: str = DEEPSEEK, **more: Any) -> Remote:
        given = {"model": "simulated", "price": Prices(input=1.0, output=2.0), "key_from": "TEST_KEY", **more}
        endpoint = Endpoint(source=source, base_url=base_url, **given)
        environment = {"TEST_KEY": KEY}
        return Remote(endpoint, step, allowance=self.allowance, holds=self.holds, environment=environment, pause_s=0.01)

    def used(self) -> Used:
        now = datetime.now(UTC)
        return next(iter(self.allowance.used(since=now - timedelta(days=1), until=now + timedelta(days=1))))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def ask(words: str, **changes: Any) -> Request:
    return Request(messages=user(words), max_tokens=64, **changes)


def questions(n: int) -> list[Request]:
    return [ask(f"question {i}") for i in range(n)]


def test_every_question_is_answered_once_and_the_books_agree_with_the_provider(place):
    with simulator() as provider, place.remote(provider.openai) as remote:
        answers = dict(remote.answers(questions(30)))
        billed = provider.counts()
    assert sorted(answers) == list(range(30))
    assert all(answer.finish == "stop" and answer.text for answer in answers.values())
    used = place.used()
    assert (used.answered, used.charged.requests, used.reserved) == (30, 30, 0)
    assert billed["billed"] == 30
    assert used.charged.tokens == sum(a.prompt_tokens + a.completion_tokens for a in answers.values())
    assert used.charged.micros == sum(a.prompt_tokens + 2 * a.completion_tokens for a in answers.values())


def test_faults_that_pass_are_asked_again_and_every_call_is_counted(place):
    faults = Faults(server_error=0.1, overloaded=0.1, bad_gateway=0.1)
    with simulator(Behaviour(faults=faults)) as provider, place.remote(provider.openai) as remote:
        answers = dict(remote.answers(questions(40)))
        counts = provider.counts()
    assert sorted(answers) == list(range(40))
    assert {answer.finish for answer in answers.values()} == {"stop"}
    used = place.used()
    assert used.answered == counts["billed"] == 40
    assert used.failed > 0


def test_a_rate_limit_slows_the_asking_but_loses_nothing(place):
    behaviour = Behaviour(requests_per_minute=10, minute_s=1)
    with simulator(behaviour) as provider, place.remote(provider.openai, at_once=8) as remote:
        answers = dict(remote.answers(questions(25)))
    assert sorted(answers) == list(range(25))
    assert {answer.finish for answer in answers.values()} == {"stop"}


def test_absurd_rate_headers_are_taken_for_nothing(place):
    behaviour = Behaviour(requests_per_minute=10, minute_s=0.5, rate_headers="absurd")
    with simulator(behaviour) as provider, place.remote(provider.openai, at_once=4) as remote:
        assert len(dict(remote.answers(questions(15)))) == 15


def test_requests_are_pulled_only_when_there_is_room(place):
    pulled = 0

    def many() -> Iterator[Request]:
        nonlocal pulled
        for request in questions(200):
            pulled += 1
            yield request

    with simulator() as provider, place.remote(provider.openai, at_once=4) as remote:
        for number, _ in enumerate(remote.answers(many()), start=1):
            assert pulled <= number + 4


def test_none_means_ask_me_again_after_the_next_answer(place):
    seen: list[str] = []

    def chain() -> Iterator[Request | None]:
        yield ask("start")
        for asked in range(1, 4):
            while len(seen) < asked:
                yield None
            yield ask(seen[-1])

    with simulator() as provider, place.remote(provider.openai) as remote:
        for _, answer in remote.answers(chain()):
            seen.append(answer.text)
    assert len(seen) == 4


def test_waiting_for_nothing_is_an_error_rather_than_forever(place):
    with (
        simulator() as provider,
        pytest.raises(TeacherError, match="nothing was asked"),
        place.remote(provider.openai) as remote,
    ):
        list(remote.answers(iter([None])))


# what ends a run


def test_a_suspension_holds_the_maker_and_keeps_what_was_answered(place):
    answers: dict[int, Answer] = {}
    with simulator(Behaviour(suspend_at=11)) as provider:
        with pytest.raises(Refused, match=r"trueseed release"), place.remote(provider.openai) as remote:
            for position, answer in remote.answers(questions(40)):
                answers[position] = answer
        counts = provider.counts()
    assert len(answers) == counts["billed"] == 10
    found = place.holds.on("deepseek")
    assert found
    said = (place.workspace.folder / "evidence" / f"{found.evidence}.txt").read_bytes()
    assert hashlib.sha256(said).hexdigest() == found.evidence
    assert place.used().reserved == 0
    events = [entry.predicate_type.rsplit("/", 2)[-2:] for entry in place.workspace.ledger.entries()]
    assert any("hold" in "/".join(event) for event in events), events


@pytest.mark.parametrize(
    ("source", "use", "more"),
    [
        ("deepseek/deepseek-chat@api", Use.TRAIN, {}),
        ("deepseek/deepseek-chat@api", Use.TRAIN, {"key_from": "OTHER_KEY"}),
        ("deepseek/deepseek-chat@api", Use.JUDGE, {}),
        ("deepseek/deepseek-reasoner@api", Use.TRAIN, {}),
        ("deepseek/another-model@api", Use.TRAIN, {"model": "simulated"}),
        ("deepseek/deepseek-chat@api", Use.TRAIN, {"dialect": "anthropic"}),
        ("deepseek/deepseek-chat@api", Use.TRAIN, {"dialect": "azure"}),
        ("deepseek/deepseek-chat@openrouter", Use.TRAIN, {}),
        ("deepseek/deepseek-chat@self-hosted", Use.TRAIN, {}),
        ("deepseek/deepseek-chat@weights", Use.TRAIN, {"price": None}),
    ],
)
def test_a_suspended_maker_is_reached_by_no_key_model_use_route_or_address(place, source, use, more):
    place.read_terms("deepseek/*")  # so that nothing but the hold stands in the way
    with simulator(Behaviour(suspend_at=1)) as provider:
        with pytest.raises(Refused), place.remote(provider.openai) as remote:
            list(remote.answers(questions(1)))
        provider.lift()  # it would answer, but nobody released the hold
        before = provider.counts()
        address = getattr(provider, more.pop("dialect", "openai"))
        with pytest.raises(Refused, match="hold"), place.remote(address, source, use, **more) as remote:
            list(remote.answers(questions(1)))
        assert provider.counts() == before


def test_a_hold_that_another_process_places_stops_a_run_under_way(place):
    with simulator() as provider, pytest.raises(Refused, match="hold"), place.remote(provider.openai) as remote:
        for number, _ in enumerate(remote.answers(questions(100))):
            if number == 3:
                place.holds.place("deepseek", "we were told to stop", "0" * 64)
    assert place.used().answered < 40


def test_a_quota_that_ends_pauses_the_run(place):
    answers: dict[int, Answer] = {}
    with simulator(Behaviour(quota_requests=5)) as provider:
        with pytest.raises(Paused, match=r"quota|credit"), place.remote(provider.openai) as remote:
            for position, answer in remote.answers(questions(20)):
                answers[position] = answer
    assert len(answers) == 5


def test_a_region_that_is_not_served_is_refused_and_not_tried_again(place):
    with simulator(Behaviour(region_refused=True)) as provider:
        with pytest.raises(Refused, match="region"), place.remote(provider.openai, at_once=1) as remote:
            list(remote.answers(questions(20)))
        assert provider.counts()["billed"] == 0


def test_our_own_allowance_ends_the_run_as_a_pause_and_is_never_exceeded(place):
    place.limits = [Limit(source="deepseek/*", per="total", requests=7)]
    answers: dict[int, Answer] = {}
    with simulator() as provider:
        with pytest.raises(Exhausted), place.remote(provider.openai) as remote:
            for position, answer in remote.answers(questions(20)):
                answers[position] = answer
        assert provider.counts()["billed"] == len(answers) == 7


def test_an_unknown_price_is_a_refusal_to_spend(place):
    with simulator() as provider:
        with pytest.raises(Refused, match="price"), place.remote(provider.openai, price=None):
            pass
        assert provider.counts()["billed"] == 0


def test_terms_refuse_before_any_call(place):
    with simulator() as provider:
        for source in ("openai/gpt-4o-mini@azure", "openai/gpt-4o-mini@api"):
            with pytest.raises(Refused), place.remote(provider.openai, source):
                pass
        assert provider.counts()["billed"] == 0


# single questions


def test_what_the_content_filter_declines_is_skipped_with_the_reason(place):
    with simulator(Behaviour(filtered="forbidden")) as provider, place.remote(provider.openai) as remote:
        answers = dict(remote.answers([ask("fine"), ask("forbidden"), ask("fine too")]))
    assert [answers[i].finish for i in range(3)] == ["stop", "skipped", "stop"]
    assert "declined the prompt" in answers[1].because


def test_a_prompt_that_is_too_long_is_skipped_with_the_reason(place):
    with simulator(Behaviour(context_tokens=100)) as provider, place.remote(provider.openai) as remote:
        answers = dict(remote.answers([ask("short"), ask("word " * 200)]))
    assert (answers[0].finish, answers[1].finish) == ("stop", "skipped")
    assert "context" in answers[1].because


def test_an_answer_that_is_cut_says_so(place):
    with simulator(Behaviour(answer_words=50)) as provider, place.remote(provider.openai) as remote:
        request = Request(messages=user("hello"), max_tokens=5)
        assert next(remote.answers([request]))[1].finish == "length"


@pytest.mark.parametrize("fault", ["missing_usage", "wrong_usage"])
def test_a_usage_that_is_missing_or_wrong_is_charged_at_the_most_it_can_be(place, fault):
    with simulator(Behaviour(faults=Faults(**{fault: 1}))) as provider, place.remote(provider.openai) as remote:
        answer = next(remote.answers([ask("hello")]))[1]
        assert remote._step.counts["usage_missing"] == 1
    used = place.used()
    assert used.charged.tokens == answer.prompt_tokens + 64
    assert used.answered == 1


@pytest.mark.parametrize("fault", ["malformed", "empty_choices", "html"])
def test_a_body_that_is_no_answer_ends_in_a_clear_error(place, fault):
    with simulator(Behaviour(faults=Faults(**{fault: 1}))) as provider:
        with pytest.raises(TeacherError, match="not a chat completion"), place.remote(provider.openai) as remote:
            list(remote.answers(questions(10)))
    assert place.used().reserved == 0


def test_an_answer_that_stalls_is_given_up_and_stays_charged(place):
    with simulator(Behaviour(faults=Faults(stalled=1))) as provider:
        with pytest.raises(TeacherError, match="too long"), place.remote(provider.openai, timeout_s=0.05) as remote:
            list(remote.answers(questions(1)))
        assert place.used().reserved >= provider.counts()["billed"]


def test_a_body_of_40_mb_is_broken_off(place):
    with simulator(Behaviour(faults=Faults(huge=1))) as provider:
        with pytest.raises(TeacherError, match="larger than"), place.remote(provider.openai, at_once=1) as remote:
            list(remote.answers(questions(1)))


@pytest.mark.parametrize("fault", ["lost", "cut"])
def test_a_call_of_which_nobody_knows_stays_charged_until_it_is_reconciled(place, fault):
    faults = Faults(**{fault: 0.3})
    with simulator(Behaviour(faults=faults)) as provider, place.remote(provider.openai) as remote:
        answers = dict(remote.answers(questions(20)))
        billed = provider.counts()["billed"]
    assert len(answers) == 20
    used = place.used()
    assert used.answered + used.reserved + used.unknown + used.failed >= billed
    assert used.charged.requests == billed


def test_log_probabilities_that_do_not_come_are_an_error(place):
    with serving(lambda _: (200, COMPLETION)) as url:
        with pytest.raises(ConfigError, match="log-prob"), place.remote(url, "own/silent") as remote:
            list(remote.answers([ask("hello", logprobs=True)]))


def test_log_probabilities_are_read(place):
    with simulator() as provider, place.remote(provider.openai) as remote:
        answer = next(remote.answers([ask("hello", logprobs=True)]))[1]
    assert len(answer.logprobs) == answer.completion_tokens
    assert all(isinstance(step.token, str) and step.logprob <= 0 for step in answer.logprobs)


def test_the_most_probable_tokens_are_read_where_they_are_asked_for(place):
    with simulator() as provider, place.remote(provider.openai) as remote:
        wanted, plain = (ask("hello", logprobs=True, top_logprobs=most) for most in (3, 0))
        told, without = (answer for _, answer in sorted(remote.answers([wanted, plain])))
    assert all(len(step.top) == 3 and step.spelt == step.token.encode() for step in told.logprobs)
    assert all(step.top[0].token == step.token for step in told.logprobs)
    assert all(not step.top and not step.spelt for step in without.logprobs)
    assert wanted.to_json() != plain.to_json()
    assert "top_logprobs" not in plain.to_json()  # the digests of requests from before stay as they are


def test_what_a_model_lacks_is_refused_before_anything_is_spent(place):
    source = "mistral/mistral-large-latest@api"
    with simulator() as provider:
        with pytest.raises(ConfigError, match="logprobs"), place.remote(provider.openai, source) as remote:
            list(remote.answers([ask("hello", logprobs=True)]))
        assert provider.counts()["billed"] == 0


def test_an_answer_follows_the_schema_that_was_given(place):
    schema = {"type": "object", "properties": {"dish": {"type": "string"}}, "required": ["dish"]}
    with simulator() as provider, place.remote(provider.openai) as remote:
        with pytest.raises(ConfigError, match="json_schema"):  # DeepSeek has none
            next(remote.answers([ask("hello", schema=schema)]))
    with simulator() as provider, place.remote(provider.openai, "own/simulated") as remote:
        answer = next(remote.answers([ask("hello", schema=schema)]))[1]
    assert set(json.loads(answer.text)) == {"dish"}


def test_a_tool_is_called_and_the_journal_keeps_the_call(place):
    tool = {"type": "function", "function": {"name": "cook", "parameters": {"type": "object", "properties": {}}}}
    request, answers = ask("hello", tools=(tool,)), []
    with simulator() as provider:
        for _ in range(2):  # the second time from the journal
            with pytest.raises(KeyboardInterrupt), place.step() as step, place.opened(step, provider.openai) as remote:
                answers.append(next(Teacher(remote, step).answers([request]))[1])
                raise KeyboardInterrupt
        assert provider.counts()["billed"] == 1
    assert [call["function"]["name"] for call in answers[0].tool_calls] == ["cook"]
    assert (answers[0].finish, answers[1]) == ("stop", answers[0])


# streams


def test_a_stream_ends_with_the_whole_answer_and_is_charged(place):
    with simulator() as provider, place.remote(provider.openai) as remote:
        *pieces, last = remote.stream(ask("hello"))
    assert isinstance(last, Answer)
    assert "".join(map(str, pieces)) == last.text
    used = place.used()
    assert (used.answered, used.charged.tokens) == (1, last.prompt_tokens + last.completion_tokens)


def test_a_stream_that_is_cut_stays_charged_and_says_so(place):
    with simulator(Behaviour(faults=Faults(cut=1))) as provider:
        with pytest.raises(TeacherError), place.remote(provider.openai) as remote:
            list(remote.stream(ask("hello")))
    used = place.used()
    assert (used.answered, used.reserved) == (0, 1)


def test_a_stream_that_says_everything_twice_is_not_taken_for_an_answer(place):
    with simulator(Behaviour(faults=Faults(duplicated=1))) as provider:
        with pytest.raises(TeacherError, match="repeats itself"), place.remote(provider.openai) as remote:
            list(remote.stream(ask("hello")))
    assert place.used().failed == 1


def test_a_stream_without_usage_is_charged_at_the_most(place):
    with simulator(Behaviour(faults=Faults(missing_usage=1))) as provider, place.remote(provider.openai) as remote:
        *_, last = remote.stream(ask("hello"))
    assert place.used().charged.tokens == last.prompt_tokens + 64


# stopping


def test_what_is_under_way_when_a_person_stops_is_heard_out(place, monkeypatch):
    class Interrupted(SimpleQueue):  # type: ignore[type-arg]
        """Ctrl-C comes while the third answer is waited for."""

        gets = 0

        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            self.gets += 1
            if self.gets == 3:
                raise KeyboardInterrupt
            return super().get(block, timeout)

    monkeypatch.setattr("trueseed.teachers.api.round.SimpleQueue", Interrupted)
    answers: dict[int, Answer] = {}
    with simulator() as provider:
        with pytest.raises(KeyboardInterrupt), place.remote(provider.openai, at_once=4) as remote:
            for position, answer in remote.answers(questions(50)):
                answers[position] = answer
        assert provider.counts()["billed"] == len(answers) == place.used().answered
    assert 2 < len(answers) < 50


def test_what_is_under_way_at_a_kill_is_asked_again_and_nothing_else(place):
    """`kill -9` amid a run, three times: the journal knows every answer, the account every call."""
    at_once = 4
    with simulator(Behaviour(latency_s=0.02), process=True) as provider:
        for answered in (10, 20, 30):
            run = subprocess.run([sys.executable, "-c", DYING, provider.openai, str(place.folder), str(answered)])
            assert run.returncode == -signal.SIGKILL
        with place.step() as step, place.opened(step, provider.openai) as remote:
            answers = dict(Teacher(remote, step).answers(questions(40)))
        counts = provider.counts()
    assert sorted(answers) == list(range(40))
    assert counts["billed"] <= 40 + 3 * at_once
    used = place.used()
    assert used.reserved == 0
    assert used.charged.requests == used.answered + used.unknown >= counts["billed"]


DYING = """
import os, signal, sys
from pathlib import Path
from tests.teachers.api.test_remote import Place, questions
from trueseed.teachers.teacher import Teacher

base_url, folder, answered = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
place = Place(folder)
with place.step() as step, place.opened(step, base_url, at_once=4) as remote:
    for number, _ in enumerate(Teacher(remote, step).answers(questions(40)), start=1):
        if number == answered:
            os.kill(os.getpid(), signal.SIGKILL)
"""


# servers that are not there


def test_a_server_that_is_not_there_is_named_with_what_to_check_and_nothing_is_charged(place):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(TeacherError, match="base_url"), place.remote(f"http://127.0.0.1:{port}/v1") as remote:
        list(remote.answers(questions(3)))
    now = datetime.now(UTC)
    assert not place.allowance.used(since=now - timedelta(days=1), until=now + timedelta(days=1))


def test_a_name_that_is_not_found_is_told(place):
    with pytest.raises(TeacherError, match="name cannot be found"), place.remote("http://no.such.invalid/v1") as remote:
        list(remote.answers(questions(1)))


def test_a_certificate_that_cannot_be_trusted_is_told_at_once(place, tmp_path):
    with serving(lambda _: (200, COMPLETION), certificate=certificate(tmp_path)) as url:
        with pytest.raises(ConfigError, match="certificate"), place.remote(url) as remote:
            list(remote.answers(questions(3)))


def test_nobody_is_followed_to_another_address(place):
    with simulator() as provider, serving(lambda _: (307, b""), location=f"{provider.openai}/chat/completions") as url:
        with pytest.raises(ConfigError, match="another address"), place.remote(url) as remote:
            list(remote.answers(questions(1)))
        assert provider.counts()["arrived"] == 0


def test_a_wrong_key_is_told_once_and_without_the_key(place):
    with simulator(Behaviour(keys=("sk-another",))) as provider:
        with pytest.raises(ConfigError, match="key") as caught, place.remote(provider.openai, at_once=1) as remote:
            list(remote.answers(questions(5)))
    assert KEY not in str(caught.value)


def test_a_wrong_model_is_told(place):
    with simulator() as provider:
        with pytest.raises(ConfigError, match="model"), place.remote(provider.openai, model="gpt-9") as remote:
            list(remote.answers(questions(1)))


# secrets


def test_the_key_is_written_nowhere(place, capfd, caplog):
    """A server that echoes the key in every way: into errors, bodies and headers."""
    caplog.set_level("DEBUG")

    def echo(headers: dict[str, str]) -> tuple[int, bytes]:
        said = f"Incorrect API key provided: {headers['authorization']}"
        return 401, json.dumps({"error": {"message": said, "code": "invalid_api_key"}}).encode()

    with serving(echo) as url, pytest.raises(ConfigError) as caught, place.step() as step:
        with place.opened(step, url) as remote:
            list(Teacher(remote, step).answers(questions(2)))
    shown = "".join(capfd.readouterr()) + caplog.text + repr(caught.value) + repr(caught.value.__context__)
    assert KEY not in shown
    written = [path for path in place.folder.rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if KEY.encode() in path.read_bytes()]


def test_who_we_are_at_openai_is_told_to_nobody_else(place, monkeypatch):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-ours")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-ours")
    got: list[str] = []

    def note(headers: dict[str, str]) -> tuple[int, bytes]:
        got.extend(headers.values())
        return 200, COMPLETION

    with serving(note) as url, place.remote(url) as remote:
        list(remote.answers(questions(1)))
    assert got
    assert not {"org-ours", "proj-ours"} & set(got)


def test_a_key_goes_to_the_hosts_of_its_provider_only(place):
    got: list[str] = []

    def note(headers: dict[str, str]) -> tuple[int, bytes]:
        got.append(headers["authorization"])
        return 200, COMPLETION

    with serving(note) as url, place.step() as step:
        endpoint = Endpoint(source=DEEPSEEK, base_url=url, price=Prices(input=0, output=0))
        environment = {"DEEPSEEK_API_KEY": KEY}
        remote = Remote(endpoint, step, allowance=place.allowance, holds=place.holds, environment=environment)
        with remote:
            list(remote.answers(questions(1)))
    assert got == ["Bearer none"]


# other servers


def test_our_own_server_is_a_teacher_like_any_other(place):
    """What `trueseed serve` offers, asked as weights of ours: without a price or a key."""
    told = ScriptedTeacher("own/student", lambda request: request.messages[-1].content.upper())
    api = app({"student": told}, allowed=lambda name: None)
    more = {"model": "student", "price": None, "key_from": None}
    with offered(api) as url, place.remote(f"{url}/v1", "own/student", **more) as remote:
        answers = dict(remote.answers(questions(5)))
        *_, last = remote.stream(ask("hello"))
    assert [answers[i].text for i in range(5)] == [f"QUESTION {i}" for i in range(5)]
    assert isinstance(last, Answer)
    assert last.text == "HELLO"


@contextmanager
def offered(api: FastAPI) -> Iterator[str]:
    """The address of the service on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        server = uvicorn.Server(uvicorn.Config(api, log_level="critical", ws="none", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([opened],), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{opened.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


# a server of our own for what the simulator does not do

COMPLETION = json.dumps(
    {
        "id": "1", "object": "chat.completion", "created": 0, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "soup"}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
    }
).encode()  # fmt: skip


@contextmanager
def serving(
    reply: Callable[[dict[str, str]], tuple[int, bytes]],
    *,
    certificate: tuple[Path, Path] | None = None,
    location: str = "",
) -> Iterator[str]:
    """A base URL whose every POST is answered by `reply(headers)`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            status, body = reply({name.lower(): value for name, value in self.headers.items()})
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if location:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda request, client: None  # type: ignore[method-assign]  # a client that hangs up
    if certificate:
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def certificate(folder: Path) -> tuple[Path, Path]:
    """One that nobody signed but itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, *plain))
    return paths
