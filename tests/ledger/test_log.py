"""The log grows at its end only, survives kills at any byte, and notices when it is not what it was."""

import itertools
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from trueseed.core import merkle
from trueseed.core.durable import write_atomic
from trueseed.core.merkle import leaf_hash, root
from trueseed.errors import Broken, ConfigError, Refused
from trueseed.ledger import log
from trueseed.ledger.checkpoint import Checkpoint
from trueseed.ledger.identity import Identity
from trueseed.ledger.log import Ledger
from trueseed.ledger.proof import check_inclusion, prove_inclusion
from trueseed.ledger.signing import Signer, sign_note
from trueseed.ledger.statement import KEY_CHANGE, STEP, WAIVER, WITHDRAWAL, subject
from trueseed.ledger.verify import verify_ledger

SOON = 60  # seconds, for subprocesses on a busy machine


def say(ledger, n=1, **predicate):
    return [
        ledger.append(STEP, [], {"event": "opened", "run": "r", "step": "s", "inputs": [], **predicate})
        for _ in range(n)
    ]


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A process of its own that runs `code` with `Ledger` and its arguments at hand."""
    start = "import os, sys\nfrom pathlib import Path\nfrom trueseed.ledger import STEP, Ledger\n"
    code = start + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, _ = process.communicate(timeout=SOON)
    return out


# -- making, opening, appending ----------------------------------------------------------------------------------------


def test_a_new_ledger_is_empty_and_verifies(ledger, folder, state):
    assert (ledger.size, ledger.root_hex, list(ledger.entries())) == (0, root([]).hex(), [])
    assert Checkpoint.open(ledger.checkpoint(), ledger.identity.operator).size == 0
    assert not verify_ledger(folder, state=state).broken


def test_an_appended_entry_is_there_for_everyone(ledger, folder, state):
    made = ledger.append(STEP, [subject("dataset", "ab" * 32)], {"event": "opened"})
    assert list(Ledger.open(folder, state=state).entries()) == [made] == list(ledger.entries())
    assert made.index == 0
    assert made.statement["subject"] == [{"name": "dataset", "digest": {"sha256": "ab" * 32}}]
    assert made.key_id == ledger.identity.operator.key_id


def test_a_statement_says_its_place(ledger):
    first, second = say(ledger, 2)
    assert first.predicate["log"] == {"origin": ledger.origin, "index": 0, "root": root([]).hex()}
    assert second.predicate["log"]["root"] == root([leaf_hash(first.leaf)]).hex()


def test_the_root_is_over_the_lines(ledger, folder):
    say(ledger, 5)
    lines = (folder / "entries.jsonl").read_bytes().splitlines()
    assert ledger.root_hex == root([leaf_hash(line) for line in lines]).hex()
    assert ledger.leaf_hashes == tuple(leaf_hash(line) for line in lines)


def test_entries_are_read_from_any_start(ledger):
    made = say(ledger, 4)
    for start in range(6):
        assert list(ledger.entries(start)) == made[start:]
    assert ledger.entry(2) == made[2]


@pytest.mark.parametrize("index", [-1, 2])
def test_an_entry_that_is_not_there_is_a_config_error(ledger, index):
    say(ledger, 2)
    with pytest.raises(ConfigError, match=f"no entry {index}"):
        ledger.entry(index)


def test_the_checkpoint_is_kept_in_folder_and_state(ledger, folder, state):
    say(ledger)
    kept = state / "ledgers" / ledger.origin.replace("/", "-")
    assert (folder / "checkpoint").read_text() == (kept / "checkpoint").read_text() == ledger.checkpoint()
    assert (folder / "keys").read_text() == (kept / "keys").read_text()


def test_no_private_key_is_in_the_workspace(ledger, folder):
    say(ledger)
    assert all(b"PRIVATE" not in path.read_bytes() for path in folder.parent.rglob("*") if path.is_file())


def test_waivers_are_signed_by_the_reviewer_only(ledger):
    entry = ledger.append(WAIVER, [], {"reason": "read it"}, role="reviewer")
    assert ledger.signed_by(entry, "reviewer")
    assert not ledger.signed_by(entry, "operator")
    with pytest.raises(ConfigError, match="signed by the reviewer"):
        ledger.append(WAIVER, [], {"reason": "let me"})


def test_steps_are_signed_by_the_operator_only(ledger):
    with pytest.raises(ConfigError, match="signed by the operator"):
        ledger.append(STEP, [], {}, role="reviewer")


def test_a_withdrawal_may_be_signed_by_either(ledger):
    for role in ("operator", "reviewer"):
        ledger.append(WITHDRAWAL, [], {"source": "a/b@api", "reason": "", "at": ""}, role=role)


def test_a_folder_without_a_ledger_is_a_config_error(tmp_path, state):
    with pytest.raises(ConfigError, match="no ledger"):
        Ledger.open(tmp_path / "nowhere", state=state)


def test_a_folder_of_something_else_is_not_taken_over(tmp_path, state):
    (tmp_path / "diary").write_text("dear")
    with pytest.raises(ConfigError, match="not empty and not a ledger"):
        Ledger.open(tmp_path, state=state, create=True)


def test_an_empty_folder_becomes_a_ledger(folder, state):
    folder.mkdir(parents=True)
    assert Ledger.open(folder, state=state, create=True).size == 0


def test_threads_that_create_at_once_share_one_ledger(folder, state):
    opened = []
    together = threading.Barrier(4)

    def create():
        together.wait()
        opened.append(Ledger.open(folder, state=state, create=True).origin)

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 4
    assert len(set(opened)) == 1


def test_another_users_ledger_is_read_but_not_continued(ledger, folder, tmp_path):
    say(ledger, 2)
    theirs = Ledger.open(folder, state=tmp_path / "another user")
    assert theirs.size == 2
    with pytest.raises(ConfigError, match=r"key of .* is not in .*bring that key"):
        say(theirs)
    assert not (tmp_path / "another user" / "keys").exists()


def test_what_has_no_canonical_form_leaves_nothing(ledger, folder):
    with pytest.raises(ConfigError):
        say(ledger, config={"rate": float("nan")})
    assert (folder / "entries.jsonl").read_bytes() == b""


def test_an_append_costs_the_same_however_long_the_log(ledger, monkeypatch):
    say(ledger, 100)
    counted = itertools.count()
    real = merkle.node_hash
    monkeypatch.setattr(merkle, "node_hash", lambda left, right: (next(counted), real(left, right))[1])
    reads = []
    monkeypatch.setattr(log.Ledger, "_read_lines", lambda self, size: reads.append(size))
    say(ledger)
    assert next(counted) <= 4 * (100).bit_length()
    assert reads == [] or reads == [ledger.size - 1]


def steps(n):
    return [(STEP, [], {"event": "opened", "run": f"r{i}", "step": "s", "inputs": []}) for i in range(n)]


def test_entries_appended_together_stand_as_if_one_by_one(ledger, folder, state, monkeypatch):
    say(ledger)
    notes = []
    monkeypatch.setattr(log, "write_atomic", lambda path, data: (notes.append(path.name), write_atomic(path, data)))
    made = ledger.append_all(steps(5))
    assert notes == ["checkpoint"]
    assert [entry.index for entry in made] == [1, 2, 3, 4, 5]
    assert list(ledger.entries(1)) == made == list(Ledger.open(folder, state=state).entries(1))
    report = verify_ledger(folder, state=state)
    assert (report.findings, report.notes, report.size) == ((), (), 6)
    assert ledger.append_all([]) == []


def test_of_entries_appended_together_all_are_there_or_none(ledger, folder, state, monkeypatch):
    say(ledger)
    before = (folder / "entries.jsonl").read_bytes()

    def refuse(ledger):
        raise Refused("no")

    def full(path, data):
        raise OSError("full")

    with pytest.raises(Refused):
        ledger.append_all(steps(3), unless=refuse)
    with pytest.raises(ConfigError, match="canonical JSON"):
        ledger.append_all([*steps(2), (STEP, [], {"event": float("nan")})])
    with pytest.raises(ConfigError, match="signed by the reviewer"):
        ledger.append_all([*steps(2), (WAIVER, [], {})])
    with pytest.raises(ConfigError, match="by itself"):
        ledger.append_all([*steps(2), (KEY_CHANGE, [], {})])
    monkeypatch.setattr(log, "write_atomic", full)
    with pytest.raises(ConfigError, match="free space"):
        ledger.append_all(steps(3))
    monkeypatch.undo()
    assert (folder / "entries.jsonl").read_bytes() == before
    assert say(ledger)[0].index == 1
    assert not verify_ledger(folder, state=state).broken


def test_a_kill_while_entries_are_appended_together_leaves_the_first_few(ledger, folder, state):
    say(ledger)
    remembered = state / "ledgers" / ledger.origin.replace("/", "-")
    files = (folder / "entries.jsonl", folder / "checkpoint", remembered / "checkpoint")
    short, note, kept = (path.read_bytes() for path in files)
    ledger.append_all(steps(3))
    whole = files[0].read_bytes()
    for length in range(len(short), len(whole) + 1, 97):
        for path, data in zip(files, (whole[:length], note, kept), strict=True):
            path.write_bytes(data)
        assert Ledger.open(folder, state=state).size == whole[:length].count(b"\n")
        assert not verify_ledger(folder, state=state).broken


def test_proofs_of_a_log_that_grows_do_not_make_its_tree_anew(ledger, monkeypatch):
    ledger.append_all(steps(100))
    prove_inclusion(ledger, 7)
    counted = itertools.count()
    real = merkle.node_hash
    monkeypatch.setattr(merkle, "node_hash", lambda left, right: (next(counted), real(left, right))[1])
    say(ledger)
    check_inclusion(prove_inclusion(ledger, 7), ledger.identity.operator)
    assert next(counted) <= 8 * (100).bit_length()


# -- others at work ----------------------------------------------------------------------------------------------------


def test_what_others_append_is_seen_after_a_refresh(ledger, folder, state):
    other = Ledger.open(folder, state=state)
    say(other, 3)
    assert ledger.size == 0
    ledger.refresh()
    assert ledger.size == 3
    assert ledger.root_hex == other.root_hex


def test_an_append_continues_what_others_appended(ledger, folder, state):
    other = Ledger.open(folder, state=state)
    for number in range(6):
        assert say((ledger, other)[number % 2])[0].index == number
    assert not verify_ledger(folder, state=state).broken


def test_unless_sees_what_others_appended_and_may_veto(ledger, folder, state):
    other = Ledger.open(folder, state=state)
    say(other, 2)
    seen = []

    def veto(current):
        seen.append([entry.index for entry in current.entries()])
        raise Refused("recalled meanwhile")

    with pytest.raises(Refused, match="recalled meanwhile"):
        ledger.append(STEP, [], {"event": "done"}, unless=veto)
    assert seen == [[0, 1]]
    assert Ledger.open(folder, state=state).size == 2
    assert say(ledger)[0].index == 2


APPENDER = """
    ledger = Ledger.open(Path(sys.argv[1]), state=Path(sys.argv[2]))
    for number in range(int(sys.argv[3])):
        ledger.append(STEP, [], {"event": "opened", "run": f"{os.getpid()}-{number}", "step": "s", "inputs": []})
