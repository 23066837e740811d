"""A proof is checked without its workspace; whatever is changed in it is found, and never ends in a traceback."""

import io
import json
import os
import runpy
import shutil
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trueseed.core.chat import Message
from trueseed.core.durable import state_folder
from trueseed.core.records import Record, record_root, write_parquet
from trueseed.errors import Broken, ConfigError, TrueSeedError
from trueseed.ledger.checkpoint import Checkpoint
from trueseed.ledger.packed import pack, unpack, unpacked
from trueseed.ledger.signing import Key, Signer, load
from trueseed.ledger.statement import PERMISSION, STEP, subject
from trueseed.report import verify_proof
from trueseed.report.proof import _manifest, make
from trueseed.report.verify_proof import proof
from trueseed.terms.model import Effect, Facts, Relation
from trueseed.workspace import Workspace

BASE = "huggingfacetb/smollm2-135m-instruct@weights"


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test cuts the power, and waiting for the disk takes most of their time."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    """A student that was trained on own prompts and a base, and prompts that have nothing to do with it."""
    workspace = Workspace.open(tmp_path / "work", create=True)
    workspace.declare("seed", Facts())
    with workspace.step("prompts", brings={"own/mine": Relation.OUTPUT}) as step:
        dataset = step.write("dataset", lambda folder: _write(folder, "train.jsonl", "hello"), {})
    with workspace.step("weights", brings={BASE: Relation.WEIGHTS}) as step:
        base = step.write("weights", lambda folder: _write(folder, "base", "1"), {})
    with workspace.step("other", brings={"own/other": Relation.OUTPUT}) as step:
        step.write("prompts", lambda folder: _write(folder, "p", "unrelated"), {})
    with workspace.step("train", inputs=[dataset, base], effect=Effect.TRAIN) as step:
        step.write("weights", lambda folder: _write(folder, "student", "2"), {})
    return workspace


def _write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)


@pytest.fixture
def made(place: Workspace, tmp_path: Path) -> Path:
    path = tmp_path / "proof.zip"
    path.write_bytes(make(place)[1])
    return path


def key_of(place: Workspace) -> list[Key]:
    return [place.ledger.identity.operator]


def test_the_newest_students_proof_is_whole_for_a_stranger(place, made, monkeypatch, tmp_path):
    monkeypatch.setenv("TRUESEED_STATE", str(tmp_path / "nobody"))
    said = proof(made, key_of(place))
    assert (said.findings, said.differs, said.statements, said.entries) == ((), (), 7, 9)
    assert said.verdicts >= 4
    assert any("2 statements of the log are not in it" in note for note in said.notes)


def test_the_same_ledger_gives_the_same_bytes(place, made):
    assert make(Workspace.open(place.folder))[1] == made.read_bytes()


def test_without_a_key_it_says_that_nobody_vouched_for_it(place, made, monkeypatch, tmp_path):
    monkeypatch.setenv("TRUESEED_STATE", str(tmp_path / "nobody"))
    assert any(str(place.ledger.identity.operator) in note for note in proof(made, []).notes)


def test_another_key_is_not_accepted(made):
    with pytest.raises(Broken, match="not the key given"):
        proof(made, [Signer.from_seed("operator", bytes(32)).key("trueseed/0123456789abcdef")])


def test_texts_are_in_it_only_when_asked_for(place, tmp_path):
    without, with_texts = make(place)[1], make(place, records=True)[1]
    assert (b"hello" in without, b"hello" in with_texts) == (False, True)
    (tmp_path / "texts.zip").write_bytes(with_texts)
    assert proof(tmp_path / "texts.zip", key_of(place)).findings == ()


def test_a_verdict_that_does_not_follow_from_the_terms_is_found(place, tmp_path):
    """Signed by who holds the key: a step over a source of which nothing is established, said to be permitted."""
    done = next(e for e in reversed(list(place.ledger.entries())) if e.predicate.get("step") == "train").predicate
    lie = {**done, "run": "lie", "labels": [*done["labels"], {"source": "x/y@api", "relation": "output", "terms": ""}]}
    del lie["log"]
    about = [subject(each["kind"], each["digest"]) for each in lie["outputs"]]
    place.ledger.append(STEP, about, {**lie, "event": "opened", "outputs": []})
    place.ledger.append(STEP, about, lie)
    (tmp_path / "lie.zip").write_bytes(make(place)[1])
    said = proof(tmp_path / "lie.zip", key_of(place))
    assert any("x/y@api" in finding and "same rules" in finding for finding in said.findings)


def test_other_rules_differ_and_are_not_broken(place, made, monkeypatch):
    def stricter(*given, **named):
        return tuple(_refused(verdict) for verdict in may_flow(*given, **named))

    rederive = import_module("trueseed.terms.rederive")
    may_flow = rederive.may_flow
    monkeypatch.setattr(rederive, "may_flow", stricter)
    monkeypatch.setattr(rederive, "RULES_VERSION", "999")
    said = proof(made, key_of(place))
    assert (said.findings, len(said.differs) > 0) == ((), True)


def _refused(verdict):
    return replace(verdict, permitted=False)


def test_files_that_the_operator_did_not_sign_are_found(place, made):
    files = unpack(made)
    some = next(name for name in files if name.startswith("terms/"))
    for changed in ({**files, "terms/more.json": b"{}"}, {n: d for n, d in files.items() if n != some}):
        made.write_bytes(pack(changed))
        with pytest.raises(Broken, match="manifest"):
            proof(made, key_of(place))


@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_changed_byte_is_accepted(place, made, tmp_path, data):
    whole = made.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    kind = data.draw(st.sampled_from(["flip", "cut", "more", "drop"]))
    flipped = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    changed = {"flip": flipped, "cut": whole[:at], "more": whole + b"\0", "drop": whole[:at] + whole[at + 1 :]}[kind]
    (tmp_path / "changed.zip").write_bytes(changed)
    with pytest.raises(TrueSeedError) as raised:
        proof(tmp_path / "changed.zip", key_of(place))
    assert raised.value.exit_code in (2, 4)


def alone(path: Path, key: str, elsewhere: Path) -> subprocess.CompletedProcess[str]:
    """The single-file verifier, where trueseed cannot be imported."""
    script = str(shutil.copy(Path(__file__).parents[2] / "docs" / "verify_standalone.py", elsewhere))
    argv = [script, str(path), key]
    code = (
        f"import runpy, sys; sys.modules['trueseed'] = None; sys.argv = {argv!r}; "
        f"runpy.run_path({script!r}, run_name='__main__')"
    )
    bare = [sys.executable, "-I", "-c", code]
    return subprocess.run(bare, capture_output=True, text=True, check=False, cwd=elsewhere)


def test_the_single_file_verifier_agrees_and_says_what_it_does_not_check(place, made, tmp_path):
    done = alone(made, str(key_of(place)[0]), tmp_path)
    assert (done.returncode, "not checked: what the statements say" in done.stdout) == (0, True), done.stderr
    files = unpack(made)
    name = next(each for each in files if each.startswith("statements/"))
    made.write_bytes(pack({**files, name: files[name].replace(b"index", b"Index")}))
    assert alone(made, str(key_of(place)[0]), tmp_path).returncode == 4
    made.write_text("hello")
    assert alone(made, str(key_of(place)[0]), tmp_path).returncode == 2


LETTER = {
    "document": "yes",
    "terms": "0" * 64,
    "provider": "Acme",
    "evidence": {"name": "a", "sha256": "0" * 64},
    "at": "",
}


def by_the_operator(place, made, patch):
    """A letter that the operator signed in the place of the reviewer."""
    patch.setattr("trueseed.ledger.log.roles", lambda kind: frozenset({"operator", "reviewer"}))
    place.ledger.append(PERMISSION, [], LETTER)
    made.write_bytes(make(place)[1])


def spelt_otherwise(place, made, patch):
    patch.setattr("trueseed.ledger.log.canonical", lambda value: json.dumps(value).encode())
    place.ledger.append(PERMISSION, [], LETTER, role="reviewer")
    made.write_bytes(make(place)[1])


def said_otherwise(place, made, patch):
    patch.setattr("trueseed.ledger.statement.canonical", lambda value: json.dumps(value).encode())
    place.ledger.append(PERMISSION, [], LETTER, role="reviewer")
    made.write_bytes(make(place)[1])


def under_another_name(place, made, patch):
    """Where another key may have been in force."""
    files = unpack(made)
    del files["manifest"]
    files["statements/00000099.tlog-proof"] = files.pop("statements/00000001.tlog-proof")
    files["manifest"] = _manifest(place.ledger, make(place)[0], files).encode()
    made.write_bytes(pack(files))


def with_a_comment(place, made, patch):
    with zipfile.ZipFile(made, "a") as archive:
        archive.comment = b"another zip may hide here"


def another_manifest(place, made, patch):
    files = unpack(made)
    del files["manifest"]
    some = next(name for name in files if name.startswith("artifacts/"))
    files[some] = files[some].replace(b"sha256", b"SHA256")
    files["manifest"] = _manifest(place.ledger, make(place)[0], files).encode()
    made.write_bytes(pack(files))


FORGED = [by_the_operator, spelt_otherwise, said_otherwise, under_another_name, with_a_comment, another_manifest]


@pytest.mark.parametrize("forge", FORGED, ids=lambda forge: forge.__name__)
def test_what_is_broken_the_single_file_verifier_does_not_accept(place, made, monkeypatch, forge):
    """Forged by whoever holds the operator's key."""
    check = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "verify_standalone.py"))["check"]
    key = key_of(place)
    check(str(made), str(key[0]))
    with monkeypatch.context() as patch:
        forge(place, made, patch)
    with suppress(Broken):
        assert proof(made, key).broken
    with pytest.raises(Exception, match=r"."):
        check(str(made), str(key[0]))


