"""What a licence's end reaches follows from the licence, the relation, and what a thing is."""

import pytest

from trueseed.terms.catalog import Catalog
from trueseed.terms.ending import must_go, of_artifact
from trueseed.terms.model import Label, Relation

CATALOG = Catalog.load()


def label(document: str, relation: Relation) -> Label:
    return Label(source="any/model@weights", relation=relation, terms=CATALOG.document(document).digest)


@pytest.mark.parametrize(
    ("document", "relation", "kind", "outcome"),
    [
        ("gemma-terms-2025-03-24", Relation.OUTPUT, "weights", "must go"),
        ("gemma-terms-2025-03-24", Relation.WEIGHTS, "weights", "must go"),
        ("gemma-terms-2025-03-24", Relation.OUTPUT, "records", "may stay"),
        ("llama3.1-community", Relation.WEIGHTS, "weights", "must go"),
        ("llama3.1-community", Relation.OUTPUT, "weights", "may stay"),
        ("qwen-tongyi-2023-08-03", Relation.WEIGHTS, "weights", "must go"),
        ("qwen-tongyi-2023-08-03", Relation.OUTPUT, "weights", "may stay"),
        ("openai-business-2023-11-14", Relation.OUTPUT, "weights", "may stay"),
        ("openai-business-2023-08-28", Relation.OUTPUT, "weights", "unsettled"),
        ("apache-2.0-weights", Relation.WEIGHTS, "weights", "may stay"),
    ],
)
def test_the_end_of_a_licence_reaches(document, relation, kind, outcome):
    found = must_go(label(document, relation), kind, CATALOG)
    assert (found.outcome, document in found.because) == (outcome, True)


def test_what_nobody_established_is_unsettled():
    assert (
        must_go(Label(source="a/b@api", relation=Relation.OUTPUT, terms=""), "weights", CATALOG).outcome == "unsettled"
    )


def test_the_strictest_of_several_licences_decides():
    mixed = [label("apache-2.0-weights", Relation.WEIGHTS), label("gemma-terms-2025-03-24", Relation.FILTER)]
    assert of_artifact(mixed, "weights", CATALOG).document == "gemma-terms-2025-03-24"


def test_every_document_whose_words_order_deletion_has_the_duty():
    for document in CATALOG.documents:
        orders = document.on_termination.startswith("delete")
        assert orders == any(duty.kind == "delete-on-termination" for duty in document.duties), document.id
