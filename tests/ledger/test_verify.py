"""Whatever is changed is found, and the finding names it; whatever cannot be excluded is said."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trueseed.core.canonical import canonical
from trueseed.core.merkle import leaf_hash, root
from trueseed.errors import ConfigError
from trueseed.ledger.identity import Identity
from trueseed.ledger.log import Ledger
from trueseed.ledger.signing import Signer, encode, sign_note
from trueseed.ledger.statement import STEP, WAIVER, envelope, statement
from trueseed.ledger.verify import MOST_FINDINGS, verify_ledger


def leaves_of(folder: Path) -> list[bytes]:
    return (folder / "entries.jsonl").read_bytes().splitlines()


def put(folder: Path, leaves: list[bytes]) -> None:
    (folder / "entries.jsonl").write_bytes(b"".join(leaf + b"\n" for leaf in leaves))


def line(ledger: Ledger, signer: Signer, before: list[bytes], kind: str = STEP, **predicate: Any) -> bytes:
    """A well-made line for the place after `before`."""
    place = {"origin": ledger.origin, "index": len(before), "root": root([leaf_hash(each) for each in before]).hex()}
    return canonical(envelope(statement(kind, [], {"log": place, **predicate}), signer))


def opened(name: str) -> dict[str, Any]:
    return {"event": "opened", "run": name, "step": name, "inputs": []}


# -- what is in order ------------------------------------------------------------------------------------------------


def test_a_whole_ledger_has_no_findings(river, folder, state):
    report = verify_ledger(folder, state=state)
    assert (report.findings, report.notes) == ((), ())
    assert (report.origin, report.size, report.root) == (river.origin, river.size, river.root_hex)
    assert report.evidence == ("keys in the user's state", "the checkpoint in the user's state, 9 entries")


def test_a_report_is_plain_json(river, folder, state):
    report = verify_ledger(folder, state=state)
    assert report.to_json() == {
        "verdict": "whole",
        "origin": river.origin,
        "entries": 9,
        "root": river.root_hex,
        "findings": [],
        "notes": [],
        "evidence": list(report.evidence),
    }


def test_verifying_changes_nothing(river, folder, state):
    with (folder / "entries.jsonl").open("ab") as file:
        file.write(b"torn")
    before = {path: path.read_bytes() for path in (*folder.iterdir(), *state.rglob("*")) if path.is_file()}
    verify_ledger(folder, state=state)
    assert {path: path.read_bytes() for path in (*folder.iterdir(), *state.rglob("*")) if path.is_file()} == before


def test_a_stranger_with_the_operators_key_verifies_without_any_state(river, folder):
    report = verify_ledger(folder, keys=[str(river.identity.operator)])
    assert report.findings == ()
    assert report.evidence == ("keys given (--key)",)
    assert not any("--key" in note for note in report.notes)


def test_an_empty_ledger_is_in_order(ledger, folder, state):
    report = verify_ledger(folder, state=state)
    assert (report.findings, report.size, report.root) == ((), 0, root([]).hex())


def test_no_ledger_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="no ledger"):
        verify_ledger(tmp_path)


def test_keys_without_the_operators_are_a_config_error(river, folder):
    with pytest.raises(ConfigError, match="operator's key"):
        verify_ledger(folder, keys=[str(river.identity.reviewer)])


def test_a_newer_format_is_a_config_error(river, folder, operator):
    text = (folder / "keys").read_text().partition("\n\n")[0].replace("@v1", "@v2") + "\n"
    (folder / "keys").write_text(sign_note(text, operator, river.origin))
    with pytest.raises(ConfigError, match="upgrade"):
        verify_ledger(folder)


# -- what cannot be excluded -----------------------------------------------------------------------------------------


def test_without_an_outside_checkpoint_it_says_that_truncation_is_not_excluded(river, folder):
    report = verify_ledger(folder)
    assert report.evidence == ()
    assert any("truncation" in note and "--since" in note for note in report.notes)


def test_without_a_key_it_says_whose_word_was_taken(river, folder):
    notes = verify_ledger(folder).notes
    assert any("--key" in note and str(river.identity.operator) in note for note in notes)


def test_the_users_own_key_is_evidence_even_for_a_log_never_met(river, folder, state):
    remembered = state / "ledgers" / river.origin.replace("/", "-")
    for path in remembered.iterdir():
        path.unlink()
    report = verify_ledger(folder, state=state)
    assert report.evidence == ("the user's own key",)


def test_a_checkpoint_given_covers_what_it_covers(door, folder):
    door.step("one", outputs=["prompts:p"])
    since = door.ledger.checkpoint()
    door.step("two", ["prompts:p"], ["dataset:d"])
    report = verify_ledger(folder, since=since)
    assert report.findings == ()
    assert report.evidence == ("the checkpoint given (--since), 2 entries",)
    assert any("covers 2 of 4 entries" in note for note in report.notes)
    assert not any("truncation" in note for note in verify_ledger(folder, since=door.ledger.checkpoint()).notes)


def test_a_clock_that_goes_back_is_only_a_note(door, folder, state):
    door.say("refused", run="a", at="2026-05-01T00:00:00Z")
    door.say("refused", run="b", at="2026-04-01T00:00:00Z")
    report = verify_ledger(folder, state=state)
    assert report.findings == ()
    assert report.notes == (
        "entry 1 says 2026-04-01T00:00:00Z, an entry before it 2026-05-01T00:00:00Z: a clock went back",
    )


# -- what anyone without the keys can do -----------------------------------------------------------------------------


def test_every_flipped_bit_is_found(river, folder):
    dice = random.Random(11)
    for name, flips in (("entries.jsonl", 400), ("checkpoint", 250), ("keys", 250)):
        path = folder / name
        whole = path.read_bytes()
        for place in dice.sample(range(len(whole) * 8), flips):
            flipped = bytearray(whole)
            flipped[place // 8] ^= 1 << place % 8
            path.write_bytes(flipped)
            findings = verify_ledger(folder).findings
            assert findings, f"{name}: bit {place} of {len(whole) * 8}"
            if name != "entries.jsonl":
                assert any(repr(name) in finding for finding in findings)
        path.write_bytes(whole)
    assert not verify_ledger(folder).broken


def test_a_flipped_bit_names_its_entry(river, folder):
    dice = random.Random(12)
    leaves = leaves_of(folder)
    for _ in range(60):
        index = dice.randrange(len(leaves))
        flipped = bytearray(leaves[index])
        flipped[dice.randrange(len(flipped))] ^= 1  # the lowest bit turns no byte of ours into a newline
        put(folder, [*leaves[:index], bytes(flipped), *leaves[index + 1 :]])
        assert verify_ledger(folder).findings[0].startswith(f"entry {index} (line {index + 1}): ")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(data=st.data())
def test_any_other_bytes_are_found(river, folder, data):
    path = folder / data.draw(st.sampled_from(["entries.jsonl", "checkpoint", "keys"]))
    whole = path.read_bytes()
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 200)))
    between = data.draw(st.binary(max_size=8) | st.just(whole[start:end] * 2))
    changed = whole[:start] + between + whole[end:]
    appended = path.name == "entries.jsonl" and changed.startswith(
        whole
    )  # that is a torn line, or another test's matter
    if changed == whole or appended:
        return
    path.write_bytes(changed)
    try:
        assert verify_ledger(folder).broken
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("index", [0, 3, 7])
def test_a_removed_entry_is_named(river, folder, index):
    leaves = leaves_of(folder)
    put(folder, leaves[:index] + leaves[index + 1 :])
    findings = verify_ledger(folder).findings
    assert findings[0].startswith(
        f"entry {index} (line {index + 1}): it was written as entry {index + 1}: entries were removed"
    )
    assert any("the checkpoint signed 9 entries" in finding for finding in findings)
    assert len(findings) == 2


def test_entries_cut_off_the_end_are_found_by_the_checkpoint(river, folder):
    put(folder, leaves_of(folder)[:-2])
    assert verify_ledger(folder).findings == (
        "the checkpoint signed 9 entries, entries.jsonl has 7: entries 7 to 8 were removed or torn",
    )


def test_swapped_entries_are_named(river, folder):
    leaves = leaves_of(folder)
    leaves[2], leaves[3] = leaves[3], leaves[2]
    put(folder, leaves)
    findings = verify_ledger(folder).findings
    assert findings[0].startswith("entry 2 (line 3): it was written as entry 3")
    assert findings[1].startswith("entry 3 (line 4): it was written as entry 2")
    assert findings[2].startswith("the first 9 entries hash to root")
    assert len(findings) == 3


def test_a_repeated_entry_is_named(river, folder):
    leaves = leaves_of(folder)
    put(folder, [*leaves[:4], leaves[1], *leaves[4:]])
    assert verify_ledger(folder).findings[0].startswith("entry 4 (line 5): it was written as entry 1")


def test_an_entry_of_another_log_is_named(river, folder, state, tmp_path):
    other = Ledger.open(tmp_path / "other", state=state, create=True)
    other.append(STEP, [], opened("elsewhere"))
    put(folder, [*leaves_of(other.folder), *leaves_of(folder)[1:]])
    assert verify_ledger(folder).findings[0] == f"entry 0 (line 1): it was written for log {other.origin!r}"


def test_a_statement_by_an_unknown_key_is_named(river, folder, state):
    stranger = Signer.from_seed("operator", bytes(32))
    leaves = leaves_of(folder)
    put(folder, [*leaves, line(river, stranger, leaves, **opened("forged"))])
    for findings in (verify_ledger(folder).findings, verify_ledger(folder, state=state).findings):
        assert findings == (f"entry 9 (line 10): it is signed by an unknown key ({stranger.key_id})",)


def test_a_ledger_of_another_operator_is_not_the_one_whose_key_was_given(river, folder):
    stranger = Signer.from_seed("operator", bytes(32)).key(river.origin)
    findings = verify_ledger(folder, keys=[str(stranger)]).findings
    assert findings[0].startswith("file 'keys' names the operator's key")
    assert any("file 'checkpoint' was edited: it carries no signature by" in finding for finding in findings)
    assert sum("signed by an unknown key" in finding for finding in findings) == 9


def test_a_ledger_signed_anew_by_a_stranger_contradicts_the_state(river, folder, state):
    operator, reviewer = Signer.from_seed("operator", bytes(32)), Signer.from_seed("reviewer", bytes(range(32)))
    forged: list[bytes] = []
    for name in "abc":
        forged.append(line(river, operator, forged, **opened(name)))
    put(folder, forged)
    (folder / "keys").write_text(Identity.of(river.origin, operator, reviewer).sign(operator))
    text = f"{river.origin}\n3\n" + encode(root([leaf_hash(leaf) for leaf in forged])) + "\n"
    (folder / "checkpoint").write_text(sign_note(text, operator, river.origin))
    assert verify_ledger(folder).findings == ()  # it is a ledger; only not this one
    assert any(
        "differs from what this user's state keeps" in finding
        for finding in verify_ledger(folder, state=state).findings
    )
    assert verify_ledger(folder, keys=[str(river.identity.operator)]).broken


@pytest.mark.parametrize("name", ["entries.jsonl", "checkpoint", "keys"])
def test_a_missing_file_is_named(river, folder, state, name):
    (folder / name).unlink()
    assert any(f"file {name!r} is missing" in finding for finding in verify_ledger(folder, state=state).findings)


def test_without_its_key_file_a_given_key_still_checks_the_rest(river, folder):
    (folder / "keys").unlink()
    leaves = leaves_of(folder)
    put(folder, [*leaves[:1], leaves[1][:-5] + b"AAA" + leaves[1][-2:], *leaves[2:]])
    findings = verify_ledger(folder, keys=[str(river.identity.operator), str(river.identity.reviewer)]).findings
    assert findings[0] == "file 'keys' is missing"
    assert any(finding.startswith("entry 1 (line 2): ") for finding in findings)


def test_many_findings_are_counted_not_listed(door, folder):
    for number in range(20):
        door.step(f"step{number}")
    put(folder, [leaf.replace(b'"sig":"', b'"sig":"A', 1) for leaf in leaves_of(folder)])
    findings = verify_ledger(folder).findings
    assert len(findings) == MOST_FINDINGS + 1
    assert findings[-1] == "... and 16 more"


def test_deeply_nested_or_huge_lines_are_findings_not_crashes(river, folder):
    leaves = leaves_of(folder)
    for bad in (b"[" * 200_000, b'{"a":' * 50_000, b"\xff" * 100, b"", b"9" * 10_000, b'{"payload":1}'):
        put(folder, [*leaves, bad])
        assert verify_ledger(folder).findings[0].startswith("entry 9 (line 10): ")


# -- what a killed process leaves ------------------------------------------------------------------------------------


def test_a_torn_line_beyond_the_checkpoint_is_a_note(river, folder, state):
    with (folder / "entries.jsonl").open("ab") as file:
        file.write(b'{"payload":"eyJ')
    report = verify_ledger(folder, state=state)
    assert report.findings == ()
    assert "15 bytes of a torn line" in report.notes[0]


def test_a_torn_line_that_the_checkpoint_covers_is_a_finding(river, folder):
    whole = (folder / "entries.jsonl").read_bytes()
    (folder / "entries.jsonl").write_bytes(whole[:-1])
    assert verify_ledger(folder).findings[0].startswith("the checkpoint signed 9 entries, entries.jsonl has 8")


# -- what an insider with the operator's key can do ------------------------------------------------------------------


def test_an_entry_replaced_and_signed_anew_is_named_by_the_next(river, folder, operator, rewrite):
    leaves = leaves_of(folder)
    rewrite([*leaves[:4], line(river, operator, leaves[:4], **opened("nicer")), *leaves[5:]])
    findings = verify_ledger(folder).findings
    assert findings == ("entry 5 (line 6): entry 4 is not the one that stood there when this entry was written",)


def test_a_history_cut_and_signed_anew_contradicts_the_state(river, folder, state, rewrite):
    rewrite(leaves_of(folder)[:6])
    assert verify_ledger(folder).findings == ()  # nothing inside shows it: this is what outside checkpoints are for
    assert verify_ledger(folder, state=state).findings == (
        "rolled back: the checkpoint in the user's state signed 9 entries, the ledger has 6; entries 6 to 8 are gone "
        "(or were written in a copy of this workspace)",
    )
    assert (
        verify_ledger(folder, since=river.checkpoint())
        .findings[0]
        .startswith("rolled back: the checkpoint given (--since)")
    )


def test_a_history_written_anew_contradicts_the_state(river, folder, state, operator, rewrite):
    forged: list[bytes] = []
    for name in "abcdefghijk":
        forged.append(line(river, operator, forged, **opened(name)))
    rewrite(forged)
    assert verify_ledger(folder).findings == ()
    assert (
        verify_ledger(folder, state=state)
        .findings[0]
        .startswith("a fork: the checkpoint in the user's state signed another")
    )
    assert (
        verify_ledger(folder, since=river.checkpoint()).findings[0].startswith("a fork: the checkpoint given (--since)")
    )


def test_a_checkpoint_of_another_log_is_no_evidence(river, folder, state, tmp_path):
    other = Ledger.open(tmp_path / "other", state=state, create=True)
    for since in (other.checkpoint(), "nonsense", ""):
        report = verify_ledger(folder, since=since)
        assert report.findings[0].startswith("the checkpoint given (--since) is not a checkpoint of this log")
        assert report.evidence == ()


def test_a_waiver_that_the_operator_signed_is_named(river, folder, operator, rewrite):
    leaves = leaves_of(folder)
    rewrite([*leaves, line(river, operator, leaves, WAIVER, reason="trust me")])
    assert verify_ledger(folder).findings == (
        "entry 9 (line 10): the operator signed it, who may not sign a https://trueseed.dev/waiver/v1 statement",
    )


def test_a_statement_without_its_place_is_named(river, folder, operator, rewrite):
    leaves = leaves_of(folder)
    rewrite([*leaves, canonical(envelope(statement(STEP, [], opened("x")), operator))])
    assert verify_ledger(folder).findings[0] == "entry 9 (line 10): it does not say which place it was written for"


def test_a_line_that_is_signed_but_not_canonical_is_named(river, folder, operator, rewrite):
    leaves = leaves_of(folder)
    made = line(river, operator, leaves, **opened("x")).replace(b'","payloadType', b'", "payloadType')
    rewrite([*leaves, made])
    assert "not canonical JSON" in verify_ledger(folder).findings[0]


def test_steps_that_break_the_rules_are_findings(door, folder, state):
    door.say("done", run="r", step="train")
    assert verify_ledger(folder, state=state).findings == (
        "entry 0 (line 1): step 'train' of run 'r' is closed (done) without having been opened",
    )


def test_a_damaged_checkpoint_in_the_state_is_named(river, folder, state):
    kept = state / "ledgers" / river.origin.replace("/", "-") / "checkpoint"
    kept.write_text(kept.read_text().replace("\n9\n", "\n8\n"))
    assert (
        verify_ledger(folder, state=state)
        .findings[0]
        .startswith("the checkpoint in the user's state is not a checkpoint of this log")
    )


def test_an_unreadable_ledger_is_a_config_error(river, folder, monkeypatch: pytest.MonkeyPatch):
    real: Callable[..., bytes] = Path.read_bytes

    def refused(self: Path) -> bytes:
        if self.name == "checkpoint":
            raise PermissionError(13, "Permission denied", str(self))
        return real(self)

    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(ConfigError, match="Permission denied"):
        verify_ledger(folder)
