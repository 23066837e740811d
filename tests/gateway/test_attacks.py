"""What a client with bad intentions, or a provider that misbehaves, tries on a running gateway."""

import json
import select
import socket
import threading
import time
from contextlib import ExitStack, closing, suppress
from itertools import count
from urllib.parse import urlsplit

import httpx
import openai
import pytest
from tests.gateway.conftest import DEEPSEEK, OPENAI, PRICE, SECRET, SOON, ask, judging, refusal
from tests.gateway.provider import DONE, ERROR, STREAM, USAGE, chunk, chunked, completion, provider, sized

from trueseed.teachers.account.holds import Holds
from trueseed.teachers.simulator import Behaviour, Faults
from trueseed.terms.model import Use

QUESTION = {"model": DEEPSEEK, "messages": [{"role": "user", "content": "How is soup kept warm?"}], "max_tokens": 64}
RAW = json.dumps(QUESTION).encode()


def upstream(url):
    return {"upstreams": [{"source": DEEPSEEK, "base_url": url, "key_from": "UPSTREAM_KEY", "price": PRICE}]}


def head(token, *more: bytes) -> bytes:
    lines = [b"POST /v1/chat/completions HTTP/1.1", b"Host: localhost", b"Content-Type: application/json"]
    return b"\r\n".join([*lines, b"Authorization: Bearer " + token.encode(), *more, b"", b""])


def talk(place, *pieces: bytes) -> bytes:
    """All that comes back. The last request should ask to close the connection."""
    where = urlsplit(place.url)
    with closing(socket.create_connection((where.hostname, where.port), timeout=SOON)) as client:
        with suppress(BrokenPipeError):  # it may have answered and closed before the last piece
            for piece in pieces:
                client.sendall(piece)
        got = b""
        while more := client.recv(65_536):
            got += more
    return got


def post(place, raw=RAW, headers=()):
    given = [("Content-Type", "application/json"), *headers]
    return httpx.post(f"{place.url}/v1/chat/completions", content=raw, headers=given, timeout=SOON)


def settled(place, calls=1):
    """The journal's lines, once there are so many."""
    deadline = time.monotonic() + SOON
    while len(place.calls()) < calls:
        assert time.monotonic() < deadline, "the calls are not settled"
        time.sleep(0.01)
    return [call["end"] for call in place.calls()]


# -- the head of a request


def test_of_two_keys_neither_is_taken(place):
    """Whoever stands in front may have looked at the other."""
    good, poor = place.key(), place.key(budget_micros=0)
    for first, second in ((good, poor), (poor, good)):
        headers = [("Authorization", f"Bearer {first}"), ("Authorization", f"Bearer {second}")]
        told = post(place, headers=headers)
        assert (told.status_code, told.json()["error"]["code"]) == (400, "header_repeated")
        assert httpx.get(f"{place.url}/v1/models", headers=headers).status_code == 400
    assert place.billed() == 0


def test_of_two_declared_uses_neither_is_taken(place):
    headers = [("Authorization", f"Bearer {place.key(Use.JUDGE, Use.TRAIN)}")]
    headers += [("X-TrueSeed-Use", "judge"), ("X-TrueSeed-Use", "train")]
    assert post(place, headers=headers).json()["error"]["code"] == "header_repeated"
    assert place.billed() == 0


def test_a_forged_use_is_refused(place):
    token, length = place.key(), b"Content-Length: %d" % len(RAW)
    for use in (b"train", b"judge, train", b"JUDGE", b"", b"judge\x00", b"\xe9"):
        raw = head(token, b"Connection: close", length, b"X-TrueSeed-Use: " + use) + RAW
        assert talk(place, raw)[:12] in (b"HTTP/1.1 403", b"HTTP/1.1 400")
    assert place.billed() == 0


def test_without_a_key_a_body_is_not_even_waited_for(place):
    raw = head("ts-none", b"Content-Length: 1000000", b"Connection: close").replace(b"Bearer ts-none", b"")
    assert b"invalid_api_key" in talk(place, raw)


# -- the body


def test_a_body_that_says_it_is_too_long_is_refused_before_it_comes(place):
    raw = head(place.key(), b"Content-Length: 99999999", b"Connection: close")
    assert b"HTTP/1.1 413" in talk(place, raw)


