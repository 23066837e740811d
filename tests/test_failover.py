"""Teachers in order: when the next one is asked, what each gave, and what stands in the ledger."""

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.tiny_run import run_file

from trueseed import failover, patience, pipeline, runfile
from trueseed import recall as recalling
from trueseed.core.artifacts import Artifact
from trueseed.core.records import read_parquet
from trueseed.errors import ConfigError, Refused
from trueseed.evaluate import sets
from trueseed.generate.prompts import everyday
from trueseed.report import verify
from trueseed.runfile import RunFile
from trueseed.teachers.account.allowance import Exhausted
from trueseed.teachers.account.clock import Clock
from trueseed.teachers.account.holds import Holds, OnHold
from trueseed.teachers.account.state import Account
from trueseed.teachers.answers.cache import Cache
from trueseed.teachers.api.endings import UsedUp
from trueseed.teachers.api.throttle import Throttle
from trueseed.teachers.simulator import Behaviour, Faults, Simulator, simulator
from trueseed.teachers.voice import BehindAnApi
from trueseed.terms.model import Relation
from trueseed.workspace import Workspace

FIRST, SECOND = "deepseek/deepseek-chat@api", "own/second"
FREE = {"price": {"input": 0, "output": 0}}


class Place:
    """A workspace, two providers, and run files over both."""

    def __init__(self, folder: Path, model: Path, first: Simulator, second: Simulator) -> None:
        self.folder, self.model, self.first, self.second = folder, model, first, second
        self.workspace = Workspace.open(folder / "work", create=True)

    def endpoint(self, source: str, provider: Simulator, **more: Any) -> dict[str, Any]:
        # one at a time: who was answered before a provider ends does not depend on the machine
        return {"remote": {"source": source, "model": "simulated", "base_url": provider.openai, "at_once": 1, **FREE,
                           **more}}  # fmt: skip

    def file(self, **changes: Any) -> RunFile:
        given = {
            "teacher": self.endpoint(FIRST, self.first),
            "failover": [self.endpoint(SECOND, self.second)],
            "generate": {"max_tokens": 60, "accept": 10},
            **changes,
        }
        return runfile.load(run_file(self.folder, self.model, **given))

    def generate(self, file: RunFile) -> tuple[failover.Part, ...]:
        """The part of a run that asks for records."""
        self.workspace.declare(file.project, file.facts)
        return failover.generate(file, self.workspace, prompts(self.workspace), self.voices(file))

    def voices(self, file: RunFile) -> list[BehindAnApi]:
        return [BehindAnApi(asked.remote, None, file.limits) for asked in file.teachers if asked.remote]


def prompts(workspace: Workspace) -> Artifact:
    found = everyday()
    with workspace.step("prompts", brings={"own/everyday": Relation.OUTPUT}, config={"digest": found.digest}) as step:
        return step.earlier("prompts") or found.write(step)


@pytest.fixture(scope="module")
def providers() -> Iterator[tuple[Simulator, Simulator]]:
    with simulator() as first, simulator() as second:
        yield first, second


@pytest.fixture
def place(tmp_path: Path, tiny_llama: Path, providers: tuple[Simulator, Simulator]) -> Place:
    for provider in providers:
        provider.reset()
        provider.behave(Behaviour())
    return Place(tmp_path, tiny_llama, *providers)


def sources(parts: tuple[failover.Part, ...]) -> Counter[str]:
    """Of whose records there are how many, by what the records say."""
    return Counter(
        record.origin.source for part in parts for record in read_parquet(part.records.path("records.parquet"))
    )


ENDS = {
    "a suspension": (Behaviour(suspend_at=8), "hold"),
    "a quota": (Behaviour(quota_requests=7), "quota"),
    "a region that is not served": (Behaviour(region_refused=True), "region"),
    "a server that stays broken": (Behaviour(faults=Faults(bad_gateway=1)), "failed"),
}


@pytest.mark.parametrize("end", ENDS)
def test_what_the_maker_ends_is_gone_on_with_at_another_maker(place, end, monkeypatch):
    monkeypatch.setattr("trueseed.teachers.api.remote.Throttle", lambda at_most, _: Throttle(at_most, 0.01))
    behaviour, said = ENDS[end]
    place.first.behave(behaviour)
    parts = place.generate(place.file())
    assert [part.source for part in parts] == [FIRST, SECOND]
    assert sum(part.accepted for part in parts) == 10
    assert said in parts[0].left
    assert not parts[1].left
    assert sources(parts) == +Counter({part.source: part.accepted for part in parts})
    for part in parts:
        assert {label.source for label in place.workspace.labels(part.records)} == {"own/everyday", part.source}
    closed = [entry.predicate for entry in place.workspace.ledger.entries() if entry.predicate.get("event") == "done"]
    assert [each["reason"] for each in closed if each["step"] == "generate"] == [parts[0].left, ""]
    before = (place.first.counts()["arrived"], place.second.counts()["arrived"])
    assert place.generate(place.file()) == parts
    assert (place.first.counts()["arrived"], place.second.counts()["arrived"]) == before


