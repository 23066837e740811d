"""`trueseed run FILE --rebuild`: a tiny run, recalled in part or whole, made again from what remains."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from tests.tiny_run import run_file
from typer.testing import CliRunner

from trueseed import failover, models, pipeline, runfile
from trueseed.cli import app
from trueseed.core.artifacts import Artifact
from trueseed.core.records import Record, read_parquet
from trueseed.errors import Paused, Refused
from trueseed.ledger.rebuilt import Rebuilt
from trueseed.report import verify
from trueseed.student import newest_student
from trueseed.teachers.simulator import Simulator, simulator
from trueseed.workspace import Workspace

pytestmark = pytest.mark.xdist_group("tiny-rebuild")

TEACHER, OTHER = "own/teacher", "own/other"
EARLY = 6  # of twelve records, those that another project asked for


@dataclass(frozen=True)
class Place:
    """A copy of a finished run, with a state of its own."""

    folder: Path
    file: Path

    @cached_property
    def _opened(self) -> Workspace:
        return Workspace.open(self.folder / "work")

    @property
    def workspace(self) -> Workspace:
        self._opened.ledger.refresh()
        return self._opened

    def invoke(self, *words: str) -> Result:
        return CliRunner().invoke(app, [*words, "--workspace", str(self.folder / "work")])

    def rebuild(self) -> dict[str, Any]:
        said = self.invoke("run", str(self.file), "--rebuild", "--json")
        if said.exception:
            raise said.exception
        return json.loads(said.stdout)

    def asked(self) -> list[dict[str, Any]]:
        """Statements of steps that asked somebody, oldest first."""
        said = [entry.predicate for entry in self.workspace.ledger.entries()]
        return [each for each in said if each.get("event") == "done" and each["asks"]]


@pytest.fixture(scope="module")
def provider() -> Iterator[Simulator]:
    with simulator() as made:
        yield made


def run_of(folder: Path, weights: Path, provider: Simulator, teacher: str, **changes: Any) -> Path:
    remote = {"source": teacher, "model": "simulated", "base_url": provider.openai, "at_once": 1,
              "price": {"input": 0, "output": 0}}  # fmt: skip
    given = {
        "teacher": {"remote": remote},
        "base": {"weights": str(weights), "source": "own/base"},
        "generate": {"max_tokens": 60},
        "evaluate": {"samples": 2, "max_tokens": 4},
        "tasks": [{"file": "task.jsonl", "scorer": "choice", "source": "own/ada", "of": ["student"]}],
    }
    rows = ({"prompt": f"After {n} comes", "choices": [str(n + 1), "soup"], "target": 0} for n in range(2))
    (folder / "task.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return run_file(folder, weights, **{**given, **changes})


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path, provider: Simulator
) -> Iterator[tuple[Path, Path]]:
    """A run whose first records were asked by project `early`, and came from the cache."""
    folder, state = tmp_path_factory.mktemp("rebuild"), tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRUESEED_STATE", str(state))
        workspace = Workspace.open(folder / "work", create=True)
        changes = {"project": "early", "generate": {"max_tokens": 60, "accept": EARLY}}
        early = runfile.load(run_of(folder, tiny_llama, provider, TEACHER, **changes))
        workspace.declare(early.project, early.facts)
        voice = models.voice(early.teacher, early.limits, early.engine, workspace)()
        failover.generate(early, workspace, pipeline.import_prompts(early, workspace), [voice])
        file = runfile.load(run_of(folder, tiny_llama, provider, TEACHER))
        pipeline.write_report(workspace, pipeline.run(file, workspace))
        yield folder, state


@pytest.fixture
def place(finished: tuple[Path, Path], tmp_path: Path, own_state: Path) -> Place:
    folder, state = finished
    shutil.copytree(folder, tmp_path / "run")
    shutil.copytree(state, own_state, dirs_exist_ok=True)
    return Place(tmp_path / "run", tmp_path / "run" / "run.yaml")


def learned_from(workspace: Workspace) -> list[Record]:
    """The records of the newest student's dataset."""
    lineage = workspace.lineage()
    digest = newest_student(workspace).digest
    dataset = next(each["digest"] for each in lineage.maker(digest).predicate["inputs"] if each["kind"] == "dataset")
    return list(read_parquet(workspace.store.get(f"dataset:{dataset}").path("train.parquet")))


def is_early(record: Record) -> bool:
    return "early" in (record.origin.project, record.origin.asked_by)


def test_a_part_is_left_out_and_the_rest_goes_on_without_being_asked_again(place):
    before = newest_student(place.workspace)
    old = {record.id for record in learned_from(place.workspace)}
    assert any(is_early(record) for record in learned_from(place.workspace))
    plan = json.loads(place.invoke("recall", TEACHER, "--project", "early", "--plan", "--json").stdout)
    assert place.invoke("recall", TEACHER, "--project", "early", "--why", "a wrong project").exit_code == 0
    count = len(place.asked())
    report = place.rebuild()
    assert {name: report["rebuild"][name] for name in plan if name != "reused"} == {
        name: said for name, said in plan.items() if name != "reused"
    }
    student, found = newest_student(place.workspace), learned_from(place.workspace)
    assert student != before
    assert found
    assert not any(is_early(record) for record in found)
    asked = place.asked()[count:]
    assert [each["config"].get("accept") for each in asked if each["step"] == "generate"] == [plan["missing"]]
    assert old & {record.id for record in found}
    assert not verify.workspace(place.folder / "work").broken
    (link,) = Rebuilt.read(place.workspace.ledger).all
    assert before.digest in {each.digest for each in link.replaces}
    assert student.digest in {each.digest for each in link.made}
    assert report["records"]["rejected"]["recalled"] == plan["missing"]
    assert [task["task"]["name"] for task in report["tasks"]] == ["task"]
    lineage = place.workspace.lineage()
    on_it = [each.step for each in lineage.edges() if each.input.digest == student.digest and each.output in link.made]
    assert len(on_it) == 2  # beside the baseline, and on the task of the run file


def test_a_whole_source_is_rebuilt_by_another_teacher_also_when_stopped_in_the_middle(
    place, tiny_llama, provider, monkeypatch
):
    assert json.loads(place.invoke("run", str(place.file), "--rebuild", "--json").stdout)["rebuild"] is None
    place.invoke("recall", TEACHER, "--why", "a letter")
    with pytest.raises(Refused, match=r"nothing remains.*a letter.*name a teacher"):
        place.rebuild()
    run_of(place.folder, tiny_llama, provider, OTHER)
    with monkeypatch.context() as stopped, pytest.raises(Paused):
        stopped.setattr("trueseed.evaluate.measure.compare", interrupt)
        place.rebuild()
    asked = provider.counts()["arrived"]
    report = place.rebuild()
    assert provider.counts()["arrived"] == asked
    assert [each["source"] for each in report["teachers"]] == [OTHER]
    assert {record.origin.source for record in learned_from(place.workspace)} == {OTHER}
    labels = {label.source for label in place.workspace.labels(newest_student(place.workspace))}
    assert labels == {OTHER, "own/base", "own/everyday", "own/held-out"}
    assert not verify.workspace(place.folder / "work").broken
    assert json.loads(place.invoke("run", str(place.file), "--rebuild", "--json").stdout)["rebuild"] is None


def interrupt(*_: Any) -> Artifact:
    raise KeyboardInterrupt
