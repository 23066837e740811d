"""The door: what may pass, what is refused, and what is left when something ends badly."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trueseed.core.artifacts import Artifact, Kind
from trueseed.errors import Broken, ConfigError, Refused
from trueseed.ledger.lineage import Lineage
from trueseed.ledger.log import Entry
from trueseed.recall import recall
from trueseed.terms.model import Effect, Facts, Relation, Student, Use
from trueseed.workspace import Step, Workspace

SMOL = "huggingfacetb/smollm2-135m-instruct@weights"
GPT = "openai/gpt-4@api"
OWN = "own/prompts"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "work", create=True)


def put(step: Step, kind: Kind, text: str = "words") -> Artifact:
    return step.write(kind, lambda folder: (folder / "file.txt").write_text(text) and None, {})


def prompts(workspace: Workspace, text: str = "words") -> Artifact:
    with workspace.step("prompts", brings={OWN: Relation.OUTPUT}, config={"text": text}) as step:
        return step.earlier("prompts") or put(step, "prompts", text)


def events(workspace: Workspace) -> list[tuple[str, str]]:
    return [
        (entry.predicate["step"], entry.predicate["event"])
        for entry in workspace.ledger.entries()
        if "event" in entry.predicate
    ]


def test_artifacts_appear_only_when_the_step_closes(workspace):
    with workspace.step("prompts", brings={OWN: Relation.OUTPUT}) as step:
        artifact = put(step, "prompts")
        assert not artifact.folder.exists()
    assert artifact.path("file.txt").read_text() == "words"
    assert events(workspace) == [("prompts", "opened"), ("prompts", "done")]


def test_a_failed_step_leaves_no_artifact_and_says_why(workspace):
    with pytest.raises(RuntimeError), workspace.step("prompts", brings={OWN: Relation.OUTPUT}) as step:
        put(step, "prompts")
        raise RuntimeError("out of luck")
    assert list(workspace.store.all()) == []
    assert events(workspace)[-1] == ("prompts", "failed")
    assert [e.predicate["reason"] for e in workspace.ledger.entries()][-1] == "RuntimeError: out of luck"


def test_a_door_reads_what_is_new_in_the_ledger_and_no_entry_twice(workspace, monkeypatch):
    read, real = [], Entry.parse
    monkeypatch.setattr(Entry, "parse", lambda index, leaf: (read.append(index), real(index, leaf))[1])

    def reads(n):
        read.clear()
        prompts(workspace, f"{n}")
        return len(read)

    first = [reads(n) for n in range(3)]
    for n in range(3, 20):
        prompts(workspace, f"{n}")
    assert reads(20) == reads(21) == first[-1]


def test_a_closing_of_another_process_is_known_to_the_next_door(workspace):
    other = Workspace.open(workspace.folder)
    made = prompts(other)
    with workspace.step("prompts", brings={OWN: Relation.OUTPUT}, config={"text": "words"}) as step:
        assert step.earlier("prompts") == made


def test_ctrl_c_pauses(workspace):
    with pytest.raises(KeyboardInterrupt), workspace.step("prompts", brings={OWN: Relation.OUTPUT}):
        raise KeyboardInterrupt
    assert events(workspace)[-1] == ("prompts", "paused")


def test_asking_a_forbidden_teacher_is_refused_before_the_step_begins(workspace):
    with pytest.raises(Refused, match="openai"), workspace.step("generate", ask={GPT: Use.TRAIN}):
        pytest.fail("the step must not begin")
    assert events(workspace) == [("generate", "refused")]
    assert list(workspace.store.all()) == []


def test_an_unknown_teacher_is_refused(workspace):
    with pytest.raises(Refused, match="nobody/knows"), workspace.step("generate", ask={"nobody/knows@api": Use.TRAIN}):
        pytest.fail("the step must not begin")


def test_a_step_may_not_read_what_it_did_not_name(workspace):
    other = prompts(workspace, "other")
    with (
        pytest.raises(Refused, match="not among its inputs"),
        workspace.step("curate", inputs=[prompts(workspace)]) as step,
    ):
        step.read(other)


def test_a_source_that_was_not_named_may_not_be_claimed_as_origin(workspace):
    with (
        pytest.raises(Refused, match="neither asks nor brings"),
        workspace.step("generate", ask={SMOL: Use.TRAIN}) as step,
    ):
        step.origin(source=GPT)


def test_an_answer_that_was_never_asked_has_no_origin(workspace):
    with pytest.raises(Refused, match="no answer"), workspace.step("generate", ask={SMOL: Use.TRAIN}) as step:
        step.origin(source=SMOL, request="f" * 64)


def test_an_artifact_that_no_step_made_is_refused(workspace):
    with workspace.store.staged("prompts") as folder:
        (folder / "x").write_text("smuggled")
        smuggled = workspace.store.put("prompts", folder, {})
    with pytest.raises(Broken, match="no step"), workspace.step("curate", inputs=[smuggled]):
        pass


def test_a_changed_input_is_found_at_the_door(workspace):
    artifact = prompts(workspace)
    artifact.path("file.txt").write_text("changed")
    with pytest.raises(Broken, match="was changed"), workspace.step("curate", inputs=[artifact]):
        pass


def test_the_same_step_is_not_done_twice(workspace):
    first = prompts(workspace)
    size = workspace.ledger.size
    assert prompts(workspace) == first
    assert workspace.ledger.size == size


def test_held_out_prompts_are_refused_as_training_data_at_any_distance(workspace):
    with workspace.step("freeze", brings={OWN: Relation.OUTPUT}, config={"held_out": True}) as step:
        held_out = put(step, "prompts", "held out")
    with workspace.step("generate", inputs=[held_out]) as step:
        records = put(step, "records", "answers to held-out prompts")
    with pytest.raises(Refused, match="held-out"), workspace.step("train", inputs=[records], effect=Effect.TRAIN):
        pass


def test_what_was_only_held_against_held_out_prompts_may_be_trained_on(workspace):
    with workspace.step("freeze", brings={OWN: Relation.OUTPUT}, config={"held_out": True}) as step:
        held_out = put(step, "prompts", "held out")
    with workspace.step("curate", inputs=[prompts(workspace)], against=[held_out]) as step:
        dataset = put(step, "dataset", "clean")
    assert (OWN, "filter") in {label[:2] for label in Lineage.read(workspace.ledger).labels(dataset.digest)}
    with workspace.step("train", inputs=[dataset], effect=Effect.TRAIN) as step:
        put(step, "weights")


def test_a_judges_answers_cannot_reach_records_without_becoming_a_label(workspace):
    with workspace.step("judge", inputs=[prompts(workspace)], ask={SMOL: Use.JUDGE}) as step:
        scores = put(step, "scores")
    with workspace.step("filter", inputs=[scores, prompts(workspace)]) as step:
        records = put(step, "records")
    assert (SMOL, "score") in {label[:2] for label in Lineage.read(workspace.ledger).labels(records.digest)}


def test_scores_of_a_judge_that_may_not_reward_cannot_shape_records(workspace):
    with pytest.raises(Refused), workspace.step("judge", ask={"openai/gpt-4@api": Use.JUDGE}) as step:
        put(step, "records")


def test_a_recall_stops_later_steps_and_the_close_of_running_ones(workspace):
    with workspace.step("generate", inputs=[prompts(workspace)], ask={SMOL: Use.TRAIN}) as step:
        records = put(step, "records")
    other = Workspace.open(workspace.folder)
    with pytest.raises(Refused, match="recalled"), workspace.step("curate", inputs=[records]) as step:
        put(step, "dataset")
        recall(other, SMOL, "the maker asked")
    assert [artifact.kind for artifact in workspace.store.all()] == ["prompts", "records"]
    assert events(workspace)[-1] == ("curate", "refused")
    with pytest.raises(Refused, match="the maker asked"), workspace.step("train", inputs=[records]):
        pass


def test_a_recall_gets_through_while_a_step_runs(workspace):
    with pytest.raises(Refused), workspace.step("generate", ask={SMOL: Use.TRAIN}) as step:
        put(step, "records")
        step.seal()
        with Workspace.open(workspace.folder).step("elsewhere", brings={OWN: Relation.OUTPUT}) as beside:
            put(beside, "prompts")
        workspace.ledger.append(
            "https://trueseed.dev/withdrawal/v1", [], {"source": SMOL, "reason": "x", "at": "now"}, role="reviewer"
        )
        step.seal()


def test_a_newer_workspace_is_not_touched(tmp_path):
    (tmp_path / "format").write_text("99\n")
    with pytest.raises(ConfigError, match="upgrade"):
        Workspace.open(tmp_path)


def test_the_same_step_cannot_run_twice_at_once(workspace):
    config = {"a": 1}
    with workspace.step("slow", brings={OWN: Relation.OUTPUT}, config=config):
        other = Workspace.open(workspace.folder)
        with (
            pytest.raises(ConfigError, match="already running"),
            other.step("slow", brings={OWN: Relation.OUTPUT}, config=config),
        ):
            pass


def test_declared_facts_come_back_from_the_ledger(workspace):
    facts = Facts(student=Student(name="Llama-sprout", distributed=False), region="DE", monthly_users=12)
    workspace.declare("project", facts)
    workspace.declare("project", facts)
    assert workspace.facts == replace(facts, project="project")
    assert workspace.project == "project"
    assert workspace.ledger.size == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from trueseed.workspace import Workspace
from trueseed.terms.model import Relation
w = Workspace.open(Path(sys.argv[1]), create=True)
with w.step("slow", brings={"own/prompts": Relation.OUTPUT}) as step:
    step.journal("lines").append({"kept": 1})
    step.write("prompts", lambda f: (f / "x").write_text("y") and None, {})
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_step_is_abandoned_by_the_next_and_its_journal_is_kept(tmp_path):
    folder = tmp_path / "work"
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder)], env=dict(os.environ))
    assert done.returncode == -signal.SIGKILL
    workspace = Workspace.open(folder)
    with workspace.step("slow", brings={OWN: Relation.OUTPUT}) as step:
        assert list(step.journal("lines")) == [{"kept": 1}]
    assert events(workspace) == [("slow", "opened"), ("slow", "abandoned"), ("slow", "opened"), ("slow", "done")]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    plan=st.lists(
        st.tuples(
            st.lists(st.integers(0, 9), max_size=3),
            st.lists(st.integers(0, 9), max_size=2),
            st.sampled_from([None, Use.TRAIN, Use.JUDGE]),
            st.integers(0, 3),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_labels_never_shrink_along_a_run(tmp_path_factory, plan):
    workspace = Workspace.open(tmp_path_factory.mktemp("law") / "work", create=True)
    made: list[Artifact] = []
    for n, (inputs, against, use, own) in enumerate(plan):
        chosen = [made[i % len(made)] for i in inputs] if made else []
        beside = [made[i % len(made)] for i in against] if made else []
        with workspace.step(
            f"step-{n}",
            inputs=chosen,
            against=beside,
            ask={SMOL: use} if use else {},
            brings={f"own/p{own}": Relation.OUTPUT},
        ) as step:
            made.append(put(step, "scores", json.dumps([n, own])))
        lineage = Lineage.read(workspace.ledger)
        mine = lineage.labels(made[-1].digest)
        for artifact in chosen:
            assert lineage.labels(artifact.digest) <= mine
        for artifact in beside:
            assert {label[0] for label in lineage.labels(artifact.digest)} <= {label[0] for label in mine}
        assert not use or SMOL in {label[0] for label in mine}
