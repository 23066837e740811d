"""The catalog against what was found when the texts were read: `read_texts.csv`, one line for each text.

from: the day it took effect or, where that was all there was, of its version or first sight. yes, no, conditional and
unclear are the reader's; `evaluate` is the grading of models, or the measuring of the service where that is forbidden.
"""

import csv
from pathlib import Path

import pytest

from trueseed.terms import Catalog, Facts, Relation, Use, judge_use
from trueseed.terms.model import Document

CATALOG = Catalog.load()
with (Path(__file__).parent / "read_texts.csv").open(encoding="utf-8", newline="") as file:
    TEXTS = list(csv.DictReader(file))
OF_ITS_OWN = {"apache-2.0-weights", "mit-weights"}  # digest and date of the copy in an installed wheel
LEFT_TO_OTHERS = {"xai-aup-2026"}  # silent alone
each = pytest.mark.parametrize("text", TEXTS, ids=[text["id"] for text in TEXTS])


def found(text: dict[str, str]) -> Document:
    return CATALOG.document(text["id"])


def permitted(document: Document, use: Use, *, commercial: bool = True) -> bool:
    facts = Facts(commercial=commercial, research=not commercial, country="US")
    return judge_use("a/b@c", document, use, Relation.OUTPUT, facts, None).permitted


def test_all_texts_are_there():
    assert len(TEXTS) == 56
    assert {text["id"] for text in TEXTS} <= {document.id for document in CATALOG.documents}


@each
def test_a_text_is_as_read_as_its_reader_said(text):
    assert found(text).verification == text["verification"]


@each
def test_its_digest_is_that_of_the_text_read(text):
    if text["id"] not in OF_ITS_OWN:
        assert found(text).text_sha256 == text["sha256"]


@each
def test_its_day_is_that_of_the_text(text):
    if text["id"] not in OF_ITS_OWN:
        assert str(found(text).effective_from) == text["from"]


@each
def test_what_the_reader_found_forbidden_is_not_permitted(text):
    document = found(text)
    if text["train_competing"] == "no":
        assert not permitted(document, Use.TRAIN)
    if text["train_any"] == "no":
        assert not permitted(document, Use.TRAIN_INTERNAL_CLASSIFIER)
    if text["evaluate"] in ("no", "unclear"):
        assert not permitted(document, Use.JUDGE)
        assert not permitted(document, Use.BENCHMARK_TEACHER)
    if text["product"] == "no":
        assert not permitted(document, Use.SERVE)


@each
def test_what_the_reader_found_allowed_is_permitted(text):
    document = found(text)
    if document.was_read and text["id"] not in LEFT_TO_OTHERS:
        if text["train_competing"] == "yes":
            assert permitted(document, Use.TRAIN, commercial=False)
        if text["evaluate"] == "yes":
            assert permitted(document, Use.JUDGE, commercial=False)
        if text["product"] == "yes":
            assert permitted(document, Use.SERVE, commercial=False)


@each
def test_what_was_not_read_refuses_and_says_what_is_reported(text):
    document = found(text)
    if text["verification"] in ("transcription", "unread"):
        assert not any(permitted(document, use) for use in Use)
        assert document.reported
        assert document.settle_by
