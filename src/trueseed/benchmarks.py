"""Scores of this workspace as the field's own files, through the door: `trueseed scores export`.

    written = export(workspace, [scores], Path("data/mt_bench"), "mt-bench")

What is written follows from what the scores are: answers to a task, verdicts on pairs of answers, or marks. The folder
is known to the ledger, so that a recall names it. To make it public is another use, of which the terms are asked
(`public`).
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trueseed.core.artifacts import Artifact, each_once
from trueseed.core.canonical import file_digest, sha256
from trueseed.core.durable import folder_atomic
from trueseed.errors import ConfigError
from trueseed.evaluate import verdicts
from trueseed.evaluate.formats.row import Mark
from trueseed.evaluate.formats.writing import FORMS, Sheet, Side, file_name, files
from trueseed.evaluate.task import thaw
from trueseed.outgoing import TO, seen_from
from trueseed.terms.model import Effect
from trueseed.workspace import Workspace

STEP = "scores-export"
SCALE = [1, 10]  # of MT-bench's marks


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """files: paths in the folder, with their SHA-256."""

    folder: Path
    form: str
    files: Mapping[str, str]
    sources: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        said = {"folder": str(self.folder), "format": self.form, "files": dict(self.files)}
        return {**said, "sources": list(self.sources)}


def export(
    workspace: Workspace, scores: Sequence[Artifact], folder: Path, form: str, *, public: bool = False
) -> Written:
    """scores: of one task. public: the terms are asked whether it may be published.

    The folder appears whole, once the ledger knows of it. Raises `Refused` where they do not permit that, `ConfigError`
    for an unknown format, for scores that are of other tasks or hold no answers, for what the format cannot hold, and
    for a folder that is there already.
    """
    if form not in FORMS:
        raise ConfigError(f"there is no format {form!r}; the formats are {', '.join(FORMS)}")
    if folder.exists():
        raise ConfigError(f"{str(folder)!r} is there already; name a folder that is not there yet, or remove it")
    task = _task_of(scores, workspace)
    inputs = each_once([task, *scores, *_marked(scores, workspace)])
    config = {"format": form, "public": public, TO: seen_from(workspace.folder, folder)}
    effect = Effect.PUBLISH if public else Effect.NONE
    with (
        folder_atomic(folder) as staged,
        workspace.step(STEP, inputs=inputs, effect=effect, config=config) as step,
    ):
        for each in inputs:
            step.read(each)
        made = files(_sheet(task, scores, workspace), form)
        hashed = {name: sha256(content) for name, content in made.items()}
        _fill(staged, made)
        if step.earlier("report") is None:
            step.hands_out(hashed)
            step.write("report", _note(hashed), {"format": form, "files": len(made)})
        sources = tuple(sorted({label.source for label in step.labels}))
    if any(not (folder / name).is_file() or file_digest(folder / name) != digest for name, digest in hashed.items()):
        raise ConfigError(f"{str(folder)!r} was made by somebody else meanwhile; give another folder")
    return Written(folder=folder, form=form, files=hashed, sources=sources)


def _fill(folder: Path, made: Mapping[str, bytes]) -> None:
    for name, content in made.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def _note(said: Mapping[str, str]) -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        (folder / "export.json").write_text(json.dumps(said))

    return fill


def _task_of(scores: Sequence[Artifact], workspace: Workspace) -> Artifact:
    digests = {str(_about(each)["task"].get("artifact", "")) for each in scores}
    if len(digests) != 1 or not (digest := digests.pop()):
        raise ConfigError("scores of one task are written together, and these are of several, or came from elsewhere")
    return workspace.store.get(f"prompts:{digest}")


def _about(scores: Artifact) -> dict[str, Any]:
    path = scores.path("scores.json")
    if scores.kind != "scores" or not path.is_file():
        raise ConfigError(f"{scores} holds no scores of a model; name scores:<digest> of `evaluate` or `judge`")
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def _lines(scores: Artifact) -> list[dict[str, Any]]:
    return [json.loads(line) for line in scores.path("samples.jsonl").read_bytes().splitlines()]


# ------------------------------------------------------------------------------------------------ what scores are of


def _is_marks(about: Mapping[str, Any]) -> bool:
    return "marked" in about.get("counts", {})


def _marked(scores: Sequence[Artifact], workspace: Workspace) -> Iterator[Artifact]:
    """The answers that marks are of: scores too, which their step read."""
    for each in scores:
        if not _is_marks(_about(each)):
            continue
        made = workspace.lineage().maker(each.digest)
        read = made.predicate["inputs"] if made else ()
        for name in (f"scores:{entry['digest']}" for entry in read if entry["kind"] == "scores"):
            answers = workspace.store.get(name)
            if answers.path("scores.json").is_file():  # a judge's card has none
                yield answers


def _sheet(task: Artifact, scores: Sequence[Artifact], workspace: Workspace) -> Sheet:
    sides: dict[str, Side] = {}
    judges: dict[str, Mapping[str, Any]] = {}
    said: list[verdicts.Verdict] = []
    marks: list[Mark] = []
    for each in (*scores, *_marked(scores, workspace)):
        about = _about(each)
        judges |= {file_name(judge["name"]): _judge(judge) for judge in about.get("judges", ())}
        if "contestants" in about:
            _add(sides, *_compared(each, about))
            said += map(_by_file_name, verdicts.read(each.path(verdicts.VERDICTS_FILE)))
        elif _is_marks(about):
            marks += _marks(each, about)
        elif "entrants" in about:
            raise ConfigError(f"{each} is a round of an arena, of some pairs on some prompts; write `judge pairwise`'s")
        else:
            _add(sides, _answers(each, about, workspace))
    return Sheet(
        samples=thaw(task).samples, sides=list(sides.values()), verdicts=verdicts.merged([said]), marks=marks,
        judges=judges,
    )  # fmt: skip


def _add(sides: dict[str, Side], *found: Side) -> None:
    """Raises `ConfigError` for another model of the same name."""
    for side in found:
        if side.name in sides and sides[side.name].answers != side.answers:
            raise ConfigError(f"two models are called {side.name!r}; write each in a folder of its own")
        sides.setdefault(side.name, side)


def _judge(about: Mapping[str, Any]) -> dict[str, Any]:
    """card: whether it passed; None where it was not tried."""
    return {"source": about["source"], "card": about["card"]["passed"] if about.get("card") else None}


def _compared(scores: Artifact, about: Mapping[str, Any]) -> Iterator[Side]:
    lines = _lines(scores)
    for side, name in (("a", about["model"]["source"]), ("b", about["against"]["source"])):
        told = about["contestants"][side]
        origin = {part: told[part] for part in ("source", "artifact", "learned_from")}
        yield Side(name=file_name(name), answers={line["id"]: line[side] for line in lines}, origin=origin)


def _by_file_name(verdict: verdicts.Verdict) -> verdicts.Verdict:
    return replace(verdict, a=file_name(verdict.a), b=file_name(verdict.b), judge=file_name(verdict.judge))


def _answers(scores: Artifact, about: Mapping[str, Any], workspace: Workspace) -> Side:
    lines = _lines(scores)
    if not all("text" in line["said"][0] for line in lines):
        raise ConfigError(f"{scores} holds likelihoods, and no answers that could be written")
    learned = sorted({label.source for label in workspace.labels(scores)} - {about["task"]["source"]})
    origin = {"source": about["model"]["source"], "artifact": f"scores:{scores.digest}", "labels": learned}
    answers = {line["id"]: line["said"][0]["text"] for line in lines}
    return Side(name=file_name(about["model"]["source"]), answers=answers, origin=origin)


def _marks(scores: Artifact, about: Mapping[str, Any]) -> Iterator[Mark]:
    """By the first criterion. Raises `ConfigError` for another scale than MT-bench's."""
    [judge] = about["judges"]
    if judge["rubric"]["scale"] != SCALE:
        raise ConfigError(f"{scores} has marks of {judge['rubric']['scale']}; MT-bench's are of 1 to 10 (--scale)")
    for line in _lines(scores):
        if line["value"] is not None:
            yield Mark(
                sample=line["id"],
                model=file_name(about["model"]["source"]),
                judge=file_name(judge["name"]),
                score=line["value"][about["metric"]],
                reason=line.get("reason") or "",
            )