"""


def test_processes_append_at_once_without_losing_anything(ledger, folder, state):
    processes = [child(APPENDER, folder, state, 25) for _ in range(4)]
    assert [finish(process) for process in processes] == [""] * 4
    report = verify_ledger(folder, state=state)
    assert (report.findings, report.size) == ((), 100)
    ledger.refresh()
    assert len({entry.predicate["run"] for entry in ledger.entries()}) == 100


def test_threads_append_at_once_without_losing_anything(ledger, folder, state):
    threads = [threading.Thread(target=say, args=(ledger, 10)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = verify_ledger(folder, state=state)
    assert (report.findings, report.size) == ((), 40)


def test_a_busy_ledger_verifies_and_opens_at_any_moment(ledger, folder, state):
    process = child(APPENDER, folder, state, 60)
    while process.poll() is None:
        assert verify_ledger(folder, state=state).findings == ()
        Ledger.open(folder, state=state)
    assert finish(process) == ""


# -- kills, full disks -------------------------------------------------------------------------------------------------


def test_cut_at_every_byte_beyond_the_checkpoint_it_opens_appends_and_verifies(ledger, folder, state):
    say(ledger)
    kept = state / "ledgers" / ledger.origin.replace("/", "-") / "checkpoint"
    files = (folder / "entries.jsonl", folder / "checkpoint", kept)
    short, note, _ = (path.read_bytes() for path in files)
    say(ledger)
    whole = files[0].read_bytes()
    for length in range(len(short), len(whole) + 1):
        for path, data in zip(files, (whole[:length], note, note), strict=True):
            path.write_bytes(data)
        if length % 8 == 0:
            assert verify_ledger(folder, state=state).findings == ()
        again = Ledger.open(folder, state=state)
        survived = 2 if length == len(whole) else 1
        assert again.size == survived
        assert say(again)[0].index == survived
        report = verify_ledger(folder, state=state)
        assert (report.findings, report.notes, report.size) == ((), (), survived + 1)


def test_several_whole_entries_beyond_the_checkpoint_are_kept(ledger, folder, state):
    say(ledger)
    note = (folder / "checkpoint").read_bytes()
    say(ledger, 3)
    (folder / "checkpoint").write_bytes(note)
    (state / "ledgers" / ledger.origin.replace("/", "-") / "checkpoint").write_bytes(note)
    with (folder / "entries.jsonl").open("ab") as file:
        file.write(b'{"payl')
    (folder / ".checkpoint.torn").write_bytes(b"half")
    assert Ledger.open(folder, state=state).size == 4
    assert verify_ledger(folder, state=state).findings == ()
    assert not (folder / ".checkpoint.torn").exists()


def test_a_kill_between_the_two_checkpoints_is_harmless(ledger, folder, state):
    say(ledger)
    kept = state / "ledgers" / ledger.origin.replace("/", "-") / "checkpoint"
    note = kept.read_bytes()
    say(ledger)
    kept.write_bytes(note)
    assert verify_ledger(folder, state=state).findings == ()
    assert Ledger.open(folder, state=state).checkpoint() == kept.read_text()


def test_a_whole_entry_beyond_the_checkpoint_that_nobody_signed_is_not_kept(ledger, folder, state):
    say(ledger)
    with (folder / "entries.jsonl").open("ab") as file:
        file.write(b"{}\n")
    for work in (lambda: Ledger.open(folder, state=state), lambda: say(ledger)):
        with pytest.raises(Broken, match=r"entry 1 \(line 2\)"):
            work()


def test_an_entry_moved_behind_the_checkpoint_is_not_kept(ledger, folder, state):
    say(ledger, 2)
    lines = (folder / "entries.jsonl").read_bytes().splitlines(keepends=True)
    with (folder / "entries.jsonl").open("ab") as file:
        file.write(lines[0])
    with pytest.raises(Broken, match="another place"):
        Ledger.open(folder, state=state)


def test_killed_at_random_moments_it_verifies_and_goes_on(ledger, folder, state):
    dice = random.Random(7)
    endless = """
        ledger = Ledger.open(Path(sys.argv[1]), state=Path(sys.argv[2]))
        print("open", flush=True)
        while True:
            ledger.append(STEP, [], {"event": "opened", "run": "r", "step": "s", "inputs": [], "filler": "x" * 5000})
            print(ledger.size, flush=True)
    """
    for _ in range(4):
        process = child(endless, folder, state)
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        time.sleep(dice.random() / 10)
        process.send_signal(signal.SIGKILL)
        promised = [int(line) for line in finish(process).splitlines() if line.isdecimal()]
        report = verify_ledger(folder, state=state)
        assert report.findings == ()
        again = Ledger.open(folder, state=state)
        assert again.size >= max(promised, default=0)
        say(again)
        assert verify_ledger(folder, state=state).notes == ()


def test_an_entry_is_on_disk_before_a_checkpoint_covers_it(ledger, folder, monkeypatch):
    happened = []

    def written(path: Path, data: str) -> None:
        happened.append(path.name)
        write_atomic(path, data)

    monkeypatch.setattr(log, "write_atomic", written)
    inode = (folder / "entries.jsonl").stat().st_ino

    def synced(descriptor: int) -> None:
        if os.fstat(descriptor).st_ino == inode:
            happened.append("entries.jsonl")

    monkeypatch.setattr(os, "fsync", synced)
    say(ledger)
    assert happened[:2] == ["entries.jsonl", "checkpoint"]


def test_a_full_disk_leaves_nothing_half_written(ledger, folder, state):
    say(ledger)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    full = """
        import resource
        from trueseed.errors import ConfigError
        ledger = Ledger.open(Path(sys.argv[1]), state=Path(sys.argv[2]))
        size = os.stat(Path(sys.argv[1]) / "entries.jsonl").st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, size + 100))  # the kernel writes 100 bytes, then fails
        try:
            ledger.append(STEP, [], {"event": "opened", "filler": "x" * 5000})
        except ConfigError as err:
            print(err)
    """
    assert "cannot be written" in finish(child(full, folder, state))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert verify_ledger(folder, state=state).notes == ()
    assert say(ledger)[0].index == 1


def test_a_checkpoint_that_cannot_be_written_takes_the_entry_back(ledger, folder, state, monkeypatch):
    say(ledger)
    before = (folder / "entries.jsonl").read_bytes()

    def no_space(path: Path, data: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(log, "write_atomic", no_space)
        with pytest.raises(ConfigError, match="No space left on device"):
            say(ledger)
    assert (folder / "entries.jsonl").read_bytes() == before
    assert say(ledger)[0].index == 1
    assert verify_ledger(folder, state=state).findings == ()


def test_an_interrupt_while_writing_takes_the_entry_back(ledger, folder, monkeypatch):
    before = (folder / "entries.jsonl").read_bytes()

    def interrupted(path: Path, data: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(log, "write_atomic", interrupted)
        with pytest.raises(KeyboardInterrupt):
            say(ledger)
    assert (folder / "entries.jsonl").read_bytes() == before


def test_what_a_checkpoint_covers_is_never_taken_back(ledger, folder, state, monkeypatch):

    def written_then_failed(path: Path, data: str) -> None:
        write_atomic(path, data)
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(log, "write_atomic", written_then_failed)
        with pytest.raises(ConfigError, match="Input/output error"):
            say(ledger)
    assert verify_ledger(folder, state=state).findings == ()
    assert say(ledger)[0].index == 1


def test_a_state_that_cannot_be_written_stops_the_append_before_anything_is(ledger, folder, state):
    kept = state / "ledgers" / ledger.origin.replace("/", "-")
    for path in kept.iterdir():
        path.unlink()
    kept.rmdir()
    kept.write_text("in the way")
    with pytest.raises(ConfigError):
        say(ledger)
    assert (folder / "entries.jsonl").read_bytes() == b""


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_read_but_not_continued(ledger, folder, state):
    say(ledger)
    folder.chmod(0o555)
    try:
        again = Ledger.open(folder, state=state)
        assert again.size == 1
        with pytest.raises(ConfigError, match="cannot be written"):
            say(again)
    finally:
        folder.chmod(0o755)


def test_a_lock_that_cannot_be_taken_is_a_config_error(ledger, folder):
    (folder / "lock").unlink(missing_ok=True)
    (folder / "lock").mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        say(ledger)


# -- tampering ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["entries.jsonl", "checkpoint", "keys"])
def test_a_missing_file_is_broken(ledger, folder, state, name):
    say(ledger)
    (folder / name).unlink()
    with pytest.raises(Broken, match=name):
        Ledger.open(folder, state=state)


def test_an_edited_entry_does_not_open(ledger, folder, state):
    say(ledger, 3)
    whole = (folder / "entries.jsonl").read_bytes()
    (folder / "entries.jsonl").write_bytes(whole.replace(b"eyJ", b"eyK", 1))
    with pytest.raises(Broken, match="trueseed verify"):
        Ledger.open(folder, state=state)


def test_an_entry_edited_while_open_is_noticed_when_read(ledger, folder):
    say(ledger, 2)
    whole = (folder / "entries.jsonl").read_bytes()
    (folder / "entries.jsonl").write_bytes(whole.replace(b"eyJ", b"eyK", 1))
    with pytest.raises(Broken, match="entry 0 changed while in use"):
        list(ledger.entries())


def test_a_truncated_ledger_does_not_open(ledger, folder, state):
    say(ledger, 3)
    lines = (folder / "entries.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "entries.jsonl").write_bytes(b"".join(lines[:2]))
    with pytest.raises(Broken, match="its checkpoint signed 3"):
        Ledger.open(folder, state=state)
    with pytest.raises(Broken):
        list(ledger.entries())


def test_a_rolled_back_copy_does_not_open_nor_continue(ledger, folder, state, copied):
    say(ledger, 2)
    old = copied(folder, "old")
    stale = Ledger.open(old, state=state)
    say(ledger, 2)
    with pytest.raises(Broken, match="rolled back"):
        Ledger.open(old, state=state)
    with pytest.raises(Broken, match="rolled back"):
        say(stale)
    assert stale.size == 2


def test_a_fork_does_not_open_nor_continue(ledger, folder, state, copied):
    say(ledger, 2)
    other = Ledger.open(copied(folder, "other"), state=copied(state, "other state"))
    say(ledger, 2)
    say(other, 3, step="another history")
    with pytest.raises(Broken, match="fork"):
        Ledger.open(other.folder, state=state)


def test_a_checkpoint_that_goes_back_while_open_is_noticed(ledger, folder):
    say(ledger)
    note = (folder / "checkpoint").read_bytes()
    say(ledger)
    (folder / "checkpoint").write_bytes(note)
    with pytest.raises(Broken, match="went back from 2 entries to 1"):
        ledger.refresh()


def test_other_keys_under_the_same_name_are_noticed(ledger, folder, state):
    operator, reviewer = Signer.from_seed("operator", bytes(32)), Signer.from_seed("reviewer", bytes(range(32)))
    (folder / "keys").write_text(Identity.of(ledger.origin, operator, reviewer).sign(operator))
    with pytest.raises(Broken, match="names other keys"):
        Ledger.open(folder, state=state)


def test_a_ledger_of_a_newer_format_asks_for_an_upgrade(ledger, folder, state, operator):
    text = (folder / "keys").read_text().partition("\n\n")[0].replace("@v1", "@v9") + "\n"
    (folder / "keys").write_text(sign_note(text, operator, ledger.origin))
    with pytest.raises(ConfigError, match=r"format 9.*upgrade"):
        Ledger.open(folder, state=state)


def test_a_state_that_cannot_be_read_is_a_config_error(ledger, folder, state):
    kept = state / "ledgers" / ledger.origin.replace("/", "-") / "keys"
    kept.unlink()
    kept.mkdir()
    with pytest.raises(ConfigError, match="TRUESEED_STATE"):
        Ledger.open(folder, state=state)
