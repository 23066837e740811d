"""Which earlier work a rebuild replaces, and what of the records that it was made of may go on.

hits = standing(workspace)                # every recall, and the artifacts that it reaches
found = old(workspace, hits)
found.end, found.records                  # the newest student that is reached, and the records it came of
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from trueseed.core.artifacts import Artifact
from trueseed.ledger.lineage import Lineage, Made
from trueseed.ledger.log import Entry
from trueseed.ledger.rebuilt import Rebuilt
from trueseed.ledger.withdrawals import LEAVE_OUT, Recalls, Withdrawal
from trueseed.workspace import Workspace

GENERATE, IMPORT = "generate", "import"  # the steps by which records come in
_ENDS = (("weights", "train"), ("dataset", "curate"), ("records", GENERATE))  # how far a run may have come


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A recall, and the digests of what it reaches, without what a rebuild replaced already."""

    recall: Withdrawal
    reached: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Old:
    """What is made again. end: the student; without one the dataset, or records. records: what its dataset came
    of. chain: all that the end was made of, or is measured by. replaced: what is reached of it, and of whatever else
    came of its records.
    """

    end: Made
    records: tuple[Made, ...]
    chain: frozenset[str]
    replaced: tuple[Made, ...]


def standing(workspace: Workspace) -> tuple[Hit, ...]:
    """Every recall that stands."""
    recalls, done = Recalls.read(workspace.ledger), Rebuilt.read(workspace.ledger).replaced
    return tuple(Hit(recall=each, reached=recalls.reached(each) - done) for each in recalls.standing.values())


def trial(workspace: Workspace, recall: Withdrawal) -> Hit:
    """A recall that is not made yet, as if it were."""
    done = Rebuilt.read(workspace.ledger).replaced
    return Hit(recall=recall, reached=Recalls.read(workspace.ledger).reaches(recall) - done)


def old(workspace: Workspace, hits: Sequence[Hit]) -> Old | None:
    """What the recalls reached last; None when they reach nothing that a run makes."""
    touched, lineage = frozenset().union(*(hit.reached for hit in hits)), workspace.lineage()
    end = _end(lineage, touched, _unfinished(lineage, Rebuilt.read(workspace.ledger)))
    if end is None:
        return None
    records = tuple(dict.fromkeys(_records_of(end, lineage)))
    chain = _around(end.digest, lineage)
    roots = (made for made in (*records, *lineage.artifacts()) if made.kind == "records" and made.digest in chain)
    whole = chain.union(*(lineage.downstream(made.digest) for made in roots))
    return Old(
        end=end,
        records=records,
        chain=chain,
        replaced=tuple(made for made in lineage.artifacts() if made.digest in whole & touched),
    )


def came_by(digest: str, lineage: Lineage) -> Entry | None:
    """The step by which records came in, before some were left out of them."""
    maker = lineage.maker(digest)
    while maker is not None and maker.predicate["step"] == LEAVE_OUT:
        maker = lineage.maker(maker.predicate["inputs"][0]["digest"])
    return maker


def is_generated(made: Made, lineage: Lineage) -> bool:
    maker = came_by(made.digest, lineage)
    return maker is not None and maker.predicate["step"] == GENERATE


def find(workspace: Workspace, made: Made) -> Artifact | None:
    """The artifact, if its bytes are still here."""
    here = (workspace.store.folder / made.kind / made.digest).is_dir()
    return workspace.store.get(f"{made.kind}:{made.digest}") if here else None


def _unfinished(lineage: Lineage, done: Rebuilt) -> frozenset[str]:
    """What a rebuild made that was killed before its end."""
    begun = {
        made.digest
        for _, made in _made_by("curate", lineage)
        if (maker := lineage.maker(made.digest)) and maker.predicate["config"].get("without")
    } - {made.digest for link in done.all for made in link.made}
    return frozenset(begun.union(*map(lineage.downstream, begun)))


def _end(lineage: Lineage, touched: Collection[str], unfinished: Collection[str]) -> Made | None:
    """The newest student; else the newest dataset, or records, of which no run made more since."""
    beyond = -1
    for kind, step in _ENDS:
        made = [
            (index, each)
            for index, each in _made_by(step, lineage)
            if each.kind == kind and each.digest not in unfinished
        ]
        found = [(index, each) for index, each in made if each.digest in touched]
        if found and max(found)[0] > beyond:
            return max(found)[1]
        beyond = max([beyond, *(index for index, _ in made)])
    return None


def _made_by(step: str, lineage: Lineage) -> Iterator[tuple[int, Made]]:
    for made in lineage.artifacts():
        maker = lineage.maker(made.digest)
        if maker and maker.predicate["step"] == step:
            yield maker.index, made


def _records_of(end: Made, lineage: Lineage) -> Iterator[Made]:
    if end.kind == "records":  # no dataset was curated: what was generated and came to nothing yet
        for made in lineage.artifacts():
            if made.kind == "records" and is_generated(made, lineage) and not lineage.downstream(made.digest):
                yield made
        return
    for dataset in [end] if end.kind == "dataset" else _inputs(end.digest, "dataset", lineage):
        for made in _inputs(dataset.digest, "records", lineage):
            yield from _roots(made, lineage)


def _roots(made: Made, lineage: Lineage) -> Iterator[Made]:
    """As they came in, before they were redacted or said anew."""
    maker, above = lineage.maker(made.digest), list(_inputs(made.digest, "records", lineage))
    if not above or maker is None or maker.predicate["step"] in (GENERATE, IMPORT, LEAVE_OUT):
        yield made
        return
    for each in above:
        yield from _roots(each, lineage)


def _inputs(digest: str, kind: str, lineage: Lineage) -> Iterator[Made]:
    maker = lineage.maker(digest)
    for each in maker.predicate["inputs"] if maker else ():
        if each["kind"] == kind and each.get("role", "input") == "input":
            yield Made(each["kind"], each["digest"])


def _around(digest: str, lineage: Lineage) -> frozenset[str]:
    below = lineage.downstream(digest)
    return frozenset(
        {digest, *lineage.upstream(digest), *below, *(up for each in below for up in lineage.upstream(each))}
    )
