"""A proof convinces whoever has the operator's key, and nothing else does."""

import random

import pytest

from trueseed.errors import Broken, ConfigError
from trueseed.ledger.log import Ledger
from trueseed.ledger.proof import check_consistency, check_inclusion, prove_consistency, prove_inclusion
from trueseed.ledger.signing import encode


def test_every_entry_is_proven_included(river):
    for entry in river.entries():
        shown = check_inclusion(prove_inclusion(river, entry.index), river.identity.operator)
        assert shown.entry == entry
        assert (shown.checkpoint.size, shown.checkpoint.root.hex()) == (river.size, river.root_hex)


def test_a_proof_has_the_form_of_tlog_proof(river):
    lines = prove_inclusion(river, 3).split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    assert lines[1] == f"extra {encode(river.entry(3).leaf)}"
    assert lines[2] == "index 3"
    assert "\n".join(lines[lines.index("") + 1 :]) == river.checkpoint()


def test_an_entry_that_is_not_there_is_not_proven(river):
    with pytest.raises(ConfigError, match="no entry 9"):
        prove_inclusion(river, 9)


def test_a_proof_of_a_log_of_one(door):
    door.say("refused", run="r")
    assert check_inclusion(prove_inclusion(door.ledger, 0), door.ledger.identity.operator).entry.index == 0


def test_every_flipped_bit_of_a_proof_counts(river):
    proof, dice = prove_inclusion(river, 5).encode(), random.Random(3)
    for place in dice.sample(range(len(proof) * 8), 500):
        flipped = bytearray(proof)
        flipped[place // 8] ^= 1 << place % 8
        with pytest.raises(Broken):
            check_inclusion(flipped.decode(errors="replace"), river.identity.operator)


def test_another_entry_is_not_proven_by_the_path(river):
    proof = prove_inclusion(river, 2)
    other = proof.replace(encode(river.entry(2).leaf), encode(river.entry(3).leaf))
    with pytest.raises(Broken, match="not entry 2 of the log"):
        check_inclusion(other, river.identity.operator)


@pytest.mark.parametrize("line", ["index 02", "index -2", "index ٢", "index 99", "index " + "9" * 400, "index"])
def test_an_odd_index_is_broken(river, line):
    with pytest.raises(Broken):
        check_inclusion(prove_inclusion(river, 2).replace("index 2", line), river.identity.operator)


@pytest.mark.parametrize("text", ["", "\n\n", "c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v1\nindex 0\n\n"])
def test_what_is_no_proof_is_broken(river, text):
    with pytest.raises(Broken):
        check_inclusion(text, river.identity.operator)


def test_a_path_that_is_too_long_is_broken(river):
    head, _, note = prove_inclusion(river, 2).partition("\n\n")
    for more in (1, 70):
        with pytest.raises(Broken, match="path"):
            check_inclusion(head + more * ("\n" + encode(bytes(32))) + "\n\n" + note, river.identity.operator)


def test_a_proof_needs_the_right_key(river, tmp_path):
    other = Ledger.open(tmp_path / "other", state=tmp_path / "other state", create=True)
    with pytest.raises(Broken, match="no signature by"):
        check_inclusion(prove_inclusion(river, 2), other.identity.operator)


def test_a_log_is_proven_to_continue_every_earlier_one(door):
    notes = []
    for number in range(6):
        door.say("refused", run=str(number))
        notes.append(door.ledger.checkpoint())
    for note in notes:
        proof = prove_consistency(door.ledger, note)
        assert check_consistency(proof, note, door.ledger.identity.operator).size == 6


def test_a_consistency_proof_has_the_form_that_witnesses_take(door):
    door.say("refused", run="a")
    old = door.ledger.checkpoint()
    door.say("refused", run="b")
    head, _, note = prove_consistency(door.ledger, old).partition("\n\n")
    assert head == f"old 1\n{encode(door.ledger.leaf_hashes[1])}"
    assert note == door.ledger.checkpoint()


def test_a_fork_is_not_proven(river, copied, state):
    folders = copied(river.folder, "fork"), copied(state, "fork state")
    other = Ledger.open(folders[0], state=folders[1])
    for each, run in ((river, "here"), (other, "there")):
        each.append("https://example.com/x", [], {"run": run})
    since = other.checkpoint()
    river.append("https://example.com/x", [], {"run": "more"})
    with pytest.raises(Broken, match="a fork"):
        prove_consistency(river, since)


def test_a_consistency_proof_from_another_size_is_broken(door):
    for number in range(4):
        door.say("refused", run=str(number))
    since = door.ledger.checkpoint()
    door.say("refused", run="more")
    proof = prove_consistency(door.ledger, since)
    for wrong in ("old 3", "old 04", "older 4", "old"):
        with pytest.raises(Broken):
            check_consistency(proof.replace("old 4", wrong), since, door.ledger.identity.operator)


def test_a_rollback_is_not_proven(river, copied, state):
    folders = copied(river.folder, "old"), copied(state, "old state")
    river.append("https://example.com/x", [], {})
    old = Ledger.open(folders[0], state=folders[1])
    with pytest.raises(Broken, match="rolled back"):
        prove_consistency(old, river.checkpoint())


def test_the_empty_log_needs_no_proof(ledger):
    with pytest.raises(ConfigError, match="empty"):
        prove_consistency(ledger, ledger.checkpoint())
