"""Whoever holds the operator's key can sign what they like; what they sign is held against the texts all the same."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.terms.made import document, permits, refuses
from tests.test_workspace import put

from trueseed.errors import Broken, ConfigError, Refused
from trueseed.ledger.statement import STEP
from trueseed.ledger.steps import faults
from trueseed.report.proof import make
from trueseed.report.verify_proof import proof
from trueseed.terms.catalog import Catalog, keep
from trueseed.terms.model import Document, Effect, Facts, Label, Letter, Relation, Use
from trueseed.terms.rules import judge_use, may_flow
from trueseed.workspace import KEPT, Workspace

MISTRAL = "mistral/mistral-large@api"
TODAY = datetime.now(UTC).date()
PAPER = Letter(evidence=f"evidence/{'0' * 64}.txt")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace.open(tmp_path / "work", create=True)
    made.declare("seed", Facts())
    with made.step("prompts", brings={"own/mine": Relation.OUTPUT}) as step:
        dataset = put(step, "dataset")
    with made.step("train", inputs=[dataset], effect=Effect.TRAIN) as step:
        put(step, "weights")
    return made


def signed(workspace: Workspace, **lies: Any) -> tuple[str, ...]:
    """What is found in a proof after the operator signed a step of their own making, beside the true ones."""
    done = next(e for e in reversed(list(workspace.ledger.entries())) if e.predicate.get("step") == "train").predicate
    del done["log"]
    lie = {**done, "run": "lie", **lies}
    workspace.ledger.append(STEP, [], {**lie, "event": "opened", "outputs": []})
    workspace.ledger.append(STEP, [], lie)
    path = workspace.folder.parent / "proof.zip"
    path.write_bytes(make(workspace)[1])
    return proof(path, [workspace.ledger.identity.operator]).findings


def _made_weights(said: dict[str, Any]) -> bool:
    return said.get("step") == "train" and bool(said["outputs"])


def a_letter() -> Document:
    return document("yes", "mistral/*@api", permits(*Use), letter=PAPER, text_sha256="0" * 64)


def a_judge(workspace: Workspace, document: Document, **more: Any) -> tuple[str, ...]:
    """A step that asks a maker for grades, and says that `document` were the maker's terms, and what it permits."""
    keep(document, workspace.folder / KEPT)
    workspace.read_terms()
    said = judge_use(MISTRAL, document, Use.JUDGE, Relation.SCORE, workspace.facts, TODAY)
    lies = {
        "asks": [{"source": MISTRAL, "use": "judge"}],
        "brings": [],
        "effect": "none",
        "terms": {MISTRAL: document.digest},
        "verdicts": [said.to_json()],
    }
    label = {"source": MISTRAL, "relation": "score", "terms": document.digest}
    trained = next(
        e for e in workspace.ledger.entries() if e.predicate.get("step") == "train" and e.predicate["outputs"]
    )
    lies |= {"labels": [*trained.predicate["labels"], label], "outputs": []}
    lies |= {"inputs": [{**each, "role": "input"} for each in trained.predicate["outputs"]]}
    return signed(workspace, **{**lies, **more})


def test_terms_that_were_superseded_when_it_was_asked_are_not_its_terms(workspace):
    old = workspace.catalog.document("mistral-terms-2024-02-27")
    assert any("not in force" in found for found in a_judge(workspace, old))


def test_nor_are_those_of_another_source(workspace):
    own = workspace.catalog.governing("own/mine", TODAY)
    assert any("it governs own/" in found for found in a_judge(workspace, own))


def test_nor_is_a_letter_by_itself(workspace):
    letter = a_letter()
    assert any("governs nothing by itself" in found for found in a_judge(workspace, letter))


def test_a_letter_put_beside_a_source_of_which_it_does_not_speak_lifts_nothing():
    text = document("acme", "acme/*@api", refuses(*Use))
    letter = document("yes", "acme/small@api", permits(*Use), provider="acme", letter=PAPER)
    whole = replace(text, letters=(letter,))
    for source, permitted in (("acme/small@api", True), ("acme/large@api", False)):
        assert judge_use(source, whole, Use.TRAIN, Relation.OUTPUT, Facts(), TODAY).permitted is permitted
    searching = replace(text, letters=(replace(letter, sources=("acme/*@api",), features=("search",)),))
    assert not judge_use("acme/large@api", searching, Use.TRAIN, Relation.OUTPUT, Facts(), TODAY).permitted


def test_a_letter_in_a_label_permits_nothing(workspace):
    letter = replace(a_letter(), sources=(MISTRAL,))
    known = Catalog((letter,))
    (said,) = may_flow([Label(MISTRAL, Relation.OUTPUT, letter.digest)], known, Effect.TRAIN, Facts(), TODAY)
    assert not said.permitted


def test_a_verdict_by_the_terms_of_another_day_is_found(workspace):
    last = next(e for e in reversed(list(workspace.ledger.entries())) if e.predicate.get("step") == "train").predicate
    moved = [{**verdict, "at": "2024-01-01"} for verdict in last["verdicts"]]
    assert any("by the terms of 2024-01-01" in found for found in signed(workspace, verdicts=moved))


def test_a_label_under_other_terms_than_the_step_names_is_found(workspace):
    with pytest.raises(Broken, match="is not kept"):
        signed(workspace, brings=[{"source": "own/mine", "relation": "output"}], terms={"own/mine": "0" * 64})
    assert any("its label says others" in found for found in faults(workspace.ledger.entries()))


def test_weights_out_of_words_come_of_a_step_that_says_that_it_trains(workspace):
    dataset = next(made for made in workspace.lineage().artifacts() if made.kind == "dataset")
    dataset = workspace.store.get(f"dataset:{dataset.digest}")
    with pytest.raises(Refused, match="says so"), workspace.step("convert", inputs=[dataset]) as step:
        put(step, "weights", "learned in secret")
    with pytest.raises(ConfigError, match="no student"):
        signed(workspace, effect="none", verdicts=[])
    assert any("does not say that it trains" in found for found in faults(workspace.ledger.entries()))
