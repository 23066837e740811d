from pathlib import Path

import pytest

from trueseed.errors import ConfigError
from trueseed.ledger.calls import Calls, faults, prove, seal_left
from trueseed.ledger.log import Ledger
from trueseed.ledger.statement import SEAL


@pytest.fixture
def ledger(tmp_path: Path, own_state: Path) -> Ledger:
    return Ledger.open(tmp_path / "ledger", state=own_state, create=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "calls"


def journal(ledger: Ledger, folder: Path, *batches: int, run: str = "run") -> Calls:
    """Calls `run-0`, `run-1`, …, sealed in batches of these sizes."""
    calls, at = Calls(folder, run), 0
    for size in batches:
        for _ in range(size):
            calls.append({"call": f"{run}-{at}", "text": "ä"})
            at += 1
        batch = calls.unsealed
        assert batch is not None
        ledger.append(SEAL, [], {"calls": batch.to_json()})
        calls.sealed(batch)
    return calls


def test_every_sealed_call_can_be_proven_alone(ledger, folder):
    journal(ledger, folder, 3, 5).close()
    for at in range(8):
        proof = prove(ledger, folder, f"run-{at}")
        sealed = ledger.entry(proof.entry).predicate["calls"]["root"]
        assert f"run-{at}" in proof.line
        assert proof.verifies(sealed)


def test_a_proof_holds_for_its_own_line_only(ledger, folder):
    from dataclasses import replace

    journal(ledger, folder, 4).close()
    proof = prove(ledger, folder, "run-2")
    sealed = ledger.entry(proof.entry).predicate["calls"]["root"]
    assert not replace(proof, line=proof.line.replace("run-2", "run-9")).verifies(sealed)
    assert not replace(proof, index=1).verifies(sealed)
    assert not replace(proof, path=()).verifies(sealed)


def test_a_call_that_is_not_sealed_yet_is_said(ledger, folder):
    calls = journal(ledger, folder, 1)
    calls.append({"call": "late"})
    with pytest.raises(ConfigError, match="not sealed yet"):
        prove(ledger, folder, "late")
    with pytest.raises(ConfigError, match="no call 'other'"):
        prove(ledger, folder, "other")
    calls.close()


def test_journals_as_they_were_sealed_have_no_faults(ledger, folder):
    journal(ledger, folder, 2, 3).close()
    assert list(faults(ledger, folder)) == []


@pytest.mark.parametrize("change", [(b"run-3", b"run-7"), (b'{"call":"run-0"', b'{"call": "run-0"')])
def test_a_line_that_was_edited_is_found(ledger, folder, change):
    journal(ledger, folder, 2, 3).close()
    path = folder / "run.jsonl"
    path.write_bytes(path.read_bytes().replace(*change))
    (fault,) = faults(ledger, folder)
    assert "run.jsonl" in fault


def test_a_journal_that_is_gone_is_found(ledger, folder):
    journal(ledger, folder, 2).close()
    (folder / "run.jsonl").unlink()
    (fault,) = faults(ledger, folder)
    assert "missing" in fault


def test_what_a_killed_process_left_is_sealed_once(ledger, folder):
    calls = journal(ledger, folder, 2)
    calls.append({"call": "run-2"})
    calls.close()  # as a kill does: lock gone, line there, no seal
    assert seal_left(ledger, folder) == 1
    assert seal_left(ledger, folder) == 0
    proof = prove(ledger, folder, "run-2")
    assert proof.verifies(ledger.entry(proof.entry).predicate["calls"]["root"])
    assert list(faults(ledger, folder)) == []


def test_a_living_writer_seals_its_own_calls(ledger, folder):
    calls = journal(ledger, folder, 1)
    calls.append({"call": "run-1"})
    assert seal_left(ledger, folder) == 0
    calls.close()


def test_calls_that_come_while_a_seal_is_written_belong_to_the_next(ledger, folder):
    calls = Calls(folder, "run")
    calls.extend([{"call": "one"}, {"call": "two"}])
    first = calls.unsealed
    calls.append({"call": "three"})
    assert calls.unsealed == first  # not sealed yet, so handed out again
    calls.sealed(first)
    second = calls.unsealed
    assert ((first.first, first.count), (second.first, second.count)) == ((0, 2), (2, 1))
    calls.sealed(second)
    assert calls.unsealed is None
    calls.close()