def test_the_single_file_verifier_takes_a_key_that_is_none_for_a_mistake_and_not_for_a_forgery(place, made, tmp_path):
    key = str(key_of(place)[0])
    for copied in ("a key", key[:-4], "+".join(key.split("+")[:2])):
        done = alone(made, copied, tmp_path)
        assert (done.returncode, "copied in part" in done.stderr) == (2, True), done.stderr
    files = unpack(made)
    made.write_bytes(pack({name: data for name, data in files.items() if name != "keys"}))
    done = alone(made, key, tmp_path)
    assert (done.returncode, done.stderr) == (4, "BROKEN: no keys in it\n")


def zipped(*members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name given twice
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (zipped(("manifest", bytes(1 << 20)), compression=zipfile.ZIP_DEFLATED), "compressed"),
        (zipped(("../escape", b"")), "names a file"),
        (zipped(("/etc/passwd", b"")), "names a file"),
        (zipped(("a", b"1"), ("a", b"2")), "one name"),
        (zipped(("a", b"1")), "bytes are not"),
        (pack({"a": b"1"})[:-3], "damaged"),
    ],
    ids=["bomb", "traversal", "absolute", "duplicate", "other packer", "truncated"],
)
def test_hostile_zips_are_broken(data, says):
    with pytest.raises(Broken, match=says):
        unpacked(data, "proof.zip")


