"""A cache handed to another workspace: all of it verifies under a trusted key, or nothing of it is taken."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.teachers.acme import ACME, Place

from trueseed.core.chat import Answer
from trueseed.core.durable import state_folder
from trueseed.errors import Broken, ConfigError
from trueseed.ledger.log import Ledger
from trueseed.ledger.signing import Key
from trueseed.ledger.statement import IMPORT
from trueseed.ledger.verify import verify_ledger
from trueseed.report import verify
from trueseed.teachers.answers import exported, handover, holdings
from trueseed.teachers.answers.cache import CACHE
from trueseed.terms.model import Use
from trueseed.workspace import KEPT, Workspace


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # no test cuts the power


class Two:
    """Those who asked, and those who take it from them. file: what the first exported."""

    def __init__(self, folder: Path) -> None:
        self.theirs = Place(folder / "theirs")
        self.theirs.answers(["a", "b", "c"], Use.JUDGE)
        self.theirs.terms("2", ["train", "judge"])
        self.theirs.answers(["d", "e"])
        self.ours = Place(folder / "ours")
        self.file = folder / "answers.jsonl"
        handover.write(self.theirs.workspace, self.file)
        self.key = self.theirs.workspace.ledger.identity.operator
        self.lines = [json.loads(line) for line in self.file.read_text().splitlines()]

    def put(self, lines: list[dict[str, Any]]) -> None:
        self.file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))

    def take(self, *keys: Key) -> handover.Taken:
        return handover.take(self.ours.workspace, self.file, keys or [self.key])

    @property
    def size(self) -> int:
        self.ours.workspace.ledger.refresh()
        return self.ours.workspace.ledger.size


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(tmp_path)


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> Two:
    """The same, for tests that change only the file, and take nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        patch.setenv("TRUESEED_STATE", str(tmp_path_factory.mktemp("state")))
        return Two(tmp_path_factory.mktemp("two"))


def answers_of(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if "answer" in line]


def test_what_was_taken_is_not_asked_again_and_keeps_day_terms_and_ledger(two):
    taken = two.take()
    assert (taken.log, taken.answers, taken.known) == (two.theirs.workspace.ledger.origin, {ACME: 5}, False)
    assert [answer.text for answer in two.ours.answers(["a", "d"])] == ["you said a", "you said d"]
    assert two.ours.asked == []
    assert two.ours.last["counts"]["cached"] == 2
    origin = two.ours.origin("d", Use.TRAIN)
    assert (origin.asked_in, origin.asked_for) == (taken.log, "")
    assert origin.terms == two.theirs.workspace.catalog.document("acme-2").digest
    assert origin.terms in {label["terms"] for label in two.ours.last["labels"]}
    assert two.ours.origin("a", Use.TRAIN, name="other").asked_for == "judge"
    assert two.ours.asked == []


def test_taking_is_a_statement_and_both_ledgers_verify(two):
    two.take()
    (entry,) = two.ours.entries(IMPORT)
    said = entry.predicate
    assert (said["of"], said["sources"]) == (two.theirs.workspace.ledger.origin, {ACME: 5})
    assert said["key"] == str(two.key)
    assert said["answers"]["count"] == len(two.lines)
    for place in (two.theirs, two.ours):
        assert not verify.workspace(place.folder).broken
        assert verify_ledger(place.folder / "ledger", state=state_folder()).findings == ()


def test_the_export_is_kept_as_it_came_so_that_its_proofs_can_be_read_again(two):
    taken = two.take()
    (kept,) = two.ours.files
    assert kept.read_bytes() == two.file.read_bytes()
    *_, (_, export) = exported.read(kept, [two.key])
    assert export.sources == taken.answers
    kept.write_bytes(kept.read_bytes().replace(b"you said d", b"you said D"))
    assert verify.workspace(two.ours.folder).broken


def test_taking_it_twice_changes_nothing(two):
    two.take()
    size = two.size
    assert two.take().known
    assert two.size == size


def test_a_kill_between_statement_and_file_is_mended_by_the_same_command(two):
    two.take()
    size = two.size
    two.ours.files[0].unlink()
    two.take()
    assert two.size == size
    two.ours.answers(["a"])
    assert two.ours.asked == []


def test_our_door_decides_by_their_terms_of_the_day(two):
    two.take()
    two.ours.terms("3", ["reward"], [])
    two.ours.answers(["a"], Use.REWARD)
    assert two.ours.asked == ["a"]


def test_their_documents_judge_their_answers_only(two):
    two.theirs.terms("9", ["reward"], [])
    two.take()
    assert (two.ours.folder / KEPT).is_dir()
    governing = two.ours.workspace.catalog.document("acme-1")
    assert two.ours.workspace.catalog.history(ACME) == (governing,)


