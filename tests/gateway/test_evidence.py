"""What remains of a call through the gateway."""

import json
import signal
import subprocess
import sys
import time

import httpx
import pytest
from tests.gateway.conftest import DEEPSEEK, OPENAI, PRICE, SECRET, SOON, ask, judging, refusal

from trueseed.errors import Refused
from trueseed.ledger.calls import CALLS, faults, prove
from trueseed.ledger.statement import SEAL
from trueseed.ledger.verify import verify_ledger
from trueseed.report import verify
from trueseed.similarity.remembered import ANSWERS, Remembered
from trueseed.teachers.simulator import Behaviour
from trueseed.terms.model import Use
from trueseed.workspace import Workspace


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
