"""Keys are rotated, lost and stolen; the log keeps its name, and its first key is all that a stranger needs."""

import shutil

import pytest

from trueseed.core.canonical import canonical
from trueseed.errors import Broken, ConfigError
from trueseed.ledger.log import Ledger
from trueseed.ledger.proof import check_consistency, check_inclusion, prove_consistency, prove_inclusion
from trueseed.ledger.signing import Signer
from trueseed.ledger.statement import KEY_CHANGE, envelope
from trueseed.ledger.succession import Succession, change
from trueseed.ledger.verify import verify_ledger


def grow(ledger, role="operator"):
    said = {"source": "x/y@api", "reason": "", "at": "2026-03-01"}
    return ledger.append("https://trueseed.dev/withdrawal/v1", [], said, role=role)


def whole(folder, **given):
    report = verify_ledger(folder, **given)
    assert report.findings == ()
    return report


@pytest.mark.parametrize("role", ["operator", "reviewer"])
@pytest.mark.parametrize("reason", ["rotated", "lost", "stolen"])
def test_a_key_is_changed_and_the_log_goes_on(river, folder, state, role, reason):
    first, before = river.identity.operator, river.checkpoint()
    size = river.size
    if reason == "lost":
        (state / "keys" / f"{role}.pem").unlink()
    new = river.renew(role, reason)
    assert new != next(key for key in river.identity.keys if key.role == role)
    entry = grow(river, role)
    assert river.signed_by(entry, role) and entry.key_id == new.key_id
    report = whole(folder, state=state, since=before, keys=[str(first)])
    assert any(f"entry {size} changed the {role}'s key" in note and reason in note for note in report.notes)
    again = Ledger.open(folder, state=state)
    assert (again.size, again.key(role)) == (size + 2, new)
    grow(again)
    assert check_consistency(prove_consistency(again, before), before, again.keys).size == size + 3
    assert check_inclusion(prove_inclusion(again, 2), again.keys).entry.index == 2


def test_an_open_log_learns_that_another_process_changed_a_key(river, folder, state):
    other = Ledger.open(folder, state=state)
    other.renew("operator", "rotated")
    grow(river)
    assert river.key("operator") == other.key("operator")
    whole(folder, state=state)


def test_keys_are_changed_many_times(river, folder, state):
    for role, reason in [
        ("operator", "rotated"),
        ("reviewer", "stolen"),
        ("operator", "lost"),
        ("reviewer", "rotated"),
    ]:
        river.renew(role, reason)
        grow(river, role)
    report = whole(folder, state=state, keys=[str(river.identity.operator)])
    assert sum("changed the" in note for note in report.notes) == 4


def test_another_ledger_of_the_user_goes_on_with_the_retired_key_until_it_is_changed_too(river, state, tmp_path):
    second = Ledger.open(tmp_path / "second", state=state, create=True)
    new = river.renew("operator", "rotated")
    grow(second)
    assert second.renew("operator", "rotated").public_key == new.public_key
    grow(second)
    whole(tmp_path / "second", state=state)


def test_who_holds_neither_key_changes_nothing(river, folder, state):
    for name in ("operator", "reviewer"):
        (state / "keys" / f"{name}.pem").unlink()
    with pytest.raises(ConfigError, match=r"docs/keys\.md"):
        river.renew("operator", "lost")
    assert not (folder / "succession").exists()
    assert list((state / "keys").glob("*.pem")) == []


def test_a_thief_of_the_operators_key_cannot_say_that_it_was_lost(river, state):
    """He may rotate it, which shows; but not in the reviewer's name."""
    key = Signer.from_seed("operator", bytes(32)).key(river.origin)
    with pytest.raises(Broken, match=r"does not match|unknown key"):
        river.append(KEY_CHANGE, [], change("operator", key, "stolen", "", ""), role="operator")
    assert river.key("operator") == river.identity.operator


def test_a_key_that_was_given_up_does_not_come_back(river):
    old = river.key("operator")
    river.renew("operator", "stolen")
    with pytest.raises(Broken, match="cannot become"):
        river.append(KEY_CHANGE, [], change("operator", old, "rotated", "", ""))


def test_entries_by_a_key_that_was_given_up_are_broken(river, folder, state, rewrite, operator):
    river.renew("operator", "stolen")
    entry = grow(river)
    forged = canonical(envelope(entry.statement, operator))
    rewrite([*(each.leaf for each in river.entries() if each.index < entry.index), forged])
    found = "\n".join(verify_ledger(folder).findings)
    assert "unknown key" in found and "checkpoint" in found


@pytest.mark.parametrize("how", ["missing", "emptied", "cut", "doubled"])
def test_the_file_of_changes_says_what_the_log_says(river, folder, state, how):
    river.renew("reviewer", "rotated")
    grow(river, "reviewer")
    path = folder / "succession"
    data = path.read_bytes()
    shutil.rmtree(state / "ledgers")
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes({"emptied": b"", "cut": data[:-9], "doubled": data + data}[how])
    assert verify_ledger(folder).findings != ()


def test_a_process_killed_before_the_checkpoint_leaves_a_change_that_counts(river, folder, state, monkeypatch):
    """The entry and the file are there, the checkpoint is the one before."""
    before = river.checkpoint()
    new = river.renew("operator", "rotated")
    (folder / "checkpoint").write_text(before)
    shutil.rmtree(state / "ledgers")
    again = Ledger.open(folder, state=state)
    assert again.key("operator") == new
    grow(again)
    whole(folder, state=state)
    (folder / "checkpoint").write_text(before)
    (folder / "succession").unlink()
    shutil.rmtree(state / "ledgers")
    assert Ledger.open(folder, state=state).key("operator") == new
    whole(folder, state=state)


def test_a_succession_reads_back(river):
    river.renew("operator", "rotated")
    river.renew("reviewer", "lost")
    assert Succession.read(river.identity.keys, river.keys.to_bytes()) == river.keys
