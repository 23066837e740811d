"""Other tools ask teachers through the gateway: the official client on one side, a simulated provider on the other."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import uvicorn
from starlette.types import ASGIApp

from trueseed.access.keys import Grant, Keys
from trueseed.errors import Refused
from trueseed.gateway.offer import gateway
from trueseed.gateway.settings import Config
from trueseed.ledger.calls import CALLS, faults, prove
from trueseed.ledger.statement import SEAL, WITHDRAWAL
from trueseed.ledger.verify import verify_ledger
from trueseed.report import verify
from trueseed.similarity.remembered import ANSWERS, Remembered
from trueseed.teachers.account import Account
from trueseed.teachers.allowance import Allowance, Used
from trueseed.teachers.holds import Holds
from trueseed.teachers.simulator import Behaviour, Faults, Simulator, simulator
from trueseed.terms.model import Facts, Use
from trueseed.workspace import Workspace

SOON = 20  # seconds, to fail instead of hanging
DEEPSEEK = "deepseek/deepseek-chat@api"  # its terms permit judging and training
OPENAI = "openai/gpt-4o@api"  # its terms forbid training
PRICE = {"input": 1.0, "output": 1.0}  # a token is a millionth of a dollar
SECRET = "sk-upstream-0123456789abcdef"


@dataclass(kw_only=True)
class Place:
    """A running gateway and all that it writes to."""

    folder: Path
    account: Account
    provider: Simulator
    url: str = ""
    workspace: Workspace = field(init=False)
    clients: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.workspace = Workspace.open(self.folder, create=True)

    @property
    def keys(self) -> Keys:
        return Keys(self.account)

    def key(self, *uses: Use, **options: Any) -> str:
        grant = {"owner": "ana", "project": "seed", "uses": frozenset(uses or {Use.JUDGE})} | options
        return self.keys.issue(Grant(**grant)).token

    def client(self, *uses: Use, **options: Any) -> openai.OpenAI:
        return self.client_with(self.key(*uses, **options))

    def client_with(self, token: str) -> openai.OpenAI:
        client = openai.OpenAI(base_url=f"{self.url}/v1", api_key=token, max_retries=0, timeout=SOON)
        return self.clients.enter_context(client)

    def used(self) -> list[Used]:
        now = datetime.now(UTC)
        day = timedelta(days=1)
        return Allowance(self.account, (), "us").used(since=now - day, until=now + day)

    def charged(self) -> tuple[int, int]:
        """Tokens and micros, over everything."""
        used = self.used()
        return sum(each.charged.tokens for each in used), sum(each.charged.micros for each in used)

    def calls(self) -> list[dict[str, Any]]:
        """What the journals say, oldest first."""
        lines = [line for path in (self.folder / CALLS).glob("*.jsonl") for line in path.read_text().splitlines()]
        return sorted((json.loads(line) for line in lines), key=lambda call: call["settled_at"])

    def billed(self) -> int:
        return self.provider.counts()["billed"]


@contextmanager
def serving(api: ASGIApp) -> Iterator[str]:
    """The address of a server on a free port of loopback."""
    server = uvicorn.Server(uvicorn.Config(api, port=0, log_level="critical", ws="none", timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.001)
        host, port = server.servers[0].sockets[0].getsockname()
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(SOON)


Make = Callable[..., Any]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """`with opened(Behaviour(...), limits=[...]) as place`: a gateway in front of a simulated provider."""
    monkeypatch.setenv("UPSTREAM_KEY", SECRET)

    @contextmanager
    def make(behaviour: Behaviour | None = None, *, facts: Facts | None = None, **config: Any) -> Iterator[Place]:
        with simulator(behaviour or Behaviour()) as provider:
            upstreams = [
                {"source": source, "model": "simulated", "base_url": provider.openai, "key_from": "UPSTREAM_KEY"}
                | {"price": PRICE}
                for source in (DEEPSEEK, OPENAI)
            ]
            place = Place(folder=tmp_path / "work", account=Account.open(), provider=provider)
            place.workspace.declare("seed", facts or Facts())
            settings = Config.model_validate({"upstreams": upstreams, **config})
            with gateway(place.workspace, settings) as service, serving(service) as url:
                place.url = url
                with place.clients:
                    yield place

    return make


@pytest.fixture
def place(opened: Make) -> Iterator[Place]:
    with opened() as place:
        yield place


def ask(client: openai.OpenAI, text: str = "How is soup kept warm?", **options: Any) -> Any:
    options = {"model": DEEPSEEK, "messages": [{"role": "user", "content": text}], "max_tokens": 64} | options
    return client.chat.completions.create(**options)


def refusal(client: openai.OpenAI, **options: Any) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, **options)
    assert SECRET not in caught.value.response.text
    return caught.value


def judging(use: str) -> dict[str, str]:
    return {"X-TrueSeed-Use": use}


# what is answered


def test_an_answer_comes_through_as_the_provider_gave_it(place):
    completion = ask(place.client())
    assert completion.choices[0].message.content
    assert completion.usage.total_tokens > 0
    assert place.billed() == 1


def test_a_call_is_charged_its_usage(place):
    usage = ask(place.client()).usage
    assert place.charged() == (usage.total_tokens, usage.total_tokens)
    (used,) = place.used()
    assert (used.source, used.use, used.project, used.answered) == (DEEPSEEK, Use.JUDGE, "seed", 1)


def test_a_stream_is_charged_its_usage_though_the_client_did_not_ask_for_it(place):
    chunks = list(ask(place.client(), stream=True))
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    counts = place.provider.counts()
    assert place.charged()[0] == counts["prompt_tokens"] + counts["completion_tokens"]


def test_a_client_that_asks_for_the_usage_of_a_stream_gets_it(place):
    *_, last = ask(place.client(), stream=True, stream_options={"include_usage": True})
    assert last.choices == []
    assert last.usage.total_tokens == place.charged()[0]


def test_a_stream_says_what_the_whole_answer_says(place):
    client = place.client()
    whole = ask(client, seed=7).choices[0].message.content
    streamed = ask(client, seed=7, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == whole


def test_parameters_that_we_do_not_know_go_on_as_they_came(place):
    assert ask(place.client(), extra_body={"top_k": 3, "chat_template_kwargs": {"thinking": False}}).choices


def test_the_models_are_those_that_the_key_reaches(place):
    assert [model.id for model in place.client(sources=("openai/*",)).models.list()] == [OPENAI]


# who may ask what


def test_a_key_limited_to_judge_is_refused_for_train(place):
    told = refusal(place.client(Use.JUDGE), extra_headers=judging("train"))
    assert (told.status_code, told.code) == (403, "use_not_permitted")
    assert place.billed() == 0


def test_the_use_of_a_key_that_permits_several_must_be_declared(place):
    client = place.client(Use.JUDGE, Use.TRAIN)
    told = refusal(client)
    assert (told.status_code, told.code) == (400, "use_not_declared")
    ask(client, extra_headers=judging("train"))
    assert [used.use for used in place.used()] == [Use.TRAIN]


def test_a_use_that_the_terms_forbid_is_refused_before_anything_is_forwarded(place):
    told = refusal(place.client(Use.TRAIN), model=OPENAI)
    assert (told.status_code, told.code) == (403, "refused")
    assert "openai-sa-2026-01-01" in told.message
    assert place.provider.counts()["billed"] == 0
    assert place.used() == []


def test_a_refusal_stands_in_the_ledger_once(place):
    for _ in range(3):
        refusal(place.client(Use.TRAIN), model=OPENAI)
    place.workspace.ledger.refresh()
    events = [entry.predicate.get("event") for entry in place.workspace.ledger.entries()]
    assert events.count("refused") == 1


def test_an_unknown_key_is_turned_away(place):
    client = place.client_with("ts-made-up")
    told = refusal(client)
    assert (told.status_code, told.code) == (401, "invalid_api_key")
    assert "ts-made-up" not in told.message


@pytest.mark.parametrize("end", ["revoked", "blocked", "expired"])
def test_a_key_that_is_not_valid_any_more_is_turned_away(place, end):
    expires_at = datetime.now(UTC) - timedelta(seconds=1) if end == "expired" else None
    client = place.client(expires_at=expires_at)
    (key,) = place.keys.list()
    if end == "revoked":
        place.keys.revoke(key.id)
    if end == "blocked":
        place.keys.block(key.id, "looping notebook")
    told = refusal(client)
    assert (told.status_code, told.code) == (401, f"key_{end}")
    assert place.billed() == 0


def test_a_revoked_key_stops_while_the_gateway_runs(place):
    client = place.client()
    ask(client)
    place.keys.revoke(place.keys.list()[0].id)
    assert refusal(client).code == "key_revoked"


def test_a_key_reaches_its_models_only(place):
    told = refusal(place.client(sources=("openai/*",)))
    assert (told.status_code, told.code) == (403, "model_not_permitted")


def test_a_model_that_is_not_there_is_said(place):
    told = refusal(place.client(), model="deepseek-chat")
    assert (told.status_code, told.code) == (404, "model_not_found")
    assert DEEPSEEK in told.message


def test_a_key_from_a_region_that_the_provider_does_not_serve_is_refused(opened, tmp_path):
    with opened() as place:
        terms = (
            Path(__file__).parents[2] / "src/trueseed/catalog/deepseek/deepseek-platform-2026-04-29.toml"
        ).read_text()
        assert "[regions]" not in terms
        extra = tmp_path / "work" / "terms"
        extra.mkdir()
        (extra / "deepseek.toml").write_text(f'{terms}\n[regions]\ntext = "Atlantis only"\nsupported = ["AT"]\n')
    with opened() as place:
        assert ask(place.client(region="AT")).choices
        told = refusal(place.client(region="XX"))
    assert (told.status_code, told.code) == (403, "refused")
    assert "'XX'" in told.message


def test_a_recall_reaches_a_running_gateway(place):
    client = place.client()
    ask(client)
    said = {"source": DEEPSEEK, "reason": "the maker asked", "at": "2026-01-01T00:00:00Z"}
    Workspace.open(place.folder).ledger.append(WITHDRAWAL, [], said, role="reviewer")
    told = refusal(client)
    assert (told.status_code, told.code) == (403, "refused")
    assert "recalled" in told.message
    assert place.billed() == 1


# what may be spent


def test_the_budget_of_a_key_is_not_exceeded(place):
    client = place.client(budget_micros=400)
    answered = 0
    with pytest.raises(openai.RateLimitError) as caught:
        for _ in range(20):
            ask(client)
            answered += 1
    assert answered >= 1
    assert caught.value.code == "budget_exceeded"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert place.keys.list()[0].charged_micros == place.charged()[1] <= 400


def test_a_limit_says_when_it_opens_again(opened):
    with opened(limits=[{"source": "deepseek/*", "per": "minute", "requests": 2}]) as place:
        client = place.client()
        ask(client)
        ask(client)
        told = refusal(client)
    assert (told.status_code, told.code) == (429, "rate_limit_exceeded")
    headers = told.response.headers
    assert 1 <= int(headers["retry-after"]) <= 62
    assert headers["x-ratelimit-limit-requests"] == "2"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["x-ratelimit-reset-requests"].endswith("s")


def test_a_limit_that_never_opens_again_asks_for_no_retry(opened):
    with opened(limits=[{"source": "deepseek/*", "per": "total", "tokens": 1}]) as place:
        told = refusal(place.client())
    assert (told.status_code, told.code) == (429, "allowance_exceeded")
    assert told.response.headers["x-should-retry"] == "false"
    assert "retry-after" not in told.response.headers


def test_missing_usage_is_charged_as_reserved(opened):
    with opened(Behaviour(faults=Faults(missing_usage=1))) as place:
        ask(place.client(), max_tokens=50)
        list(ask(place.client(), max_tokens=50, stream=True))
        tokens, _ = place.charged()
        assert [call["usage"] for call in place.calls()] == ["not told", "not told"]
    assert tokens > 2 * 50


def test_what_is_not_billed_by_tokens_is_refused(place):
    told = refusal(place.client(), extra_body={"web_search_options": {}})
    assert (told.status_code, told.param) == (400, "web_search_options")
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]}]
    assert refusal(place.client(), messages=image).param == "messages"
    assert place.billed() == 0


def test_a_client_without_a_bound_is_given_one(opened):
    with opened(max_tokens=5) as place:
        assert ask(place.client(), max_tokens=None).usage.completion_tokens <= 5
        told = refusal(place.client(), max_tokens=6)
    assert (told.status_code, told.param) == (400, "max_tokens")


# what goes wrong


def test_nothing_is_forwarded_when_the_account_is_gone(place):
    client = place.client()
    ask(client)
    Path(place.account.name.removeprefix("sqlite:///")).unlink()
    told = refusal(client)
    assert (told.status_code, told.code) == (503, "account_unavailable")
    assert httpx.get(f"{place.url}/health").status_code == 503
    assert place.billed() == 1


def test_an_answer_that_cannot_be_settled_is_not_let_go(opened):
    with opened(Behaviour(latency_s=0.5)) as place:
        client = place.client()
        gone = threading.Timer(0.2, Path(place.account.name.removeprefix("sqlite:///")).unlink)
        gone.start()
        told = refusal(client)
        gone.join()
        assert place.billed() == 1
    assert (told.status_code, told.code) == (503, "account_unavailable")


def test_a_suspension_holds_the_maker_and_nothing_more_is_forwarded(opened):
    with opened(Behaviour(suspend_at=2)) as place:
        client = place.client()
        ask(client)
        assert refusal(client).code == "on_hold"
        met = place.provider.counts()
        told = refusal(client)
        assert (told.status_code, told.code) == (403, "refused")
        assert "on hold" in told.message
        assert place.provider.counts() == met
        assert Holds(place.account, "us").on("deepseek")
        with pytest.raises(Refused):
            Holds(place.account, "us").check("deepseek/other@openrouter")


def test_the_maker_of_a_suspended_account_is_held_in_the_ledger(opened):
    with opened(Behaviour(suspend_at=1)) as place:
        refusal(place.client())
        place.workspace.ledger.refresh()
        held = [entry.predicate for entry in place.workspace.ledger.entries() if "hold" in entry.predicate_type]
    assert [each["maker"] for each in held] == ["deepseek"]


def test_a_rate_limit_of_the_provider_is_passed_on(opened):
    with opened(Behaviour(requests_per_minute=1)) as place:
        client = place.client()
        ask(client)
        told = refusal(client)
        assert (told.status_code, told.code) == (429, "rate_limit_exceeded")
        assert int(told.response.headers["retry-after"]) >= 0
        assert [call["end"] for call in place.calls()] == ["answered", "declined"]


def test_a_wrong_upstream_key_is_ours_to_mend(opened):
    with opened(Behaviour(keys=("sk-another-key-123456",))) as place:
        told = refusal(place.client())
    assert (told.status_code, told.code) == (502, "upstream_misconfigured")


@pytest.mark.parametrize("fault", ["html", "malformed", "empty_choices"])
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_no_answer_is_an_error_and_charged_as_reserved(opened, fault, stream):
    with opened(Behaviour(faults=Faults(**{fault: 1}))) as place:
        with pytest.raises(openai.APIError):
            list(ask(place.client(), stream=stream))
        assert [call["end"] for call in place.calls()] == ["garbled"]
        assert place.charged()[0] > 64


@pytest.mark.parametrize("fault", ["lost", "cut"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_call_of_which_nobody_knows_stays_reserved(opened, fault, stream):
    with opened(Behaviour(faults=Faults(**{fault: 1}))) as place:
        with pytest.raises(openai.APIError):
            list(ask(place.client(), stream=stream))
        assert [call["end"] for call in place.calls()] == ["unknown"]
        (used,) = place.used()
        assert used.reserved == 1
        assert used.charged.tokens > 64


def test_a_call_that_never_left_costs_nothing(opened):
    with opened(upstreams=[{"source": DEEPSEEK, "base_url": "http://127.0.0.1:9/v1", "price": PRICE}]) as place:
        told = refusal(place.client(budget_micros=10_000))
        assert (told.status_code, told.code) == (502, "upstream_unreachable")
        assert place.charged() == (0, 0)
        assert place.keys.list()[0].charged_micros == 0


def test_a_client_that_leaves_a_stream_is_charged_what_the_provider_bills(opened):
    with opened(Behaviour(stream_gap_s=0.02, answer_words=30)) as place:
        with ask(place.client(), stream=True) as stream:
            next(iter(stream))
        deadline = time.monotonic() + SOON
        while not place.calls() and time.monotonic() < deadline:
            time.sleep(0.02)
        counts = place.provider.counts()
        assert place.charged()[0] == counts["prompt_tokens"] + counts["completion_tokens"]
        assert [call["end"] for call in place.calls()] == ["answered"]


def test_a_stream_is_settled_before_its_end_is_let_go(place):
    for chunk in ask(place.client(), stream=True):
        if chunk.choices[0].finish_reason:
            (used,) = place.used()
            assert (used.answered, used.reserved) == (1, 0)
            return
    pytest.fail("the stream did not end")


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"model": "x", "messages": []}', b'{"model": "\\ud800"}'])
def test_a_body_that_is_no_question_is_said_to_be_none(place, body):
    headers = {"Authorization": f"Bearer {place.key()}", "Content-Type": "application/json"}
    response = httpx.post(f"{place.url}/v1/chat/completions", content=body, headers=headers)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


# what remains


def test_every_call_stands_in_the_ledger_and_can_be_proven(opened, own_state):
    with opened() as place:
        client = place.client()
        ids = [
            client.chat.completions.with_raw_response.create(
                model=DEEPSEEK, messages=[{"role": "user", "content": f"question {n}"}], max_tokens=8
            ).headers["x-trueseed-call"]
            for n in range(5)
        ]
    ledger, folder = place.workspace.ledger, place.folder / CALLS
    ledger.refresh()
    assert list(faults(ledger, folder)) == []
    for identity in ids:
        proof = prove(ledger, folder, identity)
        entry = ledger.entry(proof.entry)
        assert entry.predicate_type == SEAL
        assert proof.verifies(entry.predicate["calls"]["root"])
    assert verify_ledger(place.folder / "ledger", state=own_state).findings == ()


def test_verify_finds_a_call_that_was_edited(opened):
    with opened() as place:
        ask(place.client())
    assert not verify.workspace(place.folder).broken
    (journal,) = (place.folder / CALLS).glob("*.jsonl")
    journal.write_bytes(journal.read_bytes().replace(b'"use":"judge"', b'"use":"train"'))
    assert "are not the calls" in verify.workspace(place.folder).findings[0]


def test_a_gateway_that_is_stopped_has_sealed_its_calls(opened, tmp_path, own_state):
    with opened() as place:
        config = tmp_path / "gateway.yaml"
        upstream = {"source": DEEPSEEK, "model": "simulated", "base_url": place.provider.openai, "price": PRICE}
        config.write_text(json.dumps({"upstreams": [upstream]}))  # JSON is YAML
        command = [sys.executable, "-m", "trueseed", "gateway", "--port", "0", "--config", str(config)]
        command += ["--workspace", str(tmp_path / "other")]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            place.url = process.stderr.readline().split()[2]
            ask(place.client())
            process.send_signal(signal.SIGTERM)
            assert process.wait(SOON) == 0
            assert process.stderr.read() == ""
    other = Workspace.open(tmp_path / "other")
    seals = [entry.predicate["calls"] for entry in other.ledger.entries() if entry.predicate_type == SEAL]
    assert [seal["count"] for seal in seals] == [1]


def test_calls_are_sealed_while_the_gateway_runs(opened):
    with opened(seal_every_s=0.05) as place:
        ask(place.client())
        deadline = time.monotonic() + SOON
        while time.monotonic() < deadline:
            place.workspace.ledger.refresh()
            seals = [entry for entry in place.workspace.ledger.entries() if entry.predicate_type == SEAL]
            if seals:
                break
            time.sleep(0.02)
        assert seals[0].predicate["calls"]["count"] == 1


def test_the_journal_holds_digests_and_amounts_but_neither_words_nor_keys(place):
    token = place.key()
    client = place.client_with(token)
    said = ask(client, "a question about herons").choices[0].message.content
    written = b"".join(path.read_bytes() for path in place.folder.rglob("*") if path.is_file())
    for secret in (token, SECRET, "herons", said):
        assert secret.encode() not in written
    (call,) = place.calls()
    assert (call["use"], call["project"], call["key"]) == ("judge", "seed", place.keys.list()[0].id)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_passed_is_known_again(opened, stream):
    with opened(Behaviour(answer_words=40)) as place:
        answer = ask(place.client(), stream=stream)
        said = (
            "".join(chunk.choices[0].delta.content or "" for chunk in answer)
            if stream
            else answer.choices[0].message.content
        )
    remembered = Remembered(place.folder / ANSWERS)
    found = remembered.recognise(f"I once wrote: {said}")
    remembered.close()
    assert found.source == DEEPSEEK
    assert "judge" in found.about


def test_metrics_count_what_happened_and_name_no_key(place):
    ask(place.client())
    refusal(place.client(Use.JUDGE), extra_headers=judging("train"))
    text = httpx.get(f"{place.url}/metrics").text
    assert f'trueseed_gateway_calls_total{{end="answered",source="{DEEPSEEK}",use="judge"}} 1.0' in text
    assert 'trueseed_gateway_refused_total{code="use_not_permitted"} 1.0' in text
    assert "key-" not in text


def test_a_stranger_in_the_browser_is_turned_away(place):
    response = httpx.get(f"{place.url}/v1/models", headers={"Host": "evil.example"})
    assert response.status_code == 400


def test_an_upstream_without_a_price_is_not_offered(opened):
    with (
        pytest.raises(Refused, match="price"),
        opened(upstreams=[{"source": OPENAI, "base_url": "http://127.0.0.1:9/v1"}]),
    ):
        pass