def test_what_is_no_proof_is_the_users_mistake(tmp_path):
    for content in (b"", b"hello", pack({"a": b"1"})):
        (tmp_path / "p.zip").write_bytes(content)
        with pytest.raises(ConfigError):
            proof(tmp_path / "p.zip", [])


def test_a_deeply_nested_document_is_no_traceback(place, made):
    """Even when the operator signed it."""
    files = unpack(made)
    del files["manifest"]
    name = next(name for name in files if name.startswith("terms/"))
    files[name] = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    files["manifest"] = _manifest(place.ledger, make(place)[0], files).encode()
    made.write_bytes(pack(files))
    assert any(name in finding for finding in proof(made, key_of(place)).findings)


def test_a_step_that_ran_over_midnight_is_judged_by_the_day_it_opened(tmp_path, monkeypatch):
    """A provider's terms changed in the night: what they said when the step opened counts."""
    workspace = Workspace.open(tmp_path / "work", create=True)
    workspace.declare("seed", Facts())
    with workspace.step("train", brings={BASE: Relation.WEIGHTS}, effect=Effect.TRAIN) as step:
        step.write("weights", lambda folder: _write(folder, "student", "2"), {})
        later = "2031-01-01T00:00:01Z"
        monkeypatch.setattr("trueseed.workspace.door.now", lambda: later)
    days = []
    monkeypatch.setattr(
        verify_proof, "rederive_step", lambda said, *by: days.append((said["event"], said["judged_on"])) or ()
    )
    (tmp_path / "p.zip").write_bytes(make(workspace)[1])
    proof(tmp_path / "p.zip", key_of(workspace))
    opened, done = (entry.predicate for entry in workspace.ledger.entries() if entry.predicate_type == STEP)
    assert (done["at"], done["judged_on"]) == (later, opened["judged_on"])
    assert days == [("opened", opened["judged_on"]), ("done", opened["judged_on"])]


def test_a_day_of_judging_that_is_not_the_day_of_opening_is_found(place, tmp_path):
    done = next(e for e in reversed(list(place.ledger.entries())) if e.predicate.get("step") == "train").predicate
    del done["log"]
    old = {**done, "run": "old", "judged_on": "2021-01-01"}
    about = [subject(each["kind"], each["digest"]) for each in done["outputs"]]
    place.ledger.append(STEP, about, {**old, "event": "opened", "outputs": []})
    place.ledger.append(STEP, about, old)
    (tmp_path / "old.zip").write_bytes(make(place)[1])
    assert any("terms of 2021-01-01" in finding for finding in proof(tmp_path / "old.zip", key_of(place)).findings)


def test_a_malformed_step_is_broken_and_no_traceback(place):
    place.ledger.append(STEP, [], {"event": "done", "inputs": 7})
    with pytest.raises(Broken, match="malformed"):
        make(place)


