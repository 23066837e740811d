"""Other tools ask teachers through the gateway: what they get, and who is let in."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.gateway.conftest import DEEPSEEK, OPENAI, ask, judging, refusal

from trueseed.ledger.statement import WITHDRAWAL
from trueseed.terms.model import Use
from trueseed.workspace import Workspace


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