def test_a_limit_of_that_maker_alone_is_gone_on_from_and_one_that_binds_both_is_not(place):
    parts = place.generate(place.file(limits=[{"source": "deepseek/*", "per": "day", "requests": 5}]))
    assert [part.source for part in parts] == [FIRST, SECOND]
    assert place.first.counts()["billed"] == 5
    with pytest.raises(Exhausted):
        place.generate(place.file(limits=[{"source": "*", "per": "total", "requests": 1}], generate={"seed": 5}))


def test_a_maker_on_hold_is_not_asked_and_is_no_label_of_the_dataset(place):
    Holds(Account.open(), "us").place("deepseek", "we were told to stop", "0" * 64)
    file = place.file()
    outcome = pipeline.run(file, place.workspace)
    assert place.first.counts()["arrived"] == 0
    assert [part.accepted for part in outcome.parts] == [0, 10]
    assert FIRST not in {label.source for label in place.workspace.labels(outcome.student)}
    report = pipeline.write_report(place.workspace, outcome).to_json()
    assert (report["teacher"], report["sources"]) == (
        SECOND,
        sorted({"own/everyday", "own/held-out", "own/tiny", SECOND}),
    )
    assert [(each["source"], each["accepted"]) for each in report["teachers"]] == [(FIRST, 0), (SECOND, 10)]
    assert "on hold" in report["teachers"][0]["left"]
    assert "Who answered" in (place.workspace.folder / "report.html").read_text()
    assert not verify.workspace(place.workspace.folder).broken


def test_who_gave_nothing_is_told_beforehand_as_the_run_has_it(place):
    Holds(Account.open(), "us").place("deepseek", "we were told to stop", "0" * 64)
    file = place.file()
    place.generate(file)
    opened = [
        entry.predicate for entry in place.workspace.ledger.entries() if entry.predicate.get("step") == "generate"
    ]
    as_planned = failover.without(file, 1)
    (voice,) = place.voices(as_planned)
    assert voice.source == SECOND
    assert opened[-1]["config"] == {**as_planned.generate.model_dump(), **voice.identity}
    assert failover.without(file, 0) == file


def test_the_baseline_is_whole_and_of_the_next_teacher_when_the_one_of_most_records_is_gone(place):
    place.first.behave(Behaviour(quota_requests=9))
    file = place.file(evaluate={"samples": 4})
    parts, voices = place.generate(file), place.voices(file)
    assert parts[0].accepted > parts[1].accepted > 0
    held_out = sets_of(place.workspace, file)
    found = failover.baseline(file, place.workspace, held_out, voices, parts)
    assert (found.source, found.scores.meta["of"]) == (SECOND, SECOND)
    assert {label.source for label in place.workspace.labels(found.scores)} == {"own/held-out", SECOND}
    place.first.behave(Behaviour())
    found = failover.baseline(file, place.workspace, held_out, voices, parts)
    assert (found.source, found.scores.meta["of"]) == (FIRST, FIRST)


def sets_of(workspace: Workspace, file: RunFile) -> Artifact:
    with workspace.step("freeze", brings={"own/held-out": Relation.OUTPUT}, config={"held_out": True}) as step:
        return sets.freeze(file.evaluate.samples, 0, file.generate.kinds, step)


def test_the_users_mistakes_are_not_gone_on_from(place):
    place.first.behave(Behaviour(keys=("another",)))
    with pytest.raises(ConfigError, match="key"):
        place.generate(place.file())
    assert place.second.counts()["arrived"] == 0


def test_the_last_teachers_ending_ends_the_run_and_resumes_it(place):
    place.first.suspend()
    place.second.behave(Behaviour(quota_requests=3))
    with pytest.raises(UsedUp):
        place.generate(place.file())
    place.second.behave(Behaviour())
    parts = place.generate(place.file())
    assert [part.accepted for part in parts] == [0, 10]
    assert place.second.counts()["repeated"] == 0


def test_a_teacher_that_was_left_is_asked_for_the_rest_when_the_list_has_no_other(place):
    place.first.behave(Behaviour(quota_requests=7))
    place.second.behave(Behaviour(quota_requests=1))
    with pytest.raises(UsedUp):
        place.generate(place.file())
    place.first.behave(Behaviour())
    parts = place.generate(place.file(failover=[]))
    assert [part.source for part in parts] == [FIRST, FIRST]
    assert sum(part.accepted for part in parts) == 10
    assert place.first.counts()["repeated"] == 0


