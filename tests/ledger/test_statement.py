"""Statements are in-toto's, envelopes are DSSE's, and both have one spelling only."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueseed.core.canonical import canonical, digest
from trueseed.errors import Broken, ConfigError
from trueseed.ledger.signing import Signer, encode
from trueseed.ledger.statement import STEP, envelope, open_envelope, pae, parse_canonical, statement, subject

SIGNER = Signer.from_seed("operator", bytes(range(32)))
KEYS = [SIGNER.key("trueseed/0123456789abcdef")]


def signed(**predicate: Any) -> dict[str, Any]:
    return envelope(statement(STEP, [subject("dataset", "ab" * 32)], predicate), SIGNER)


def test_the_pre_authentication_encoding_is_that_of_dsse():
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_a_statement_has_the_fields_of_in_toto():
    assert statement(STEP, [subject("dataset", "ab" * 32)], {"event": "done"}) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "dataset", "digest": {"sha256": "ab" * 32}}],
        "predicateType": "https://trueseed.dev/step/v1",
        "predicate": {"event": "done"},
    }


def test_a_statement_about_nothing_is_about_its_predicate():
    made = statement(STEP, [], {"event": "opened"})
    assert made["subject"] == [subject("predicate", digest({"event": "opened"}))]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abc"), json_values, max_size=4))
def test_what_is_signed_is_opened(predicate):
    assert open_envelope(signed(**predicate), KEYS)["predicate"] == predicate


def test_an_unknown_key_is_named():
    with pytest.raises(Broken, match=f"unknown key \\({SIGNER.key_id}\\)"):
        open_envelope(signed(), [])


def test_the_key_id_is_only_a_hint():
    other = Signer.from_seed("reviewer", bytes(32))
    made = signed()
    made["signatures"][0]["keyid"] = other.key_id
    with pytest.raises(Broken, match="does not match"):
        open_envelope(made, [*KEYS, other.key("trueseed/0123456789abcdef")])


def change(**fields: Any) -> dict[str, Any]:
    return {**signed(event="done"), **fields}


@pytest.mark.parametrize(
    "made",
    [
        {},
        change(extra=1),
        change(payloadType="application/json"),
        change(payload="!"),
        change(payload=encode(b"{}")),
        change(signatures=[]),
        change(signatures=signed()["signatures"] * 2),
        change(signatures=[{**signed()["signatures"][0], "extra": 1}]),
        change(signatures=[{"sig": "AA=="}]),
    ],
)
def test_a_changed_envelope_is_broken(made):
    with pytest.raises(Broken):
        open_envelope(made, KEYS)


def by_hand(payload: bytes) -> dict[str, Any]:
    sig = encode(SIGNER.sign(pae("application/vnd.in-toto+json", payload)))
    return {
        "payload": encode(payload),
        "payloadType": "application/vnd.in-toto+json",
        "signatures": [{"keyid": SIGNER.key_id, "sig": sig}],
    }


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"{}",
        b'{"a":NaN}',
        b'{"a": 1}',
        b'{"a":1,"a":1}',
        b"[" * 100_000,
        json.dumps(statement(STEP, [], {})).encode(),
        canonical({**statement(STEP, [], {}), "more": 1}),
        canonical({**statement(STEP, [], {}), "subject": []}),
        canonical({**statement(STEP, [], {}), "subject": [{"name": "x", "digest": {"sha256": "AB" * 32}}]}),
        canonical({**statement(STEP, [], {}), "_type": "https://in-toto.io/Statement/v0.1"}),
    ],
)
def test_even_a_signed_statement_must_have_the_one_spelling_and_shape(payload):
    with pytest.raises(Broken):
        open_envelope(by_hand(payload), KEYS)


@pytest.mark.parametrize("value", [float("nan"), 2**60, "\ud800", {1: 2}])
def test_what_has_no_canonical_form_is_a_config_error(value):
    with pytest.raises(ConfigError, match="canonical JSON"):
        statement(STEP, [], {"config": value})


def test_a_subject_without_a_digest_is_our_own_mistake():
    with pytest.raises(ValueError, match="subjects must be"):
        statement(STEP, [{"name": "dataset"}], {})


def test_canonical_objects_are_parsed_and_nothing_else():
    assert parse_canonical(b'{"a":1}') == {"a": 1}
    for data in (b'{"a":1}\n', b'{"a":1.0}', b'{"b":1,"a":1}', b"\xff", b"null"):
        with pytest.raises(Broken, match="canonical JSON"):
            parse_canonical(data)
