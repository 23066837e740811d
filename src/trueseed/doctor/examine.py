"""Everything that a run file names, looked at in order: prompts, records of others, each teacher, judge and target that
is asked, the base, the method, the tasks, and what judges and targets are besides.

found = examine(runfile.load(path), Path("work"))
found.exit_code       # 0 when all is well, else that of the worst failure
"""

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from trueseed.asking import beside, in_order, targets_of, uses_of
from trueseed.asking import judges as judges_of
from trueseed.doctor import imports, judges, method, permission, reach, targets, tasks, training, weights
from trueseed.doctor.check import Check, Findings, Subject
from trueseed.doctor.known import Known
from trueseed.errors import ConfigError, TrueSeedError
from trueseed.generate import prompts
from trueseed.lm.source import source_of
from trueseed.runfile import Asked, RunFile
from trueseed.similarity.remembered import ANSWERS
from trueseed.terms.catalog import Catalog
from trueseed.workspace import Workspace


def examine(file: RunFile, workspace: Path, environment: Mapping[str, str] = os.environ) -> Findings:
    """workspace: where the run will work; it need not exist, and is not made. Of one that is there the ledger is read
    for holds and recalls; nothing is written to it, except that opening it mends what a killed process left, and that
    the index by which imported texts are known again is brought up to date. Raises `ConfigError` for a malformed terms
    folder.
    """
    catalog, now = Catalog.load(workspace / "terms"), datetime.now(UTC)
    found: list[Check] = []
    place: Workspace | None = None
    if (workspace / "format").exists():
        try:
            place = Workspace.open(workspace)
        except TrueSeedError as err:
            found.append(Subject("workspace", str(workspace)).error("ledger", err))
    catalog = place.catalog if place else catalog
    known = Known(file=file, catalog=catalog, now=now, folder=workspace, workspace=place, environment=environment)
    found += _prompts(known) if file.generate else ()
    brought = imports.seen_by(known)
    for n, each in enumerate(brought, start=1):
        found += imports.checks(f"import {n}" if len(brought) > 1 else "import", each)
    teachers = in_order(file) | beside(file)
    for of, asked in teachers.items():
        found += _teacher(of, asked, known)
    found += _base(known)
    found += method.checks(file)
    found += _measuring(known, training.lessons(file, brought))
    is_remote = any(asked.remote for asked in teachers.values())
    return Findings(checks=tuple(found), unchecked=reach.UNCHECKED if is_remote else ())


def _prompts(known: Known) -> Iterator[Check]:
    asked = known.file.prompts
    subject = Subject("prompts", asked.source)
    try:
        read = prompts.named(asked.file)
        prompts.must_have_papers(read, asked.source, known.folder / ANSWERS)
    except TrueSeedError as err:
        yield subject.fails("file", str(err), "correct the prompts that `prompts` names", type(err))
        return
    yield subject.ok("file", f"{len(read.prompts)} prompts in {asked.file or 'the file shipped for everyday tasks'}")


def _teacher(of: str, asked: Asked, known: Known) -> Iterator[Check]:
    try:
        subject = Subject(of, asked.named)
        yield from permission.of_teacher(subject, asked, known, uses_of(of))
        if asked.remote is not None:
            yield from reach.checks(subject, asked.remote, known.file, known.environment)
        else:
            yield from weights.checks(
                subject, asked, catalog=known.catalog, today=known.today,
                trained=False, workspace=known.folder,
            )  # fmt: skip
    except ConfigError as err:  # a source that is none, two documents for one source
        yield Subject(of, "").error("run file", err)


def _measuring(known: Known, lessons: training.Lessons) -> Iterator[Check]:
    """Tasks; judges and targets, beside what is looked at of them as of teachers."""
    file = known.file
    for config in file.tasks:
        yield from tasks.checks(config, known, lessons)
    for of, judge in judges_of(file).items():
        try:
            yield from judges.checks(of, judge, known)
        except ConfigError as err:  # a source that is none
            yield Subject(of, "").error("run file", err)
    for of, target in targets_of(file):
        yield from targets.checks(of, target, known)


def _base(known: Known) -> Iterator[Check]:
    base = known.file.base
    try:
        subject = Subject("base", source_of(base.weights, base.source))
    except ConfigError as err:  # a wheel that is not known
        yield Subject("base", "").error("run file", err)
        return
    yield from permission.of_base(subject, known)
    yield from weights.checks(
        subject, base, catalog=known.catalog, today=known.today,
        trained=True, workspace=known.folder, beside=_in_memory(known.file),
    )  # fmt: skip


def _in_memory(file: RunFile) -> str:
    """The weights that are heard while the student is trained; ''."""
    return (file.distiller.weights or "") if file.distiller and file.hears_distiller_in == "train" else ""
