"""Answers that need not be asked for again, and those that must be."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.teachers.acme import ACME, IDENTITY, Place, ask, echo, identity_of

from trueseed.core.chat import Answer, Request, TokenLogprob
from trueseed.core.durable import state_folder
from trueseed.errors import Broken, Refused
from trueseed.ledger.lineage import Lineage
from trueseed.ledger.statement import WITHDRAWAL
from trueseed.ledger.verify import verify_ledger
from trueseed.recall import recall
from trueseed.report import verify
from trueseed.teachers.account.allowance import Allowance
from trueseed.teachers.account.holds import Holds
from trueseed.teachers.account.state import Account
from trueseed.teachers.answers.cache import CACHE
from trueseed.teachers.answers.shelf import INDEX
from trueseed.teachers.scripted import ScriptedTeacher
from trueseed.teachers.silent import Silent
from trueseed.teachers.teacher import Teacher
from trueseed.terms.model import Use
from trueseed.workspace import Workspace


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # no test cuts the power


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "work")


# what is found


def test_another_step_asks_nothing_that_was_answered(place):
    first = place.answers(["a", "b"])
    assert place.answers(["b", "c", "a"], config={"edited": True})[::2] == first[::-1]
    assert place.asked == ["a", "b", "c"]
    assert (place.last["counts"]["cached"], place.last["counts"]["asked"]) == (2, 1)


def test_an_answer_comes_back_as_it_was(place):
    whole = Answer(
        text="ä\n\u2028",
        finish="length",
        prompt_tokens=3,
        completion_tokens=2,
        logprobs=(TokenLogprob(7, -0.25), TokenLogprob("ä", -1e-9)),
        tool_calls=({"id": "1", "function": {"name": "f", "arguments": "{}"}},),
    )
    place.script = lambda request: whole
    assert place.answers(["a"]) == place.answers(["a"], name="again") == [whole]
    assert place.asked == ["a"]


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"temperature": 0.5},
        {"top_p": 0.5},
        {"max_tokens": 9},
        {"stop": ("x",)},
        {"schema": {"type": "object"}},
        {"tools": ({"type": "function", "function": {"name": "f"}},)},
    ],
)
def test_whatever_differs_in_the_request_is_asked(place, changes):
    place.answers(["a"])
    place.answers([ask("a", **changes)], name="again")
    assert place.asked == ["a", "a"]


@pytest.mark.parametrize(
    "identity",
    [{"remote": {**IDENTITY["remote"], "base_url": "https://elsewhere.example/v1"}}, {"teacher_weights": "f" * 64}, {}],
)
def test_whatever_differs_in_the_teacher_is_asked(place, identity):
    place.answers(["a"])
    place.answers(["a"], name="again", identity=identity)
    assert place.asked == ["a", "a"]


def test_without_the_cache_nothing_is_taken_from_it_or_left_in_it(place):
    place.answers(["a"], identity=None)
    assert place.files == []
    place.answers(["a"])
    place.answers(["a"], name="again", identity=None)
    assert place.asked == ["a", "a", "a"]


def test_equal_requests_within_a_step_are_asked_once_also_while_under_way(place):
    with place.workspace.step("generate", ask={ACME: Use.TRAIN}) as step:
        teacher = Teacher(place.model(slots=8), step, identity=IDENTITY)
        found = dict(teacher.answers([ask(words) for words in "aabab"]))
    assert place.asked == ["a", "b"]
    assert [found[n].text for n in range(5)] == [f"you said {words}" for words in "aabab"]


def test_what_was_left_out_is_tried_again_by_another_step(place):
    place.script = lambda request: Answer(
        text="", finish="skipped", prompt_tokens=0, completion_tokens=0, because="not now"
    )
    place.answers(["a"])
    place.script = echo
    assert place.answers(["a"], name="again")[0].text == "you said a"


def test_a_stream_is_answered_from_the_cache_too(place):
    place.answers(["a"])
    with place.workspace.step("talk", ask={ACME: Use.TRAIN}) as step:
        *pieces, last = Teacher(place.model(), step, identity=IDENTITY).stream(ask("a"))
    assert (pieces, last.text, place.asked) == (["you said a"], "you said a", ["a"])


# the door


def test_a_hit_for_another_use_is_judged_by_the_terms_of_the_day_it_was_asked(place):
    then = place.workspace.catalog.document("acme-1").digest
    place.answers(["a"], Use.JUDGE)
    now = place.terms("2", ["train", "judge", "reward"], [])
    origin = place.origin("a", Use.TRAIN)
    assert place.asked == ["a"]
    assert (origin.use, origin.asked_for, origin.terms) == ("train", "judge", then)
    labels = {(label["relation"], label["terms"]) for label in place.last["labels"]}
    assert labels == {("output", then), ("output", now)}
    assert place.last["learned"] == [{"source": ACME, "relation": "output", "terms": then}]


def test_a_hit_that_the_terms_of_its_day_refuse_is_asked_anew_and_counted(place):
    then = place.workspace.catalog.document("acme-1").digest
    place.answers(["a"], Use.JUDGE)
    now = place.terms("2", ["train", "judge", "reward"], [])
    assert place.origin("a", Use.REWARD).terms == now
    assert place.asked == ["a", "a"]
    assert then not in {label["terms"] for label in place.last["labels"]}
    assert place.last["counts"]["not from the cache: asked to judge, may not reward (acme-1, clause 1.1)"] == 1
    assert place.origin("a", Use.REWARD, name="again").terms == now
    assert len(place.asked) == 2  # the newer answer is found behind the older one


def test_a_hit_whose_terms_are_not_kept_any_more_is_asked_anew(place):
    place.answers(["a"])
    place.terms("2", ["train"])
    for kept in (place.folder / "ledger" / "terms").glob("*.json"):
        kept.unlink()
    place.workspace = Workspace.open(place.folder)
    place.answers(["a"])
    assert place.asked == ["a", "a"]
    assert any("no terms established" in name for name in place.last["counts"])


def test_nothing_is_handed_out_when_todays_terms_refuse_the_source(place):
    place.answers(["a"])
    place.terms("2", ["judge"], ["train"])
    with pytest.raises(Refused, match="acme-2"):
        place.answers(["a"], name="again")


def test_an_origin_from_the_same_use_is_that_of_the_first_asking(place):
    assert place.origin("a", Use.TRAIN) == place.origin("a", Use.TRAIN, name="again")


def test_what_a_step_learned_is_a_label_of_what_it_made(place):
    then = place.workspace.catalog.document("acme-1").digest
    place.answers(["a"])
    now = place.terms("2", ["train"])
    with place.workspace.step("generate", ask={ACME: Use.TRAIN}) as step:
        list(Teacher(place.model(), step, identity=IDENTITY).answers([ask("a")]))
        made = step.write("records", lambda folder: (folder / "x").write_text("y") and None, {})
    assert {label[2] for label in Lineage.read(place.workspace.ledger).labels(made.digest)} == {then, now}
    assert verify_ledger(place.folder / "ledger", state=state_folder()).findings == ()


def test_scores_learned_after_records_were_written_are_refused_at_the_close(place):
    place.terms("1", ["judge", "train"], ["reward"])
    place.answers(["a"], Use.JUDGE)
    place.terms("2", ["judge", "train", "reward"], [])
    with (
        pytest.raises(Refused, match="asked for judging"),
        place.workspace.step("filter", ask={ACME: Use.JUDGE}) as step,
    ):
        step.write("records", lambda folder: (folder / "x").write_text("y") and None, {})
        list(Teacher(place.model(), step, identity=IDENTITY).answers([ask("a")]))
    assert list(place.workspace.store.all()) == []


def test_a_source_that_is_recalled_while_a_step_runs_gives_nothing_more(place):
    place.answers(["a", "b"])
    handed: list[Answer] = []
    with pytest.raises(Refused, match="recalled"), place.workspace.step("late", ask={ACME: Use.TRAIN}) as step:
        for _, answer in Teacher(place.model(), step, identity=IDENTITY).answers([ask("a"), ask("b")]):
            handed.append(answer)
            said = {"source": ACME, "reason": "asked to", "at": "2026-01-01T00:00:00Z"}
            Workspace.open(place.folder).ledger.append(WITHDRAWAL, [], said)
    assert len(handed) == 1


def test_a_source_of_which_only_answers_are_left_can_be_recalled(place):
    place.answers(["a"])
    assert recall(place.workspace, ACME, "the maker asked").stops == ()
    with pytest.raises(Refused, match="the maker asked"):
        place.answers(["a"], name="again")


class _Counting(ScriptedTeacher):
    """A model under an allowance, as remote ones are."""

    def __init__(self, allowance: Allowance) -> None:
        super().__init__(ACME, echo)
        self._allowance = allowance

    def cached(self, request: str) -> None:
        self._allowance.cached(source=ACME, use=Use.TRAIN, project="", request=request)


def test_a_hit_is_counted_in_the_allowance_and_a_hold_stops_it(place):
    account = Account.open()
    place.answers(["a"])
    with place.workspace.step("again", ask={ACME: Use.TRAIN}) as step:
        list(Teacher(_Counting(Allowance(account, [], "us")), step, identity=IDENTITY).answers([ask("a")]))
    with account.reading() as connection:
        assert connection.exec_driver_sql("SELECT state, requests FROM calls").all() == [("cached", 0)]
    Holds(account, "us").place("acme", "suspended", "f" * 64)
    with pytest.raises(Refused, match="on hold"), place.workspace.step("held", ask={ACME: Use.TRAIN}) as step:
        list(Teacher(_Counting(Allowance(account, [], "us")), step, identity=IDENTITY).answers([ask("a")]))


def test_an_answer_under_way_is_kept_when_a_hit_may_not_be_used(place):
    place.answers(["known"])

    def held(request: str) -> None:
        raise Refused("on hold")

    with pytest.raises(Refused, match="on hold"), place.workspace.step("again", ask={ACME: Use.TRAIN}) as step:
        model = place.model(slots=2)
        model.cached = held  # type: ignore[attr-defined]
        list(Teacher(model, step, identity=IDENTITY).answers([ask("new"), ask("known")]))
    assert place.answers(["new"], name="later")[0].text == "you said new"
    assert place.asked == ["known", "new"]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from("12"),
            st.sampled_from([Use.TRAIN, Use.JUDGE, Use.REWARD]),
            st.lists(st.sampled_from("abc"), max_size=3),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_a_step_carries_exactly_the_terms_of_the_answers_it_was_given(tmp_path_factory, plan):
    place = Place(tmp_path_factory.mktemp("law") / "work")
    rewarding = {"1": ["judge", "train"], "2": ["judge", "train", "reward"]}
    asked: dict[str, list[str]] = {}  # by question: the digests of the terms under which it was asked, oldest first
    for n, (version, use, questions) in enumerate(plan):
        version = "2" if use is Use.REWARD else version
        today = place.terms(version, rewarding[version], [] if version == "2" else ["reward"])
        before = len(place.asked)
        place.answers(list(questions), use, name=f"step-{n}")
        expected = {today}
        new = []
        for words in dict.fromkeys(questions):
            usable = [terms for terms in asked.get(words, []) if use is not Use.REWARD or terms == today]
            expected.add(usable[0] if usable else today)
            if not usable:
                new.append(words)
                asked.setdefault(words, []).append(today)
        assert place.asked[before:] == new
        opening = [e for e in place.entries(event="opened") if e.predicate["step"] == f"step-{n}"][-1].predicate
        assert {label["terms"] for label in place.last["labels"]} == expected
        assert {label["terms"] for label in opening["labels"]} == {today}
        assert {label["terms"] for label in place.last.get("learned", [])} == expected - {today}
    assert verify_ledger(place.folder / "ledger", state=state_folder()).findings == ()


# the ledger


def test_what_a_step_kept_is_sealed_when_it_closes(place):
    place.answers(["a", "b", "c"])
    (file,) = place.files
    assert [(seal["run"], seal["first"], seal["count"]) for seal in place.seals] == [(file.stem, 0, 3)]
    assert not verify.workspace(place.folder).broken


def test_a_step_that_fails_has_sealed_what_it_kept(place):
    with pytest.raises(RuntimeError), place.workspace.step("generate", ask={ACME: Use.TRAIN}) as step:
        list(Teacher(place.model(), step, identity=IDENTITY).answers([ask("a")]))
        raise RuntimeError("out of luck")
    assert [seal["count"] for seal in place.seals] == [1]
    place.answers(["a"], name="again")
    assert place.asked == ["a"]


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.teachers.acme import ACME, IDENTITY, ask, echo
from trueseed.core.canonical import digest
from trueseed.teachers.scripted import ScriptedTeacher
from trueseed.teachers.silent import Silent
from trueseed.teachers.teacher import Teacher
from trueseed.terms.model import Use
from trueseed.workspace import Workspace
workspace = Workspace.open(Path(sys.argv[1]))
with workspace.step("generate", ask={ACME: Use.TRAIN}) as step:
    teacher = Teacher(ScriptedTeacher(ACME, echo), step, identity=IDENTITY)
    for position, _ in teacher.answers([ask(words) for words in "abc"]):
        if position == 1:
            (file,) = (Path(sys.argv[1]) / "cache").glob("*.jsonl")
            with file.open("ab") as torn:
                torn.write(b'{"teacher": "torn')
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_step_kept_is_sealed_at_the_next_opening_and_asked_by_nobody_again(place):
    done = subprocess.run([sys.executable, "-c", KILLED, str(place.folder)], env=dict(os.environ))
    assert done.returncode == -signal.SIGKILL
    found = place.answers(["a", "b", "c"])
    assert [answer.text for answer in found] == ["you said a", "you said b", "you said c"]
    assert place.asked == ["c"]
    assert [seal["count"] for seal in place.seals] == [2, 1]
    counts = place.last["counts"]  # it is the same step, so its earlier try is not the cache's
    assert (counts["asked"], counts.get("cached", 0)) == (3, 0)
    assert not verify.workspace(place.folder).broken


def test_what_another_process_has_not_sealed_yet_is_asked(place):
    with place.workspace.step("slow", ask={ACME: Use.TRAIN}) as step:
        list(Teacher(place.model(), step, identity=IDENTITY).answers([ask("a")]))
        other = Place.__new__(Place)
        other.__dict__.update(place.__dict__ | {"workspace": Workspace.open(place.folder)})
        other.answers(["a"], name="quick")
    assert place.asked == ["a", "a"]
    assert sorted(seal["count"] for seal in place.seals) == [1, 1]


def test_an_answer_that_was_edited_is_found_before_it_is_handed_out(place):
    place.answers(["a", "b"])
    (file,) = place.files
    file.write_bytes(file.read_bytes().replace(b"you said b", b"you said X"))
    with pytest.raises(Broken, match="are not the answers that entry"):
        place.answers(["a"], name="again")
    assert verify.workspace(place.folder).broken


def test_a_line_added_by_hand_is_not_believed(place):
    place.answers(["a"])
    (file,) = place.files
    forged = json.loads(file.read_bytes())
    forged |= {"request": identity_of("b")}
    with file.open("ab") as lines:
        lines.write(json.dumps(forged).encode() + b"\n")
    place.answers(["b"], name="again")
    assert place.asked == ["a", "b"]


def test_a_file_that_somebody_put_there_is_neither_sealed_nor_believed(place):
    place.answers(["a"])
    (file,) = place.files
    forged = json.loads(file.read_bytes()) | {"request": identity_of("b")}
    for name in ("0123456789abcdef", f"{file.stem}-1", "import-0123456789abcdef"):
        (place.folder / CACHE / f"{name}.jsonl").write_text(json.dumps(forged) + "\n")
    (place.folder / CACHE / "import-0123456789abcdef.jsonl").write_text(
        json.dumps({"answer": json.dumps(forged)}) + "\n"
    )
    place.answers(["b"], name="again")
    assert place.asked == ["a", "b"]
    assert {seal["run"] for seal in place.seals} <= {step.predicate["run"] for step in place.entries()}


def test_a_file_that_was_deleted_is_asked_anew_and_verify_says_so(place):
    place.answers(["a"])
    place.files[0].unlink()
    place.answers(["a"], name="again")
    assert place.asked == ["a", "a"]
    found = verify.workspace(place.folder)
    assert not found.broken
    assert any("was deleted" in note for note in found.notes)


# the folder


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"no database" * 99)])
def test_the_index_is_made_again(place, spoil: Callable[[Path], object]):
    place.answers(["a", "b"])
    for part in (f"{INDEX}-wal", f"{INDEX}-shm"):
        (place.folder / CACHE / part).unlink(missing_ok=True)
    spoil(place.folder / CACHE / INDEX)
    place.answers(["a", "b"], name="again")
    assert place.asked == ["a", "b"]


def test_nobody_else_may_read_it(place):
    place.answers(["a"])
    folder = place.folder / CACHE
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.suffix in (".jsonl", ".sqlite")}
    assert modes == {0o600}


def test_questions_are_not_in_it(place):
    place.script = lambda request: "an answer"
    place.answers(["a question about herons"])
    assert b"herons" not in b"".join(path.read_bytes() for path in (place.folder / CACHE).iterdir() if path.is_file())


WRITES = """
import sys
from pathlib import Path
from tests.teachers.acme import ACME, IDENTITY, ask, echo
from trueseed.teachers.scripted import ScriptedTeacher
from trueseed.teachers.silent import Silent
from trueseed.teachers.teacher import Teacher
from trueseed.terms.model import Use
from trueseed.workspace import Workspace
workspace = Workspace.open(Path(sys.argv[1]))
with workspace.step("generate", ask={ACME: Use.TRAIN}, config={"process": sys.argv[2]}) as step:
    teacher = Teacher(ScriptedTeacher(ACME, echo), step, identity=IDENTITY)
    list(teacher.answers([ask(f"{sys.argv[2]} {n}") for n in range(60)]))