def test_a_body_in_pieces_is_counted(opened):
    with opened(body_bytes=2_000) as place:
        begun = head(place.key(), b"Transfer-Encoding: chunked", b"Connection: close")
        piece = b"%x\r\n%b\r\n" % (len(RAW), RAW)
        assert b"HTTP/1.1 413" in talk(place, begun, piece, *[b"3e8\r\n%b\r\n" % (b" " * 1000)] * 4)
        assert b"HTTP/1.1 200" in talk(place, begun, piece, b"0\r\n\r\n")
        assert place.billed() == 1


def test_a_body_with_two_lengths_is_no_request(place):
    raw = head(place.key(), b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Connection: close")
    assert b"HTTP/1.1 400" in talk(place, raw, b"%x\r\n%b\r\n0\r\n\r\n" % (len(RAW), RAW))
    assert place.billed() == 0


def test_requests_in_one_packet_are_answered_in_turn_and_all_settled(place):
    token = place.key()
    kept = head(token, b"Content-Length: %d" % len(RAW)) + RAW
    last = head(token, b"Content-Length: %d" % len(RAW), b"Connection: close") + RAW
    assert talk(place, kept + kept + last).count(b"HTTP/1.1 200") == 3
    assert settled(place, 3) == ["answered"] * 3
    assert place.billed() == 3


def test_a_body_that_no_provider_can_be_sent_reserves_nothing(place):
    told = post(place, RAW.replace(b"soup", b"\xed\xa0\x80"), [("Authorization", f"Bearer {place.key()}")])
    assert (told.status_code, told.json()["error"]["code"]) == (400, "invalid_json")
    assert place.charged() == (0, 0)


def test_no_parameter_leads_to_another_model(place):
    raw = json.dumps({**QUESTION, "models": [OPENAI]}).encode()
    told = post(place, raw, [("Authorization", f"Bearer {place.key()}")])
    assert (told.status_code, told.json()["error"]["param"]) == (400, "models")
    assert place.charged() == (0, 0)


# -- many at once


def test_no_more_are_in_flight_than_the_settings_say_though_they_come_at_once(opened):
    reached, answering = count(), threading.Event()

    def says(say):
        next(reached)
        answering.wait(SOON)
        say(sized(completion()))

    with provider(says) as url, opened(**upstream(url), in_flight=2) as place:
        where, raw = urlsplit(place.url), head(place.key(), b"Content-Length: %d" % len(RAW)) + RAW
        with ExitStack() as stack:
            clients = [
                stack.enter_context(closing(socket.create_connection((where.hostname, where.port), timeout=SOON)))
                for _ in range(12)
            ]
            for client in clients:
                client.sendall(raw)
            busy = select.select(clients, [], [], SOON)[0]
            deadline = time.monotonic() + SOON
            while len(busy) < 10:
                assert sum(used.reserved for used in place.used()) <= 2 and time.monotonic() < deadline
                busy = select.select(clients, [], [], 0.1)[0]
            answering.set()
            said = [client.recv(65_536) for client in clients]
        assert sum(b'"busy"' in each for each in said) == 10
        assert next(reached) == 2


# -- a key that ends amid an answer


@pytest.mark.parametrize("end", ["revoked", "expired"])
def test_a_stream_that_was_let_in_is_settled_though_its_key_ends_and_the_next_is_refused(opened, end):
    with opened(Behaviour(stream_gap_s=0.05, answer_words=12, answer_words_spread=0)) as place:
        client = place.client(budget_micros=10_000)
        pieces = iter(ask(client, stream=True))
        next(pieces)
        if end == "revoked":
            place.keys.revoke(place.keys.list()[0].id)
        else:
            with place.account.writing() as connection:
                connection.exec_driver_sql("UPDATE access_keys SET expires_at = '2020-01-01T00:00:00Z'")
        assert list(pieces)[-1].choices[0].finish_reason
        assert refusal(client).code == f"key_{end}"
        assert settled(place) == ["answered"]
        counts = place.provider.counts()
        assert place.keys.list()[0].charged_micros == counts["prompt_tokens"] + counts["completion_tokens"]


# -- a client that leaves


@pytest.mark.parametrize(("stream", "words"), [(False, b""), (True, b""), (True, b"data:")])
def test_a_client_that_leaves_before_or_amid_its_answer_is_settled(opened, stream, words):
    with opened(Behaviour(latency_s=0.2, stream_gap_s=0.02, answer_words=20)) as place:
        raw = json.dumps({**QUESTION, "stream": stream}).encode()
        where = urlsplit(place.url)
        with closing(socket.create_connection((where.hostname, where.port), timeout=SOON)) as client:
            client.sendall(head(place.key(), b"Content-Length: %d" % len(raw)) + raw)
            got = b""
            while words not in got or (not words and not any(used.reserved for used in place.used())):
                got += client.recv(1_000) if words else b""
        assert settled(place) == ["answered"]
        counts = place.provider.counts()
        assert place.charged()[0] == counts["prompt_tokens"] + counts["completion_tokens"]


# -- a provider that misbehaves


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", ["html", "malformed", "bad_gateway"])
def test_what_is_no_answer_shows_no_key_of_ours(opened, fault, stream):
    with opened(Behaviour(echo_key=True, faults=Faults(**{fault: 1}))) as place:
        raw = json.dumps({**QUESTION, "stream": stream}).encode()
        told = post(place, raw, [("Authorization", f"Bearer {place.key()}")])
        assert "upstream_failed" in told.text
        assert SECRET not in told.text


def test_an_error_amid_a_stream_shows_no_key_of_ours(opened):
    broken = json.dumps({"error": {"message": f"failed for {SECRET}"}}).encode()
    said = STREAM + chunked(chunk("a"), broken) + b"0\r\n\r\n"
    with provider(lambda say: say(said)) as url, opened(**upstream(url)) as place:
        asked = json.dumps({**QUESTION, "stream": True}).encode()
        told = post(place, asked, [("Authorization", f"Bearer {place.key()}")])
        assert "upstream_failed" in told.text
        assert SECRET not in told.text


@pytest.mark.parametrize("stream", [False, True])
def test_a_suspension_that_is_told_with_status_200_is_one(opened, stream):
    error = json.dumps(ERROR).replace("KEY", SECRET).encode()
    said = STREAM + chunked(chunk("a"), error) + b"0\r\n\r\n" if stream else sized(error)
    with provider(lambda say: say(said)) as url, opened(**upstream(url)) as place:
        with pytest.raises(openai.APIError) as caught:
            list(ask(place.client(), stream=stream))
        assert caught.value.code == "on_hold"
        assert Holds(place.account, "us").on("deepseek")
        assert refusal(place.client()).code == "refused"
        (kept,) = (place.folder / "evidence").iterdir()
        assert "deactivated" in kept.read_text()
        assert SECRET not in kept.read_text()


@pytest.mark.parametrize("told", [[(9, 20), (9, 2)], [(9, 2), (9, 20)], [(9, 20), None]])
def test_of_a_usage_that_is_told_twice_the_larger_is_charged(opened, told):
    usages = [{"choices": [], "usage": usage and dict(zip(("prompt_tokens", "completion_tokens"), usage, strict=True))}
              for usage in told]  # fmt: skip
    events = [chunk("a", "stop"), *(json.dumps(each).encode() for each in usages), DONE]
    with provider(lambda say: say(STREAM + chunked(*events) + b"0\r\n\r\n")) as url, opened(**upstream(url)) as place:
        list(ask(place.client(), stream=True))
        assert place.charged()[0] == 29


def test_a_provider_that_hangs_after_the_last_word_holds_up_nobody(opened):
    hanging = threading.Event()

    def says(say):
        say(STREAM + chunked(chunk("a", "stop", usage=USAGE), DONE))
        hanging.wait(SOON)

    with provider(says) as url, opened(**upstream(url)) as place:
        assert [each.choices[0].finish_reason for each in ask(place.client(), stream=True)] == ["stop"]
        assert settled(place) == ["answered"]
        assert place.charged()[0] == 7
        hanging.set()


def test_an_answer_that_nobody_asked_for_is_given_to_nobody(opened):
    """Behind the first answer comes another, in the same packet."""
    numbers = count()

    def says(say):
        number = next(numbers)
        say(sized(completion(f"Answer {number}.")) + sized(completion(f"Not asked {number}.")))

    with provider(says) as url, opened(**upstream(url)) as place:
        client = place.client()
        said = [ask(client).choices[0].message.content for _ in range(3)]
        assert said == ["Answer 0.", "Answer 1.", "Answer 2."]
        assert settled(place, 3) == ["answered"] * 3


def test_a_declared_use_is_what_the_journal_says(place):
    ask(place.client(Use.JUDGE, Use.TRAIN), extra_headers=judging("train"))
    assert [call["use"] for call in place.calls()] == ["train"]
