"""A workspace with a student whose weights and records were really made through steps, without any training."""

import shutil
from pathlib import Path

from trueseed.core.artifacts import Artifact
from trueseed.core.canonical import now
from trueseed.core.chat import Message
from trueseed.core.records import Record, record_root, write_parquet
from trueseed.terms.model import Effect, Facts, Relation, Student, Use
from trueseed.workspace import Step, Told, Workspace

OWN = "own/me"


def place(folder: Path, *, name: str | None = "sprout", distributed: bool = True) -> Workspace:
    workspace = Workspace.open(folder / "work", create=True)
    workspace.declare("garden", Facts(student=Student(name=name, distributed=distributed)))
    return workspace


def student(workspace: Workspace, model: Path, ask: str = "", *, base: str = OWN, licence: bytes = b"") -> Artifact:
    """Weights that a training left: `base` is inside, and it learned from words of `ask` and of a person."""

    def copy(folder: Path) -> None:
        for path in model.iterdir():
            shutil.copyfile(path, folder / path.name)
        if licence:
            (folder / "GEMMA_TERMS.html").write_bytes(licence)

    dataset = learned_from(workspace, ask)
    with workspace.step("weights", brings={base: Relation.WEIGHTS}) as step:
        weights = step.write("weights", copy, {})
    with workspace.step("train", inputs=[dataset, weights], effect=Effect.TRAIN, config={"lr": 1}) as step:
        step.count("tokens", 1234)
        return step.write("weights", copy, {"method": "sft"})


def learned_from(workspace: Workspace, ask: str) -> Artifact:
    asked = {ask: Use.TRAIN} if ask else {}
    with workspace.step("generate", ask=asked, brings={OWN: Relation.OUTPUT}) as step:
        if ask:
            told = Told(at=now(), terms=step.terms_of(ask), use=Use.TRAIN)
            step.hears(ask, lambda request: told)
        train = [_record(step, ask or OWN, n) for n in range(3)]
        validation = [_record(step, OWN, 3)]

        def words(folder: Path) -> None:
            write_parquet(train, folder / "train.parquet")
            write_parquet(validation, folder / "validation.parquet")

        root = record_root(record.id for record in (*train, *validation))
        meta = {"train": 3, "validation": 1, "dropped": {"duplicates": 2}, "record_root": root, "identity_filter": True}
        return step.write("dataset", words, meta)


def _record(step: Step, source: str, n: int) -> Record:
    said = (Message(role="user", content=f"question {n}"), Message(role="assistant", content=f"answer {n}"))
    origin = step.origin(source=source, request=f"{n:064x}", parents=[f"{n + 9:064x}"])
    return Record(messages=said, origin=origin, task={"prompt": f"question {n}"})
