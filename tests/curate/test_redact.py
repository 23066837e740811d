"""Redaction takes out personal data, and no label."""

import json
import stat

import pytest

from trueseed.core.durable import state_folder
from trueseed.core.records import read_parquet
from trueseed.curate.redact import KEY, Config, Redactor, redact
from trueseed.errors import ConfigError
from trueseed.exchange.bring import Config as Import
from trueseed.exchange.bring import bring
from trueseed.workspace import Workspace

TEXT = (
    "Write to jo@example.com or to jo@example.com, call +49 30 901820, and pay with 4111 1111 1111 1111 or to "
    "DE89 3704 0044 0532 0130 00 whenever the ship comes in from the north."
)

pytest.importorskip("presidio_analyzer")


def test_personal_data_is_replaced_by_the_same_pseudonym_everywhere():
    redactor = Redactor(Config())
    text = redactor.text(TEXT)
    assert not any(taken in text for taken in ("jo@", "901820", "4111", "3704"))
    assert redactor.counts == {"EMAIL_ADDRESS": 2, "PHONE_NUMBER": 1, "CREDIT_CARD": 1, "IBAN_CODE": 1}
    first, second = [word.strip(",") for word in text.split() if word.startswith("<EMAIL")]
    assert first == second
    assert stat.S_IMODE((state_folder() / KEY).stat().st_mode) == 0o600


def test_a_maker_that_is_named_in_what_is_taken_out_stays_named():
    assert "openai" in Redactor(Config()).text("Mail jo.smith@openai.com for more.")


def test_a_type_that_is_none_is_an_error():
    with pytest.raises(ConfigError, match="no type 'NAME'"):
        Redactor(Config(types=["NAME"]))


def test_redaction_keeps_every_label_and_comes_back_recognised(tmp_path):
    workspace = Workspace.open(tmp_path / "work", create=True)
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"prompt": "How?", "completion": TEXT}) + "\n")
    given = bring(workspace, Import(file=str(rows), source="own/sailor"))
    with workspace.step("redact", inputs=[given.records]) as step:
        made = redact(Config(), given.records, step)
    assert workspace.labels(made) == set(given.labels)
    assert made.meta["redacted"] is True
    (old,), (new,) = (list(read_parquet(each.path("records.parquet"))) for each in (given.records, made))
    assert new.origin.parents == (old.id,) and new.origin.source == "own/sailor"
    closing = [entry.predicate for entry in workspace.ledger.entries() if entry.predicate.get("event") == "done"][-1]
    assert closing["counts"]["redacted:EMAIL_ADDRESS"] == 2
    rows.write_text(json.dumps({"prompt": "Why?", "completion": new.answer}) + "\n")
    back = bring(workspace, Import(file=str(rows), source="own/me", inherit=True))
    assert set(back.labels) > set(given.labels)