def test_a_file_whose_name_no_proof_can_hold_is_the_users_mistake(place):
    with place.step("odd", brings={"own/odd": Relation.OUTPUT}) as step:
        odd = step.write("dataset", lambda folder: _write(folder, "mein Käse.jsonl", "x"), {})
    with place.step("train", inputs=[odd], effect=Effect.TRAIN, config={"again": True}) as step:
        step.write("weights", lambda folder: _write(folder, "student", "3"), {})
    make(place)
    with pytest.raises(ConfigError, match="Käse"):
        make(place, records=True)


@pytest.fixture
def told(place: Workspace) -> Callable[..., Path]:
    """A proof, with texts, of a student of one record that says it is of this source, under this root."""

    def tell(source: str = "own/mine", root: str = "") -> Path:
        with place.step("tell", brings={"own/mine": Relation.OUTPUT}, config={"s": source, "r": root}) as step:
            origin = replace(step.origin(source="own/mine"), source=source)
            said = Record(messages=(Message(role="assistant", content="hello"),), origin=origin)
            meta = {"record_root": root or record_root([said.id])}
            dataset = step.write("dataset", lambda folder: _records(folder, said), meta)
        with place.step("train", inputs=[dataset], effect=Effect.TRAIN) as step:
            step.write("weights", lambda folder: _write(folder, "student", source + root), {})
        path = place.folder / "told.zip"
        path.write_bytes(make(place, records=True)[1])
        return path

    return tell


def _records(folder: Path, said: Record) -> None:
    write_parquet([said], folder / "train.parquet")
    write_parquet([], folder / "validation.parquet")


def test_the_root_over_records_is_computed_again_from_their_texts(place, told):
    assert proof(told(), key_of(place)).findings == ()
    assert any("ab" * 32 in finding for finding in proof(told(root="ab" * 32), key_of(place)).findings)


def test_a_record_of_a_source_that_no_label_names_is_found(place, told):
    assert any("'x/y@api'" in finding for finding in proof(told(source="x/y@api"), key_of(place)).findings)


def test_a_proof_over_a_change_of_keys_is_checked_with_the_first_key(place, tmp_path):
    first = str(key_of(place)[0])
    place.ledger.renew("operator", "stolen", "since Tuesday")
    with place.step("train again", brings={BASE: Relation.WEIGHTS}, effect=Effect.TRAIN) as step:
        step.write("weights", lambda folder: _write(folder, "student", "4"), {})
    path = tmp_path / "changed.zip"
    path.write_bytes(make(place)[1])
    said = proof(path, key_of(place))
    assert said.findings == ()
    assert any("changed the operator's key" in note and "stolen" in note for note in said.notes)
    done = alone(path, first, tmp_path)
    assert done.returncode == 0, done.stderr
    files = unpack(path)
    path.write_bytes(pack({name: data for name, data in files.items() if name != "succession"}))
    with pytest.raises(Broken):
        proof(path, key_of(place))
    assert alone(path, first, tmp_path).returncode == 4


OLD = Path(__file__).parents[1] / "old_ledgers" / "v1"


def test_a_proof_of_format_1_verifies_forever(tmp_path, monkeypatch):
    """With records, a witness's cosignature and a time stamp; its verdicts may differ under later rules."""
    monkeypatch.setenv("TRUESEED_STATE", str(tmp_path / "nobody"))
    witness = Key.parse("witness.example/w1+b72bab2e+BCVDuS/xCVURR2rcg2nbbdyTNmWhGXjdoUBO4QZsqVWd")
    operator = Key.parse((OLD / "proof-key").read_text())
    said = proof(OLD / "proof.zip", [operator, witness], authorities=[OLD / "proof-tsa.pem"])
    assert (said.findings, said.statements, said.entries, said.verdicts) == ((), 9, 13, 6)
    assert "witness witness.example/w1 at 2025-11-24T16:00:00Z: 11 of 13 entries" in said.evidence
    assert any("CN=An authority that stamped once at 2026-11-25T12:00:00Z" in text for text in said.evidence)
    assert alone(OLD / "proof.zip", str(operator), tmp_path).returncode == 0


def test_a_checkpoint_kept_elsewhere_is_compared_as_far_as_the_proof_reaches(place, made, tmp_path):
    kept = tmp_path / "kept"
    kept.write_text(place.ledger.checkpoint())
    assert "the checkpoint given (--since), 9 entries" in proof(made, key_of(place), since=kept).evidence
    kept.write_text(replace(Checkpoint.open(kept.read_text(), key_of(place)[0]), root=bytes(32)).sign(operator_of()))
    assert any("a fork" in finding for finding in proof(made, key_of(place), since=kept).findings)
    kept.write_text(Checkpoint(origin=place.ledger.origin, size=3, root=bytes(32)).sign(operator_of()))
    assert any("nothing was compared" in note for note in proof(made, key_of(place), since=kept).notes)


def operator_of() -> Signer:
    found = load("operator", state_folder() / "keys")
    assert found is not None
    return found
