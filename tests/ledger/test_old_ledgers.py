"""Every ledger that some version wrote verifies with this one, and reads the same."""

import shutil
from pathlib import Path

import pytest

from trueseed.core.canonical import canonical
from trueseed.ledger.identity import Identity
from trueseed.ledger.lineage import Lineage
from trueseed.ledger.log import Ledger
from trueseed.ledger.proof import check_consistency, check_inclusion
from trueseed.ledger.verify import verify_ledger
from trueseed.ledger.withdrawals import Recalls

OLD = Path(__file__).parents[1] / "old_ledgers"
ROOT = "c7435f5c962b4bf5e43fcb7d089df957abb47e9f29bbbaee4f252715f390b8c5"
KEY = "trueseed/00000000000000a1+081f6d97+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"


@pytest.fixture
def old(tmp_path):
    """A copy: opening writes a lock and an index."""
    return Ledger.open(Path(shutil.copytree(OLD / "v1", tmp_path / "v1")), state=tmp_path / "state")


def test_format_1_verifies():
    report = verify_ledger(OLD / "v1", since=(OLD / "v1" / "checkpoint-6").read_text(), keys=[KEY])
    assert (report.findings, report.size, report.root) == ((), 17, ROOT)


def test_proofs_of_format_1_are_accepted():
    operator = Identity.open((OLD / "v1" / "keys").read_text()).operator
    since = (OLD / "v1" / "checkpoint-6").read_text()
    assert check_consistency((OLD / "v1" / "consistency-6").read_text(), since, operator).size == 17
    assert check_inclusion((OLD / "v1" / "entry-7.tlog-proof").read_text(), operator).entry.index == 7


def test_entries_of_format_1_read_the_same(old):
    entries = list(old.entries())
    assert [entry.predicate.get("event", entry.predicate_type.split("/")[-2]) for entry in entries] == [
        "declaration", "opened", "done", "refused", "opened", "paused", "opened", "done", "seal",
        "opened", "done", "waiver", "opened", "abandoned", "opened", "done", "withdrawal",
    ]  # fmt: skip
    assert all(canonical(entry.envelope) == entry.leaf for entry in entries)
    assert old.signed_by(entries[11], "reviewer")
    assert entries[6].predicate["config"]["note"] == "é — 測試 \U0001f331"


def test_lineage_of_format_1_reads_the_same(old):
    lineage = Lineage.read(old)
    assert [made.kind for made in lineage.artifacts()] == ["prompts", "records", "dataset", "weights"]
    weights = lineage.artifacts()[-1].digest
    assert len(lineage.upstream(weights)) == 3
    assert {source for source, _, _ in lineage.labels(weights)} == {
        "huggingfacetb/smollm2-135m-instruct@weights", "mistral/mistral-large@api", "own/prompts",
    }  # fmt: skip
    (recall,) = Recalls.read(old).standing.values()
    assert (recall.source, recall.is_whole) == ("mistral/mistral-large@api", True)
    assert Recalls.read(old).reached(recall) == {made.digest for made in lineage.artifacts()[-2:]}
