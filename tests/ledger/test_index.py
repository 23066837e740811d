"""The index finds things, can be lost at any time, and decides nothing."""

import pytest

from trueseed.ledger.log import Ledger
from trueseed.ledger.statement import STEP, WITHDRAWAL


def indices(entries):
    return [entry.index for entry in entries]


def test_entries_are_found_by_what_they_are_about(river, digest_of_name):
    assert indices(river.find(subject=digest_of_name("d"))) == [5, 6]
    assert indices(river.find(predicate_type=WITHDRAWAL)) == [8]
    assert indices(river.find(subject=digest_of_name("w"), predicate_type=STEP)) == [7]
    assert indices(river.find(subject="f" * 64)) == []
    assert indices(river.find()) == list(range(9))


def test_it_follows_the_log(door, digest_of_name):
    for number in range(3):
        door.step("make", outputs=[f"dataset:{number}"])
        assert indices(door.ledger.find(subject=digest_of_name(str(number)))) == [2 * number + 1]


@pytest.mark.parametrize("damage", [b"", b"not a database at all, but long enough to look like a file", None])
def test_it_is_made_anew_when_missing_or_damaged(river, folder, damage):
    expected = indices(river.find(predicate_type=STEP))
    if damage is None:
        (folder / "index.sqlite").unlink()
    else:
        (folder / "index.sqlite").write_bytes(damage)
    assert indices(river.find(predicate_type=STEP)) == expected
    assert (folder / "index.sqlite").stat().st_size > 0


def test_it_is_made_anew_when_it_is_of_another_log(river, folder, tmp_path, state):
    other = Ledger.open(tmp_path / "other", state=state, create=True)
    for number in range(12):
        other.append(WITHDRAWAL, [], {"source": str(number), "reason": "", "at": ""})
    list(other.find())
    (folder / "index.sqlite").write_bytes((other.folder / "index.sqlite").read_bytes())
    assert indices(river.find(predicate_type=WITHDRAWAL)) == [8]


def test_where_it_cannot_be_kept_it_still_answers(river, folder):
    (folder / "index.sqlite").mkdir()
    assert indices(river.find(predicate_type=WITHDRAWAL)) == [8]
