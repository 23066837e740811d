"""Targets by a judge's verdicts, and a whole run with judges and targets: offline, by tiny models."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.report.test_html import Text
from tests.test_judging import first_always, seat, wise
from tests.test_scoreboard import OLD, cli, recording, trained
from tests.tiny_run import run_file

from trueseed import aims, asking, contests, judging, pipeline
from trueseed.errors import ConfigError, Refused
from trueseed.evaluate import judge_card
from trueseed.evaluate.judge_card import GOLD
from trueseed.runfile import load
from trueseed.terms.model import Relation
from trueseed.workspace import Workspace

PROMPTS = [f"Say {n}." for n in range(12)]
TASK = {"file": "task.jsonl", "scorer": "open", "source": "own/ada", "max_tokens": 8, "of": ["student"]}
CHECKS = {"method": "checks", "name": "checks"}
BY_CHECKS = {**OLD, "judge": "checks"}


@pytest.fixture(autouse=True)
def fewer_pairs(tmp_path_factory, monkeypatch):
    """30 of the shipped pairs, all with a reference."""
    path = tmp_path_factory.mktemp("gold") / "gold.jsonl"
    path.write_text("".join(f"{line}\n" for line in GOLD.read_text().splitlines()[:30]))
    monkeypatch.setattr(judge_card, "GOLD", path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [
        {"id": str(n), "prompt": prompt, "check": {"scorer": "contains", "target": f" {n} "}, "reference": str(n)}
        for n, prompt in enumerate(PROMPTS)
    ]
    (tmp_path / "task.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recording(tmp_path, "old.json", 9)
    return tmp_path


@pytest.fixture
def workspace(folder: Path) -> Workspace:
    return Workspace.open(folder / "work", create=True)


def with_judges(folder: Path, model: Path, *targets: dict[str, Any], judges=(CHECKS,), **changes: Any) -> Path:
    said: dict[str, Any] = {"tasks": [TASK], "engine": {"slots": 4, "dtype": "float32"}, **changes}
    path = run_file(folder, model, targets=list(targets), judges=list(judges), **said)
    text = yaml.safe_load(path.read_text())
    for target in text["targets"]:
        target |= {name: date.fromisoformat(target[name]) for name in ("by", "on") if name in target}
    path.write_text(yaml.safe_dump(text))
    return path


def test_a_target_goes_by_the_verdicts_of_the_judge_it_names(folder, workspace, tiny_llama):
    for name in ("one", "two"):
        trained(workspace, tiny_llama, folder, name)
    path = with_judges(folder, tiny_llama, BY_CHECKS)
    words = ("targets", path, "-w", workspace.folder, "--at", "2023-12-01")
    (found,) = json.loads(cli(*words, "--json").stdout)["targets"]
    (step,) = found["steps"]  # the newest was measured now; the one before never was
    assert found["target"]["value"] == 0.5
    assert step["score"]["value"] == step["wins"] == pytest.approx((3 * 0.5) / 12)  # nine lost, three where both fail
    assert step["gap"]["value"] == pytest.approx(step["score"]["value"] - 0.5)
    assert step["status"] == "below"
    assert (found["judge"]["name"], found["judge"]["method"], found["judge"]["believed"]) == ("checks", "checks", True)
    assert (found["looks"]["times"], found["looks"]["students"]) == (2, 1)
    assert step["contamination"] == [
        "training data unknown: own/tiny, from which it was trained: its training data is not here"
    ]
    size = Workspace.open(workspace.folder).ledger.size
    told = cli(*words).stdout
    assert Workspace.open(workspace.folder).ledger.size == size
    assert "judge own/checks by checks: passed its card" in told
    assert "win_rate: by 2023-12-31, 30 days left" in told
    assert "ladder of task, against gpt-3.5-turbo by checks" in told


def test_base_and_teacher_stand_on_the_ladder_by_the_judges_verdicts_too(folder, workspace, tiny_llama, monkeypatch):
    monkeypatch.setattr(asking, "is_here", lambda spec: False)
    trained(workspace, tiny_llama, folder, "one")
    unnamed = {name: said for name, said in TASK.items() if name != "of"}
    found = aims.targets(
        workspace, load(with_judges(folder, tiny_llama, BY_CHECKS, tasks=[unnamed])), date(2023, 12, 1)
    )
    rungs = found.ladders["task, against gpt-3.5-turbo by checks"]
    assert [(rung.kind, rung.score.value) for rung in rungs] == [
        ("target", 0.5),
        ("student", pytest.approx(1.5 / 12)),
        ("other", pytest.approx(1.5 / 12)),
    ]
    assert rungs[2].model.split()[0] == "own/tiny"


def test_a_judge_that_always_says_a_gives_a_clear_result_and_no_number(folder, workspace, tiny_llama, monkeypatch):
    monkeypatch.setattr(judging, "seat_of", lambda named, file, workspace: seat(first_always, "own/j", asked=False))
    trained(workspace, tiny_llama, folder, "one")
    path = with_judges(folder, tiny_llama, BY_CHECKS)
    found = aims.targets(workspace, load(path), date(2023, 12, 1))
    (standing,) = found.standings
    assert (standing.steps, standing.met_on, standing.detectable) == ((), None, None)
    assert any("turned with the order of the answers" in said for said in standing.judge["warnings"])
    assert not standing.judge["believed"]
    assert any("failed its card" in said for said in standing.judge["warnings"])
    assert [each.meta["against"] for each in found.verdicts] == ["own/gpt-3.5"]
    html = folder / "targets.html"
    told = cli("targets", path, "-w", workspace.folder, "--at", "2023-12-01", "--html", html).stdout
    assert "judge own/j by words: NOT TO BE BELIEVED" in told
    assert "NOTE  the judge own/j failed its card" in told
    assert "no student has a score yet" in told and "come to no win_rate" in told
    assert "met" not in told and "show a gap" not in told
    assert "own/j by words, which is NOT to be believed" in Text(html.read_text()).text


def test_a_judge_whose_terms_say_nothing_is_refused_before_a_student_is_trained(folder, workspace, tiny_llama):
    remote = {"remote": {"source": "acme/large@api"}, "name": "acme"}
    path = with_judges(folder, tiny_llama, {**OLD, "judge": "acme"}, judges=[remote])
    with pytest.raises(Refused, match="acme/large@api may not be used to judge"):
        pipeline.run(load(path), workspace)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"targets": [{**OLD, "judge": "nobody"}]}, "goes by the judge 'nobody'; `judges` has \\['checks'\\]"),
        ({"targets": [OLD], "judges": []}, "nothing tells what is right on task 'task'"),
        ({"targets": [{**BY_CHECKS, "metric": "accuracy"}]}, "one of win_rate, weighted_win_rate"),
        ({"tasks": [{**TASK, "scorer": "contains"}]}, "is scored by 'contains'"),
        ({"judges": [{"method": "checks", "weights": "x"}]}, "is no model"),
        ({"judges": [{"method": "reference", "remote": {"source": "acme/large@api"}}]}, "cannot go by a reference"),
        ({"judges": [{"method": "likelihood"}]}, "or `method: checks`"),
        (
            {"judges": [{"method": "likelihood", "remote": {"source": "mistral/mistral-large@api"}, "name": "checks"}]},
            "Mistral's API gives none; take `method: words`",
        ),
    ],
)
def test_mistakes_in_judged_targets_are_told(folder, tiny_llama, changes, why):
    said = {"targets": [BY_CHECKS], **changes}
    targets = said.pop("targets")
    with pytest.raises(ConfigError, match=why):
        load(with_judges(folder, tiny_llama, *targets, **said))


def test_a_whole_run_with_judges_and_targets(folder, workspace, brief_llama, monkeypatch):
    """A student against its base and three targets, whose judges go by checks, by a reference and by a script."""
    by_reference = {"weights": str(brief_llama), "source": "own/tiny", "method": "reference", "name": "reference"}
    scripted = {"weights": "a-script", "source": "own/script", "name": "script"}
    seat_of = judging.seat_of

    def seated(named, file, workspace):
        return seat(wise, "own/script", asked=False) if named.name == "script" else seat_of(named, file, workspace)

    monkeypatch.setattr(judging, "seat_of", seated)
    targets = [{**OLD, "judge": name, "name": f"old by {name}"} for name in ("checks", "reference", "script")]
    path = with_judges(
        folder,
        brief_llama,
        *targets,
        judges=[CHECKS, by_reference, scripted],
        tasks=[{**TASK, "of": ["student", "base"]}],
        engine={"slots": 16},
    )
    file = load(path)
    outcome = pipeline.run(file, workspace)
    report = pipeline.write_report(workspace, outcome).to_json()
    assert [(each["judge"]["name"], each["judge"]["believed"]) for each in report["targets"]] == [
        ("checks", True),
        ("reference", report["targets"][1]["judge"]["believed"]),
        ("script", True),
    ]
    assert "weighted_win_rate" in report["targets"][1]["steps"][0]["rates"]
    text = Text((workspace.folder / "report.html").read_text()).text
    assert "Who answers better" in text and "own/checks by checks" in text
    assert "no reason was asked for" in text
    judged = [each for each in workspace.ledger.entries() if each.predicate.get("step") == "judge"]
    assert {"source": "own/tiny", "use": "judge"} in [asked for each in judged for asked in each.predicate["asks"]]
    verdicts = outcome.board.verdicts[1]
    assert ("own/tiny", Relation.SCORE) in {(each.source, each.relation) for each in workspace.labels(verdicts)}
    kept = [each.predicate["step"] for each in workspace.ledger.entries() if each.predicate.get("event") == "done"]
    assert "arena" in kept
    size = workspace.ledger.size
    pipeline.write_report(workspace, pipeline.run(file, workspace))
    assert [each.predicate["step"] for each in list(workspace.ledger.entries())[size:]] == []


def test_judges_are_let_go_when_their_targets_are_done(folder, workspace, tiny_llama, monkeypatch):
    let_go = []
    one = seat(wise, "own/j", asked=False)
    monkeypatch.setattr(one.model.voice, "close", lambda: let_go.append(True), raising=False)
    monkeypatch.setattr(judging, "seat_of", lambda named, file, workspace: one)
    with contests.bench(load(with_judges(folder, tiny_llama, BY_CHECKS)), workspace) as called:
        assert called("checks") is called("checks") is one
        assert let_go == []
    assert let_go == [True]
