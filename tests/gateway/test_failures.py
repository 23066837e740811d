"""What goes wrong on the way: nothing is forwarded that may not be, and nothing is let go that was not settled."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import openai
import pytest
from tests.gateway.conftest import DEEPSEEK, PRICE, SECRET, SOON, ask, refusal

from trueseed.core.canonical import sha256
from trueseed.errors import Refused
from trueseed.teachers.account.holds import Holds
from trueseed.teachers.simulator import Behaviour, Faults


def test_nothing_is_forwarded_when_the_account_is_gone(place):
    client = place.client()
    ask(client)
    Path(place.account.name.removeprefix("sqlite:///")).unlink()
    told = refusal(client)
    assert (told.status_code, told.code) == (503, "account_unavailable")
    assert httpx.get(f"{place.url}/health").status_code == 503
    assert place.billed() == 1


@pytest.mark.parametrize("stream", [False, True])
def test_nothing_is_forwarded_while_the_journal_cannot_be_written_and_then_it_goes_on(opened, stream):
    """What came back meanwhile is charged and not let go, and is journalled as soon as there is room."""
    with opened() as place:
        client = place.client()
        ask(client)
        with full_disk(place.folder / "calls"):
            with pytest.raises(openai.APIError) as caught:
                list(ask(client, stream=stream))
            assert caught.value.code == "ledger_unavailable"
            assert str(place.folder) not in str(caught.value)
            assert place.billed() == 2
            told = refusal(client)
            assert (told.status_code, told.code) == (503, "ledger_unavailable")
            assert httpx.get(f"{place.url}/health").status_code == 503
            assert place.billed() == 2
        assert httpx.get(f"{place.url}/health").status_code == 200
        ask(client)
        assert place.billed() == 3
        assert [(call["end"], bool(call["answer"])) for call in place.calls()] == [
            ("answered", True),
            ("answered", False),
            ("answered", True),
        ]
        counts = place.provider.counts()
        assert place.charged()[0] == counts["prompt_tokens"] + counts["completion_tokens"]
    place.workspace.ledger.refresh()
    closing = [entry.predicate for entry in place.workspace.ledger.entries() if entry.predicate.get("event") == "done"]
    assert [each["counts"]["calls"] for each in closing] == [3]


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """What this process has open for writing in `folder` is, for a while, a device without room."""
    journals = []
    for link in list(Path("/proc/self/fd").iterdir()):
        with suppress(OSError):
            if link.readlink().parent == folder and link.readlink().suffix == ".jsonl":
                journals.append(int(link.name))
    assert journals
    taken = [(descriptor, os.dup(descriptor)) for descriptor in journals]
    full = os.open("/dev/full", os.O_WRONLY)
    for descriptor, _ in taken:
        os.dup2(full, descriptor)
    os.close(full)
    try:
        yield
    finally:
        for descriptor, kept in taken:
            os.dup2(kept, descriptor)
            os.close(kept)


def test_an_answer_that_cannot_be_settled_is_not_let_go(opened):
    with opened(Behaviour(latency_s=0.5)) as place:
        client = place.client()

        def remove_once_reserved() -> None:
            while not any(used.reserved for used in place.used()):
                time.sleep(0.01)
            Path(place.account.name.removeprefix("sqlite:///")).unlink()

        gone = threading.Thread(target=remove_once_reserved)
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


@pytest.mark.parametrize("stream", [False, True])
def test_what_the_provider_said_when_it_suspended_us_can_be_read_without_the_key(opened, stream):
    with opened(Behaviour(suspend_at=1, echo_key=True)) as place:
        refusal(place.client(), stream=stream)
        place.workspace.ledger.refresh()
        (held,) = (entry.predicate for entry in place.workspace.ledger.entries() if "hold" in entry.predicate_type)
        (kept,) = (place.folder / "evidence").iterdir()
    said = kept.read_text()
    assert said.startswith("401: ")
    assert "deactivated" in said
    assert "[key]" in said
    assert SECRET not in said
    assert kept.name == f"{held['evidence']}.txt" == f"{sha256(said.encode())}.txt"


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