def test_what_was_imported_is_not_exported_again(two, tmp_path):
    two.take()
    with pytest.raises(ConfigError, match="its own ledger exports it: 5"):
        handover.write(two.ours.workspace, tmp_path / "again.jsonl")


def test_recalled_unanswered_and_other_sources_are_left_out(two, tmp_path):
    from trueseed.ledger.statement import WITHDRAWAL

    two.theirs.script = lambda request: Answer(
        text="", finish="skipped", prompt_tokens=0, completion_tokens=0, because="no"
    )
    two.theirs.answers(["skipped"])
    written = handover.write(two.theirs.workspace, tmp_path / "some.jsonl", sources=["acme/*"])
    assert (written.answers, written.left_out) == ({ACME: 5}, {"without an answer": 1})
    with pytest.raises(ConfigError, match="of another source: 6"):
        handover.write(two.theirs.workspace, tmp_path / "none.jsonl", sources=["openai/*"])
    two.theirs.workspace.ledger.append(WITHDRAWAL, [], {"source": ACME, "reason": "", "at": ""})
    with pytest.raises(ConfigError, match="recalled: 6"):
        handover.write(two.theirs.workspace, tmp_path / "none.jsonl")
    assert not (tmp_path / "none.jsonl").exists()


def test_an_export_is_for_its_owner_and_replaces_nothing(two):
    assert stat.S_IMODE(two.file.stat().st_mode) == 0o600
    with pytest.raises(ConfigError, match="there already"):
        handover.write(two.theirs.workspace, two.file)


def test_a_file_that_differs_from_its_seal_is_not_exported(two, tmp_path):
    file = two.theirs.files[0]
    file.write_bytes(file.read_bytes().replace(b"you said", b"you sang"))
    with pytest.raises(Broken, match="is not what entry"):
        handover.write(two.theirs.workspace, tmp_path / "more.jsonl")
    assert not (tmp_path / "more.jsonl").exists()


def test_the_cache_is_shown_by_source_use_and_ledger(two):
    two.take()
    two.ours.answers(["z"])
    rows = holdings.of(two.ours.workspace)
    log = two.theirs.workspace.ledger.origin
    assert sorted((row.use, row.document, row.answers, row.log, row.sealed) for row in rows) == [
        ("judge", "acme-1", 3, log, True),
        ("train", "acme-1", 1, "", True),
        ("train", "acme-2", 2, log, True),
    ]


# what is refused


def test_a_key_that_nobody_trusts_opens_nothing(two, tmp_path):
    stranger = Ledger.open(tmp_path / "stranger", state=tmp_path / "other-state", create=True).identity.operator
    with pytest.raises(ConfigError, match="not among those that you trust"):
        two.take(stranger)
    with pytest.raises(ConfigError, match="own log"):
        handover.take(two.theirs.workspace, two.file, [two.key])


def test_another_key_under_the_trusted_name_opens_nothing(two, tmp_path):
    stranger = Ledger.open(tmp_path / "stranger", state=tmp_path / "other-state", create=True).identity.operator
    refused(two, Key(role="operator", name=two.key.name, public_key=stranger.public_key))


@pytest.mark.parametrize(
    "content",
    ["", "words\n", '{"messages": []}\n', '[1]\n{"answer": "x"}\n', '{"trueseed": "cache@v2"}\n', "\x00\n"],
)
def test_answers_without_proofs_are_a_dataset(told, content):
    told.file.write_text(content)
    size = told.size
    with pytest.raises((ConfigError, Broken), match=r"dataset|upgrade|JSON"):
        told.take()
    assert (told.size, told.ours.files) == (size, [])


def refused(two: Two, *keys: Key) -> Broken:
    """Taking is refused as broken, and leaves no trace."""
    size, documents = two.size, len(list((two.ours.folder / KEPT).glob("*")))
    with pytest.raises(Broken) as caught:
        two.take(*keys)
    left = [path.name for path in (two.ours.folder / CACHE).iterdir() if path.suffix != ".lock"]
    assert left == []
    assert (two.size, len(list((two.ours.folder / KEPT).glob("*")))) == (size, documents)
    return caught.value


def edited(name: str, change: Callable[[Any], Any], n: int = 0) -> Callable[[list[dict[str, Any]]], list[Any]]:
    """Changes a member of the n-th line that has it."""

    def edit(lines: list[dict[str, Any]]) -> list[Any]:
        at = [number for number, line in enumerate(lines) if name in line and "trueseed" not in line][n]
        return [{**line, name: change(line[name])} if number == at else line for number, line in enumerate(lines)]

    return edit


