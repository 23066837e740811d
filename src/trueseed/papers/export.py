"""The step that hands a student out: weights, papers and notices in one folder, or nothing.

    handed = export(workspace, Wanted(folder=Path("out"), formats=("hf", "gguf-f16")))

The door judges it as publishing, so an exception for models that stay inside ends here. The closing statement names
every file with its SHA-256 and is signed before the folder appears: what is outside was ledgered first.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal, get_args

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from trueseed.core.artifacts import Artifact
from trueseed.core.canonical import file_digest, now
from trueseed.core.durable import folder_atomic
from trueseed.errors import ConfigError
from trueseed.lm import gguf
from trueseed.lm.format import PLAIN
from trueseed.lm.marked import copy_marked
from trueseed.lm.source import LICENCE_FILES, MODEL_FILES, matching
from trueseed.outgoing import TO, seen_from
from trueseed.papers import bom, card, croissant, dataset_card, dossier, notices, signature, summary
from trueseed.papers.corpus import Corpus
from trueseed.papers.dossier import Dossier
from trueseed.student import newest_student
from trueseed.terms.model import Effect
from trueseed.workspace import Step, Workspace

Form = Literal["hf", "gguf-f16", "gguf-q8_0"]
FORMS: tuple[Form, ...] = get_args(Form)
CARD = "README.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """folder: must not exist yet. student: as a run prints it; the newest when ''. name: the declared one when ''.
    texts: files that must be passed on and are not at hand. records: whether what it learned from goes along. signed:
    with the operator's key for weights.
    """

    folder: Path
    student: str = ""
    name: str = ""
    formats: tuple[Form, ...] = ("hf",)
    texts: tuple[Path, ...] = ()
    records: bool = False
    signed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """files: SHA-256 by path in the folder."""

    folder: Path
    name: str
    student: str
    files: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        return {"folder": str(self.folder), "name": self.name, "student": self.student, "files": self.files}


def export(workspace: Workspace, wanted: Wanted) -> Handed:
    """Raises `Refused` when publishing is, or when a duty cannot be met; `ConfigError` for a folder that is there, a
    name or format that cannot be used, or a library that is not installed.
    """
    if wanted.signed:
        signature.must_be_possible()
    artifact, name = which(workspace, wanted.student), _name(workspace, wanted.name)
    if wanted.folder.exists():
        raise ConfigError(f"{str(wanted.folder)!r} exists; name a folder that is not there yet")
    learned = dossier.learned_from(workspace, artifact) if wanted.records else ()
    shown, scores = _scores_to_show(workspace, artifact)
    config = {"name": name, "formats": list(wanted.formats), "at": now(), "session": token_hex(4), **scores}
    config |= {TO: seen_from(workspace.folder, wanted.folder)}
    with (
        _known_as(name, workspace),
        folder_atomic(wanted.folder) as folder,
        workspace.step(
            "export", inputs=[artifact, *learned], effect=Effect.PUBLISH, shows=shown, config=config
        ) as step,
    ):
        told = dossier.of(workspace, artifact, name)
        _fill(folder, told, workspace, wanted, step)
        if wanted.signed:
            signature.sign(folder)
        files = {p.relative_to(folder).as_posix(): file_digest(p) for p in sorted(folder.rglob("*")) if p.is_file()}
        step.hands_out(files)
    if file_digest(wanted.folder / CARD) != files[CARD]:
        raise ConfigError(f"{str(wanted.folder)!r} was made by somebody else meanwhile; give another folder")
    return Handed(folder=wanted.folder, name=name, student=f"weights:{artifact.digest}", files=files)


def _scores_to_show(workspace: Workspace, student: Artifact) -> tuple[list[Artifact], dict[str, str]]:
    """Scores that the papers will show, for the door to judge, or why they leave the teacher's out; and what the ledger
    says of that.
    """
    found = dossier.comparison(workspace, student)
    if found is None:
        return [], {}
    if because := dossier.withheld(workspace, found):
        return [], {"scores": str(found), "teacher_scores_left_out": because}
    return [found], {"scores": str(found)}


def papers_of(workspace: Workspace, student: str = "", name: str = "") -> dict[str, str]:
    """Every paper as an export would write it, by its path there, without handing anything out."""
    artifact = which(workspace, student)
    return written(dossier.of(workspace, artifact, name or workspace.facts.student.name or "student"))


def written(told: Dossier) -> dict[str, str]:
    """The papers, by their paths in the folder."""
    papers = {
        CARD: card.render(told),
        bom.FILE: _json(bom.describe(told)),
        summary.FILE: summary.render(told),
        summary.JSON_FILE: _json(summary.describe(told)),
    }
    for corpus in told.corpora:
        beside = _beside(corpus)
        papers[f"{beside}/{CARD}"] = dataset_card.render(told, corpus)
        papers[f"{beside}/{croissant.FILE}"] = _json(croissant.describe(told, corpus))
    return papers


def one_of(papers: dict[str, str], path: str) -> str:
    """Raises `ConfigError` for a paper that there is not."""
    if path not in papers:
        raise ConfigError(f"--paper {path!r} is none of {', '.join(papers)}")
    return papers[path]


def _beside(corpus: Corpus) -> str:
    return f"datasets/{corpus.dataset.digest[:12]}"


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def which(workspace: Workspace, student: str) -> Artifact:
    artifact = workspace.store.get(student) if student else newest_student(workspace)
    if artifact.kind != "weights":
        raise ConfigError(f"{artifact} is no model; give `weights:…` as a run prints it")
    return artifact


def _name(workspace: Workspace, wanted: str) -> str:
    """The name it goes by."""
    name = wanted or workspace.facts.student.name or ""
    try:
        validate_repo_id(name)
    except HFValidationError as err:
        raise ConfigError(f"{name!r} cannot be a model's name ({err}); give another with --name") from err
    if "/" in name:
        raise ConfigError(f"{name!r}: give the model's name alone, without an account")
    return name


@contextmanager
def _known_as(name: str, workspace: Workspace) -> Iterator[None]:
    """A new name is declared before the door judges by it, and taken back when nothing was handed out under it."""
    before = workspace.facts.student.name
    workspace.rename_student(name)
    try:
        yield
    except BaseException:
        workspace.rename_student(before)
        raise


def _fill(folder: Path, told: Dossier, workspace: Workspace, wanted: Wanted, step: Step) -> None:
    weights = step.read(told.student)
    for path in matching(weights, LICENCE_FILES):
        shutil.copyfile(path, folder / path.name)
    notices.write(told, workspace, wanted.texts, folder)
    if "hf" in wanted.formats:
        _as_transformers_reads_it(weights, folder, told)
    for form in wanted.formats:
        if form != "hf":
            precision: gguf.Precision = "f16" if form == "gguf-f16" else "q8_0"
            gguf.write(weights, folder / f"{told.name}-{precision}.gguf", precision, name=told.name)
    for name, text in written(told).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    for corpus in told.corpora if wanted.records else ():
        records = step.read(corpus.dataset)
        for name in corpus.files:
            shutil.copyfile(records / name, folder / _beside(corpus) / name)


def _as_transformers_reads_it(weights: Path, folder: Path, told: Dossier) -> None:
    for path in matching(weights, MODEL_FILES):
        if path.suffix == ".safetensors":
            copy_marked(path, folder / path.name, _mark(told))
        else:
            shutil.copyfile(path, folder / path.name)
    if not (folder / "chat_template.jinja").exists() and "chat_template" not in _text(folder / "tokenizer_config.json"):
        (folder / "chat_template.jinja").write_text(PLAIN, encoding="utf-8")  # what it learned with


def _mark(told: Dossier) -> dict[str, str]:
    changed = f"changed by training in the project {told.project!r}; from {', '.join(told.base) or 'no other weights'}"
    return {"modified": changed, "student": f"weights:{told.student.digest}"}


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def forms(texts: Sequence[str]) -> tuple[Form, ...]:
    """Raises `ConfigError` for a format that is not known."""
    for text in texts:
        if text not in FORMS:
            raise ConfigError(f"--format {text!r} is none of {', '.join(FORMS)}")
    return tuple(form for form in FORMS if form in texts)
