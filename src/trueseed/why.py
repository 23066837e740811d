"""Why something may be put to a use or may not: what led to it, which labels it carries, what the terms of each say.

    found = answer(workspace, "student", Use.PUBLISH, today)
    found.verdict        # permit, refuse or rebuild
    "\n".join(found.lines())

`without` asks what would be if a source had not been there. Labels only accumulate: what learned from a source is not
freed of it by wishing, so the answer then is which artifacts have to be made again, and from what.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal, get_args

from trueseed.core.artifacts import Kind
from trueseed.core.records import RECORDS_FILE, Share, shares
from trueseed.errors import ConfigError
from trueseed.ledger.lineage import Lineage, Made
from trueseed.ledger.log import Entry
from trueseed.ledger.withdrawals import Passing
from trueseed.terms.catalog import Catalog
from trueseed.terms.model import Facts, Label, Relation, Use
from trueseed.terms.obligations import Solution, solve, union
from trueseed.terms.readings import Reading, readings
from trueseed.terms.rules import Verdict, may_put
from trueseed.workspace import Workspace

STUDENT = "student"  # names the newest one


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """Where a source came in. by: the artifact it came in with. then: steps from there to what was asked about.
    records: how many of its records, with an example; None where there are none to count.
    """

    step: str
    entry: int
    at: str
    by: Made
    then: tuple[str, ...]
    records: Share | None

    def to_json(self) -> dict[str, Any]:
        counted = self.records.to_json() if self.records else None
        return {"step": self.step, "entry": self.entry, "at": self.at, "artifact": _reference(self.by),
                "then": list(self.then), "records": counted}  # fmt: skip

    def __str__(self) -> str:
        count = f": {self.records}" if self.records else ""
        then = f"; then {', '.join(self.then)}" if self.then else ""
        return f"came in at {self.step} (entry {self.entry}, {self.at}) as {_short(self.by)}{count}{then}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """A label, its verdict, where it came in, and the recall of its source in words, '' when there was none."""

    label: Label
    verdict: Verdict
    came: tuple[Came, ...]
    recalled: str

    @property
    def stops(self) -> bool:
        return not self.verdict.permitted or bool(self.recalled)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """chain: what it was made from, nearest first, itself included. carried: its labels, without those of `without`.
    again: what has to be made again to be without them; stands: what need not be. readings: then and now.
    """

    about: Made
    use: Use
    chain: tuple[Entry, ...]
    carried: tuple[Carried, ...]
    readings: tuple[Reading, ...]
    solution: Solution | None
    without: tuple[str, ...] = ()
    again: tuple[Made, ...] = ()
    stands: tuple[Made, ...] = ()

    @property
    def verdict(self) -> Literal["permit", "refuse", "rebuild"]:
        if not self.carried or any(each.stops for each in self.carried):
            return "refuse"
        return "rebuild" if self.again else "permit"

    @property
    def deciding(self) -> tuple[Carried, ...]:
        return tuple(each for each in self.carried if each.stops)

    def to_json(self) -> dict[str, Any]:
        return {
            "artifact": _reference(self.about),
            "use": self.use.value,
            "verdict": self.verdict,
            "deciding": [each.label.to_json() for each in self.deciding],
            "labels": [
                {
                    "label": each.label.to_json(),
                    "verdict": each.verdict.to_json(),
                    "came": [came.to_json() for came in each.came],
                    "recalled": each.recalled,
                }
                for each in self.carried
            ],
            "readings": [each.to_json() for each in self.readings],
            "owed": self.solution.to_json() if self.solution else None,
            "without": list(self.without),
            "again": [_reference(made) for made in self.again],
            "stands": [_reference(made) for made in self.stands],
        }

    def lines(self, *, whole: bool = True) -> list[str]:
        """For people. whole: also what does not decide: how it was made, every label, both readings, what is owed."""
        told = [self._head()]
        for each in self.deciding:
            told += [f"  {line}" for line in _refusal(each)]
        told += [f"  to be made again: {_short(made)}" for made in self.again]
        told += [f"  stands: {_short(made)}" for made in self.stands] if self.again else []
        if not whole:
            return told
        told += ["made by", *(f"  {_made(entry)}" for entry in self.chain)]
        told += ["labels", *(f"  {line}" for each in self.carried for line in _carried(each))]
        told += ["then and now", *(f"  {each}" for each in self.readings)] if self.readings else []
        owed = self.solution.lines() if self.solution else []
        return told + (["owed, all together", *(f"  {line}" for line in owed)] if owed else [])

    def _head(self) -> str:
        used = f"be used to {self.use.value}"
        left_out = f" without {', '.join(self.without)}" if self.without else ""
        match self.verdict:
            case "permit":
                return f"{_short(self.about)} may {used}{left_out}"
            case "rebuild":
                return (
                    f"rebuild required: {_short(self.about)} learned from {', '.join(self.without)}, and a label is "
                    f"never taken off; made again without, it may {used}"
                )
        if not self.carried:
            return f"{_short(self.about)} may not {used}{left_out}: nothing that it was made from is left"
        return f"{_short(self.about)} may not {used}{left_out}"


def is_made_here(subject: str) -> bool:
    """Whether it names something made in a workspace, and not a source or a document."""
    return subject == STUDENT or re.fullmatch(rf"({'|'.join(get_args(Kind))}):.*|[0-9a-f]{{6,64}}", subject) is not None


def known(folder: Path) -> tuple[Workspace | None, Catalog, Facts]:
    """The workspace in `folder`, if there is one, with the documents and facts by which it judges."""
    if not (folder / "format").exists():
        return None, Catalog.load(folder / "terms"), Facts()
    workspace = Workspace.open(folder)
    return workspace, workspace.catalog, workspace.facts


def only_of_sources(**options: object) -> None:
    """Raises `ConfigError` for options that make no sense of what was made here."""
    for name in (name for name, given in options.items() if given):
        raise ConfigError(f"--{name} asks about a source; what was made here says itself how it came about")


def only_of_what_was_made(**options: object) -> None:
    """Raises `ConfigError` for options that make no sense of a source."""
    for name in (name for name, given in options.items() if given):
        raise ConfigError(f"--{name} asks about what was made here; name it as kind:digest, or `student`")


def answer(
    workspace: Workspace | None,
    reference: str,
    use: Use,
    today: date,
    *,
    facts: Facts | None = None,
    without: Sequence[str] = (),
) -> Answer:
    """reference: `kind:digest`, a digest, the beginning of either, or `student`. facts: in place of the declared ones.
    without: sources to imagine away.

    Raises `ConfigError` when nothing or more than one thing is meant, or it does not carry a source to be left out.
    """
    if workspace is None:
        raise ConfigError(f"{reference!r} is of a workspace, and there is none here; give --workspace")
    lineage = workspace.lineage()
    about = _find(lineage, reference, workspace)
    labels = {Label(source, Relation(rel), terms) for source, rel, terms in lineage.labels(about.digest)}
    _must_carry(about, labels, without)
    left = {label for label in labels if label.source not in without}
    catalog, facts = workspace.catalog, facts or workspace.facts
    verdicts = dict(zip(sorted(left), may_put(left, catalog, use, facts, today), strict=True))
    line = (about.digest, *lineage.upstream(about.digest))
    again, stands = _divided(line, lineage, without)
    owed = union(verdict.obligations for verdict in verdicts.values())
    refused = any(not verdict.permitted for verdict in verdicts.values())
    return Answer(
        about=about,
        use=use,
        chain=tuple(maker for digest in line if (maker := lineage.maker(digest))),
        carried=tuple(
            Carried(
                label=label,
                verdict=verdict,
                came=tuple(_came(label, line, lineage, workspace)),
                recalled=_recalled(label, about, workspace),
            )
            for label, verdict in verdicts.items()
        ),
        readings=readings(left, catalog, use, facts, today),
        solution=None if refused else solve(owed, facts.student.name),
        without=tuple(without),
        again=again,
        stands=stands,
    )


def _find(lineage: Lineage, reference: str, workspace: Workspace) -> Made:
    if reference == STUDENT:
        newest = lineage.newest("weights", step="train")
        if newest is None:
            raise ConfigError(f"no student was trained in {str(workspace.folder)!r} yet; `trueseed run FILE` makes one")
        return newest
    kind, _, prefix = reference.rpartition(":")
    found = [m for m in lineage.artifacts() if m.digest.startswith(prefix) and kind in ("", m.kind)]
    if len(found) != 1 or len(prefix) < 6:
        raise ConfigError(
            f"{reference!r} names {len(found) if len(prefix) >= 6 else 'no'} artifacts of this workspace; give "
            f"`kind:digest` as a run prints it (6 characters or more of the digest), or `student`"
        )
    return found[0]


def _must_carry(about: Made, labels: set[Label], without: Sequence[str]) -> None:
    carried = sorted({label.source for label in labels})
    for source in without:
        if source not in carried:
            raise ConfigError(f"{_short(about)} carries no label of {source!r}; its sources: {', '.join(carried)}")


def _divided(
    line: Sequence[str], lineage: Lineage, without: Sequence[str]
) -> tuple[tuple[Made, ...], tuple[Made, ...]]:
    """Of what led here: what carries one of the sources, and what does not; each oldest first."""
    if not without:
        return (), ()
    carrying = {digest for source in without for digest in lineage.artifacts_of(source)}
    led = [made for made in lineage.artifacts() if made.digest in set(line)]
    # what a source itself is (its weights as they came in) is left out, not made again
    entered = {digest for digest in carrying if all(label[0] in without for label in lineage.labels(digest))}
    again = tuple(made for made in led if made.digest in carrying - entered)
    return again, tuple(made for made in led if made.digest not in carrying)


def _came(label: Label, line: Sequence[str], lineage: Lineage, workspace: Workspace) -> Iterator[Came]:
    """Steps in the line that asked the source, or brought it in, under these terms."""
    parents = _towards(line[0], lineage)
    for digest in line:
        maker = lineage.maker(digest)
        if maker is None or label.terms not in {terms for source, _, terms in lineage.labels(digest)
                                                if source == label.source}:  # fmt: skip
            continue
        said = maker.predicate
        if label.source in {each["source"] for each in (*said["asks"], *said["brings"])}:
            made = next(Made(each["kind"], each["digest"]) for each in said["outputs"] if each["digest"] == digest)
            yield Came(
                step=said["step"],
                entry=maker.index,
                at=said["at"],
                by=made,
                then=_steps(digest, parents, lineage),
                records=_counted(workspace.store.folder / made.kind / made.digest, label),
            )


def _towards(start: str, lineage: Lineage) -> Mapping[str, str]:
    """For everything upstream of `start`, what was made from it on the way there (the shortest)."""
    following: dict[str, list[str]] = {}
    for edge in lineage.edges():
        following.setdefault(edge.output.digest, []).append(edge.input.digest)
    nearer: dict[str, str] = {}
    queue = [start]
    for current in queue:
        for above in following.get(current, ()):
            if above not in nearer and above != start:
                nearer[above] = current
                queue.append(above)
    return nearer


def _steps(digest: str, nearer: Mapping[str, str], lineage: Lineage) -> tuple[str, ...]:
    steps = []
    while digest in nearer:
        digest = nearer[digest]
        maker = lineage.maker(digest)
        steps.append(str(maker.predicate["step"]) if maker else "?")
    return tuple(steps)


def _counted(folder: Path, label: Label) -> Share | None:
    path = folder / RECORDS_FILE
    return shares(path).get((label.source, label.terms)) if path.exists() else None


def _recalled(label: Label, about: Made, workspace: Workspace) -> str:
    """By a recall of the whole source, or of a part of it that reaches the artifact."""
    workspace.ledger.refresh()
    named = frozenset({(label.source, label.relation.value, label.terms)})
    stops = workspace.recalls.stops(Passing(labels=named, inputs=(about.digest,)))
    stop = next((each for each in stops if each.withdrawal.source == label.source), None)
    return f"{stop.withdrawal}; {stop.because}" if stop else ""


# In words


def _reference(made: Made) -> str:
    return f"{made.kind}:{made.digest}"


def _short(made: Made) -> str:
    return f"{made.kind}:{made.digest[:12]}"


def _made(entry: Entry) -> str:
    said = entry.predicate
    outputs = ", ".join(f"{each['kind']}:{each['digest'][:12]}" for each in said["outputs"])
    used = [
        f"{'beside ' if each['role'] == 'against' else ''}{each['kind']}:{each['digest'][:12]}"
        for each in said["inputs"]
    ]
    asked = [f"asking {each['source']} to {each['use']}" for each in said["asks"]]
    brought = [f"bringing {each['source']}" for each in said["brings"]]
    whence = ", ".join([*(["from " + ", ".join(used)] if used else []), *asked, *brought])
    return f"{outputs} by {said['step']} (entry {entry.index}, {said['at']}) {whence}".rstrip()


def _refusal(each: Carried) -> Iterator[str]:
    """Why this label decides."""
    yield from _carried(each)
    if each.verdict.settle_by and not each.verdict.permitted:
        yield f"  to settle it: {each.verdict.settle_by}"


def _carried(each: Carried) -> Iterator[str]:
    verdict = each.verdict
    answer = "permitted" if verdict.permitted else "refused" if verdict.established else "refused: not established"
    text = f" [{verdict.document} ({verdict.version}), clause {verdict.clause}]" if verdict.document else ""
    yield f"{each.label.source}, {each.label.relation.value}: {answer}: {verdict.because}{text}"
    if each.recalled:
        yield f"  recalled: {each.recalled}"
    if verdict.at_odds:
        yield f"  at odds: {' and '.join(f'{label.source} ({label.relation.value})' for label in verdict.at_odds)}"
    yield from (f"  whose text: {own}" for own in verdict.own)
    if verdict.upstream:
        yield f"  it is declared to have learned from {'; '.join(verdict.upstream)}"
    for came in each.came:
        yield f"  {came}"