def swapped(first: int, second: int, *members: str) -> Callable[[list[dict[str, Any]]], list[Any]]:
    """Swaps members of two answers; all of them when none is named."""

    def swap(lines: list[dict[str, Any]]) -> list[Any]:
        answers = answers_of(lines)
        a, b = answers[first], answers[second]
        names = members or tuple(a)
        pairs = {id(a): {**a, **{name: b[name] for name in names}}, id(b): {**b, **{name: a[name] for name in names}}}
        return [pairs.get(id(line), line) for line in lines]

    return swap


FORGERIES = {
    "an answer edited": edited("answer", lambda line: line.replace("you said a", "you said X")),
    "a use edited": edited("answer", lambda line: line.replace('"judge"', '"train"')),
    "an answer spelt otherwise": edited("answer", lambda line: line.replace('":"', '": "', 1)),
    "proofs swapped": swapped(0, 1, "index", "path"),
    "answers swapped": swapped(0, 1, "answer"),
    "answers reordered": swapped(0, 1),
    "batches swapped": swapped(0, 3),
    "a path cut": edited("path", lambda path: path[:-1]),
    "a path too long": edited("path", lambda path: path * 40),
    "a path of no hashes": edited("path", lambda path: ["#"]),
    "an index of elsewhere": edited("index", lambda index: index + 1, 2),
    "a seal of elsewhere": edited("seal", lambda seal: seal + 1 if isinstance(seal, int) else seal, 2),
    "a proof edited": edited("seal", lambda proof: proof.replace("index ", "index 1")),
    "a checkpoint edited": edited("seal", lambda proof: proof.replace("\n\n", "\n\nx", 1)),
    "the seals swapped": lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]],
    "a document edited": edited("terms", lambda document: {**document, "provider": "Nobody"}),
    "a document that says more": edited("terms", lambda document: {**document, "more": 1}),
    "a document that is none": edited("terms", lambda document: {"id": 1}),
    "a document missing": lambda lines: [{**lines[0], "terms": 1}, *lines[2:]],
    "a seal missing": lambda lines: [{**lines[0], "seals": 1}, *lines[1:3], *lines[4:]],
    "the last answer missing": lambda lines: lines[:-1],
    "an answer left out, and not counted": lambda lines: [{**lines[0], "answers": 2}, *lines[1:4], *lines[5:]],
    "an answer twice": lambda lines: [{**lines[0], "answers": 6}, *lines[1:], lines[-1]],
    "an answer without a proof": lambda lines: [*lines, {"answer": lines[-1]["answer"]}],
    "another line": lambda lines: [*lines, {"more": 1}],
    "no answers": lambda lines: [{**lines[0], "answers": 0, "seals": 0, "terms": 0}],
    "two exports in one": lambda lines: [*lines, *lines],
}


@pytest.mark.parametrize("change", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_export_is_refused_and_nothing_of_it_is_taken(told, change):
    told.put(change(told.lines))
    refused(told)


def test_a_count_that_was_lowered_to_fit_is_still_a_proof_of_what_is_there(told):
    """What is left can be proven; that others were left out, nobody can see: `cache export --source` does the same."""
    kept = [line for line in told.lines if line.get("seal") != answers_of(told.lines)[-1]["seal"]]
    assert len(kept) < len(told.lines)
    told.put([{**kept[0], "answers": len(answers_of(kept))}, *kept[1:]])
    assert "needs" in str(refused(told))  # but no seal may be left over


@pytest.mark.parametrize("ending", [b"", b"\n{", b'{"answer"'])
def test_a_truncated_export_is_refused(told, ending):
    told.put(told.lines)
    told.file.write_bytes(told.file.read_bytes()[:-40] + ending)
    refused(told)


def test_a_line_longer_than_any_answer_is_refused_unread(told, monkeypatch):
    monkeypatch.setattr(exported, "LONGEST_LINE", 10_000)
    told.put([*told.lines, {"answer": "x" * 20_000}])
    assert "longer than any answer" in str(refused(told))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_changed_byte_gets_through(told, data):
    told.put(told.lines)
    whole = told.file.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    other = bytes([data.draw(st.integers(1, 255)) ^ whole[at]])
    told.file.write_bytes(whole[:at] + other + whole[at + 1 :])
    try:
        for _ in exported.read(told.file, [told.key]):
            pass
    except (Broken, ConfigError):
        return
    changed = [json.loads(line) for line in told.file.read_text().splitlines()]
    assert [{**line, "key": ""} if "key" in line else line for line in changed] == [
        {**line, "key": ""} if "key" in line else line for line in told.lines
    ]  # white space between members, or the key that is never asked


def test_an_older_workspace_is_a_workspace_still(two):
    """A workspace without a cache folder opens, verifies, and has nothing to show."""
    assert holdings.of(Workspace.open(two.ours.folder)) == []
    assert not verify.workspace(two.ours.folder).broken