"""


def test_processes_write_beside_each_other(place):
    command = [sys.executable, "-c", WRITES, str(place.folder)]
    running = [subprocess.Popen([*command, str(n)], env=dict(os.environ)) for n in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    place.workspace.ledger.refresh()
    place.answers([f"{process} {n}" for process in range(2) for n in range(60)])
    assert place.asked == []
    assert sorted(seal["count"] for seal in place.seals) == [60, 60]
    assert not verify.workspace(place.folder).broken


def test_a_model_that_stops_early_is_said(place):
    class Quitter(ScriptedTeacher):
        def answers(self, requests):
            next(iter(requests))
            return iter(())

    from trueseed.errors import TeacherError

    with pytest.raises(TeacherError, match="under way"), place.workspace.step("s", ask={ACME: Use.TRAIN}) as step:
        list(Teacher(Quitter(ACME, echo), step, identity=IDENTITY).answers([ask("a")]))


def test_requests_that_wait_for_nothing_are_said(place):
    from trueseed.errors import TeacherError

    def waiting():
        yield None

    with pytest.raises(TeacherError, match="nothing was asked"), place.workspace.step("s", ask={ACME: Use.TRAIN}) as s:
        list(Teacher(place.model(), s, identity=IDENTITY).answers(waiting()))


def test_requests_are_not_pulled_ahead_of_what_was_handed_out(place):
    place.answers([str(n) for n in range(100)])
    pulled = 0

    def many():
        nonlocal pulled
        for n in range(100):
            pulled += 1
            yield Request(messages=ask(str(n)).messages)

    with place.workspace.step("again", ask={ACME: Use.TRAIN}) as step:
        for number, _ in enumerate(Teacher(place.model(), step, identity=IDENTITY).answers(many()), start=1):
            assert pulled <= number + 1


def test_what_another_steps_answers_were_taken_for_is_taken_once_and_kept_when_the_maker_ends(place):
    """A step that took other steps' answers is killed; then its maker may not be asked any more."""
    place.answers(["a", "b"], name="plan")
    requests, counted = [ask(each) for each in ("a", "b", "c")], []

    class Counting(ScriptedTeacher):
        def cached(self, request: str) -> None:
            counted.append(request)

    with pytest.raises(KeyboardInterrupt), place.workspace.step("generate", ask={ACME: Use.TRAIN}) as step:
        first = dict(Teacher(Counting(ACME, echo), step, identity=IDENTITY).answers(requests))
        raise KeyboardInterrupt
    with place.workspace.step("generate", ask={ACME: Use.TRAIN}) as step:
        silent = Silent(ACME, Refused("on hold"))
        assert dict(Teacher(silent, step, identity=IDENTITY).answers(requests)) == first
    assert counted == [identity_of("a"), identity_of("b")]
    assert place.last["counts"]["cached"] == 2
