"""What a run asks of its teachers, and what its file must say of them before one may be asked.

One home for the run itself, for `plan` and for `doctor`, so that neither calls ready what the run would refuse. Whether
a maker is on hold is asked in `teachers/api/held`, and recalls in `Workspace.look_for_recalls`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from trueseed.errors import Refused
from trueseed.evaluate.scorers import named
from trueseed.evaluate.task import Config, Whom
from trueseed.lm.source import is_here
from trueseed.runfile import EMBEDDED, Asked, Judging, RunFile, Target
from trueseed.terms.catalog import Catalog
from trueseed.terms.model import Facts, Use
from trueseed.terms.rules import Verdict, may_ask
from trueseed.workspace import Workspace

May = Callable[[Asked, Use], bool]  # whether the terms let this one be asked so

ASKING: Mapping[str, Use] = {"generate": Use.TRAIN, "baseline": Use.BENCHMARK_TEACHER}  # by step
USES = tuple(ASKING.values())  # what a teacher is asked for


def in_order(file: RunFile) -> dict[str, Asked]:
    """The teachers in the order of asking, by what people are told they are: `teacher`, `failover 1`, …"""
    return {f"failover {place}" if place else "teacher": asked for place, asked in enumerate(file.teachers)}


def rewriters(file: RunFile) -> dict[str, Asked]:
    """Who says records anew and is none of the teachers, each once: `transform 1`, …, by its place in the file."""
    found: dict[str, Asked] = {}
    for place, asked in enumerate(file.rewriters, start=1):
        if asked not in (*file.teachers, *found.values()):
            found[f"transform {place}"] = asked
    return found


def judges(file: RunFile) -> dict[str, Judging]:
    """`judge 1`, …, by their places in the file, those that are models: they are asked for a use of their own."""
    return {f"judge {n}": each for n, each in enumerate(file.judges, start=1) if each.weights or each.remote}


def targets_of(file: RunFile) -> tuple[tuple[str, Target], ...]:
    """The models to match as `target NAME`, with day and task where two have one name."""
    names = [each.name for each in file.targets]
    return tuple(
        (f"target {each.name}" + (f" of {each.on} on {each.task}" if names.count(each.name) > 1 else ""), each)
        for each in file.targets
    )


def targets(file: RunFile) -> dict[str, Asked]:
    """Those of `targets_of` that are asked now."""
    return {of: each.teacher for of, each in targets_of(file) if each.teacher}


def beside(file: RunFile) -> dict[str, Asked]:
    """Who is asked beside the teachers: those who rewrite, and who says how probable each token is, each once; judges;
    targets.
    """
    found, asked = rewriters(file), file.distiller
    if asked and asked not in (*file.teachers, *file.rewriters):
        found["distiller"] = asked
    return {**found, **judges(file), **targets(file)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """Who is measured on a task. left_out: who would stand on its ladder, and why they do not, a line each."""

    whom: tuple[Whom, ...]
    left_out: tuple[str, ...] = ()


def ladder(file: RunFile, config: Config, may: May) -> Ladder:
    """Whom `of` names, as the run has them. Left out, of a task that a target is on: whoever is there, is another model
    than those before, and may be measured by its terms.
    """
    found, left_out, seen = list[Whom](), list[str](), set[str]()
    for whom in file.measures(config):
        model = file.model_of(whom)
        if whom != "student" and model is None:
            continue
        if config.of is None and model is not None:
            which = str((model.weights or model.remote, file.base.layers if whom == "base" else None))
            if which in seen:
                continue
            seen.add(which)
            if because := _stays_off(model, config, may):
                left_out.append(f"{whom} ({model.named}) is not on the ladder of {config.named}: {because}")
                continue
        found.append(whom)
    return Ladder(whom=tuple(found), left_out=tuple(left_out))


def _stays_off(model: Asked, config: Config, may: May) -> str:
    """Why a model is not measured where nobody named it; ''."""
    if not may(model, Use.BENCHMARK_TEACHER):
        return "its terms do not establish that it may be measured (benchmark_teacher)"
    if model.remote and named(config.scorer).needs != "answers":
        return "only some servers tell how likely a text is; name it in `of` to ask"
    if model.weights == EMBEDDED and not is_here(EMBEDDED):
        return f"it is not here yet; `trueseed weights {EMBEDDED}` fetches it"
    return ""


def left_out(file: RunFile, may: May) -> tuple[str, ...]:
    """Of the ladders of all tasks that targets are on."""
    return tuple(line for config in file.tasks for line in ladder(file, config, may).left_out)


def permits(workspace: Workspace) -> May:
    """By the terms of today, and what the workspace declared."""
    facts, today, catalog = workspace.facts, workspace.today, workspace.catalog
    return lambda asked, use: may_ask(asked.named, use, facts, today, catalog, asked.features).permitted


def uses_of(of: str) -> tuple[Use, ...]:
    """What is asked of whoever is told as `of`."""
    match of.split()[0]:
        case "transform" | "distiller":
            return (Use.TRAIN,)
        case "judge":
            return (Use.JUDGE,)
        case "target":
            return (Use.BENCHMARK_TEACHER,)
    return USES


def verdicts(
    source: str,
    catalog: Catalog,
    facts: Facts,
    today: date,
    features: Sequence[str] = (),
    uses: Sequence[Use] = USES,
) -> tuple[Verdict, ...]:
    """The terms' on each of `uses`, in that order. features: of its service, those it is asked with."""
    return tuple(may_ask(source, use, facts, today, catalog, features) for use in uses)


def must_be_in_force(contract: str | None, source: str, catalog: Catalog, today: date) -> None:
    """Raises `Refused` when the contract that the account accepted is not the text the door would go by, `ConfigError`
    when the catalog has none of that id. None: nothing was declared.
    """
    if contract is None:
        return
    said = catalog.document(contract)
    in_force = catalog.governing(source, today)
    if in_force is None or in_force.id != said.id:
        found = f"{in_force.id!r} governs it today" if in_force else "no document governs it today"
        raise Refused(
            f"your account accepted {contract!r} for {source!r}, but {found}; read which one binds you, and add it to "
            f"the workspace's terms folder or correct `contract`"
        )