def test_two_teachers_of_one_maker_are_refused_when_the_file_is_read(place):
    with pytest.raises(ConfigError, match="same maker"):
        place.file(failover=[place.endpoint("deepseek/deepseek-chat@openrouter", place.second)])
    with pytest.raises(ConfigError, match="same maker"):
        place.file(failover=[place.endpoint(SECOND, place.second), {"weights": str(place.model), "source": "own/tiny"}])


def test_a_teacher_whose_terms_forbid_it_is_refused_before_anybody_is_asked(place):
    file = place.file(failover=[place.endpoint("openai/gpt-4o-mini@api", place.second)])
    with pytest.raises(Refused, match="openai/gpt-4o-mini@api"):
        pipeline.run(file, place.workspace)
    assert place.first.counts()["arrived"] == place.second.counts()["arrived"] == 0


def test_a_hold_in_the_way_does_not_lose_what_the_journal_knows(place):
    place.first.behave(Behaviour(suspend_at=8))
    with pytest.raises(OnHold):
        place.generate(place.file(failover=[]))
    asked = place.first.counts()["billed"]
    parts = place.generate(place.file())
    assert asked == 7
    assert parts[0].accepted + int(parts[0].records.meta["rejected"]) == 7
    assert place.first.counts()["billed"] == 7


def test_a_run_waits_for_its_allowance_and_a_recall_gets_in_meanwhile(place):
    """A limit of the provider's that is over in a moment, and no patience within the run."""
    place.first.behave(Behaviour(faults=Faults(rate_limited=1)))
    alone = {"teacher": place.endpoint(FIRST, place.first, patience_s=0), "failover": []}
    file = place.file(**alone, generate={"accept": 4})
    with pytest.raises(UsedUp) as caught:
        place.generate(file)
    assert caught.value.until

    def over(_: float) -> None:
        place.first.behave(Behaviour())
        time.sleep(0.5)

    (part,) = patience.patiently(lambda _: place.generate(file), quiet, patience.Sleep(clock=Clock(), nap=over))
    assert (part.accepted, place.first.counts()["repeated"]) == (4, 0)

    def recall(_: float) -> None:
        recalling.recall(Workspace.open(place.workspace.folder), FIRST, "told to stop")
        time.sleep(0.5)

    place.first.behave(Behaviour(faults=Faults(rate_limited=1)))
    more = place.file(**alone, generate={"accept": 12})
    with pytest.raises(Refused, match="recalled"):
        patience.patiently(lambda _: place.generate(more), quiet, patience.Sleep(clock=Clock(), nap=recall))


def quiet(*_: object) -> None:
    pass


class Killed(BaseException):
    """As good as `kill -9` to whatever does not clean up on the way."""


def test_stopped_at_any_point_it_ends_with_as_many_and_asks_nothing_twice(place, monkeypatch):
    place.first.behave(Behaviour(quota_requests=12))
    kept = Cache.keep
    for answers in (5, 4, 6, 3):
        left = iter([None] * (answers - 1))

        def keep(self: Cache, *said: Any, left: Iterator[None] = left) -> None:
            kept(self, *said)
            if next(left, "none") == "none":
                raise Killed

        monkeypatch.setattr(Cache, "keep", keep)
        with pytest.raises(Killed):
            place.generate(place.file(generate={"accept": 20}))
    monkeypatch.setattr(Cache, "keep", kept)
    parts = place.generate(place.file(generate={"accept": 20}))
    assert sum(part.accepted for part in parts) == sum(sources(parts).values()) == 20
    assert [part.source for part in parts] == [FIRST, SECOND]
    assert place.first.counts()["billed"] == 12
    assert place.first.counts()["repeated"] == place.second.counts()["repeated"] == 0


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.test_failover import place_in
from trueseed.workspace import Workspace

append = Workspace._append

def dying(self, event, step, **more):
    if (event, step.name, step._cut_short != "") == ("done", "generate", True):
        os.kill(os.getpid(), signal.SIGKILL)
    append(self, event, step, **more)

Workspace._append = dying
place_in(Path(sys.argv[1]))
"""


def place_in(folder: Path) -> None:
    place = Place(folder, folder, None, None)  # type: ignore[arg-type]
    place.generate(runfile.load(folder / "run.yaml"))


def test_killed_as_the_cut_short_step_closes_it_closes_again_with_the_same(place):
    place.first.behave(Behaviour(quota_requests=7))
    place.file()
    done = subprocess.run([sys.executable, "-c", KILLED, str(place.folder)], check=False)
    assert done.returncode == -signal.SIGKILL
    parts = place.generate(place.file())
    assert parts[0].accepted + int(parts[0].records.meta["rejected"]) == 7
    assert sum(part.accepted for part in parts) == 10
    assert place.first.counts()["repeated"] == 0
    assert not verify.workspace(place.workspace.folder).broken
