"""What would a rebuild without recalled records cost? Counted record by record, and timed by what the steps took.

    plan = plan_rebuild(workspace, "openai/gpt-4@api", Part(use="train"))
    plan.records        # per artifact: how many records, and how many of them go
    plan.again          # the steps to run again, with the seconds that they took

`plan_standing` says the same of all recalls that stand, which is what `trueseed run FILE --rebuild` goes by. What a
rebuild replaced already is not counted again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from trueseed.core.artifacts import Artifact
from trueseed.core.plural import many
from trueseed.ledger.lineage import Lineage
from trueseed.ledger.withdrawals import HOLD_RECORDS
from trueseed.rebuild import remains
from trueseed.rebuild.reached import NONE_GONE, Rows, rows, trues
from trueseed.rebuild.remains import Hit
from trueseed.recall import WHOLE, Part, reach, withdrawal
from trueseed.workspace import Workspace

BESIDE = frozenset({"rejected.parquet", "dropped.parquet"})  # kept for people to see, and no records of the artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """reached: of its records, those that a rebuild leaves out. answers: of these, what a teacher said itself."""

    artifact: str
    records: int
    reached: int
    answers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """A step that a rebuild runs again. took_s: when it was run last. likely_s: the same for the share of its records
    that is left; None where the artifacts that it reads hold no records.
    """

    step: str
    made: str
    took_s: float
    likely_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuild:
    """source: one, or several with commas. missing: generated records to be had from a source that may be asked, for as
    many as before. reused: artifacts that stay as they are.
    """

    source: str
    records: tuple[Counted, ...]
    again: tuple[Again, ...]
    missing: int
    reused: tuple[str, ...]

    @property
    def took_s(self) -> float:
        return sum(each.took_s for each in self.again)

    def to_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "records": [asdict(each) for each in self.records],
            "again": [asdict(each) for each in self.again],
            "missing": self.missing,
            "took_s": round(self.took_s, 3),
            "reused": list(self.reused),
        }

    def lines(self) -> Iterator[str]:
        """For people."""
        for each in self.records:
            yield f"{each.artifact}: {each.reached} of {each.records} records go"
        for step in self.again:
            likely = "" if step.likely_s is None else f", about {step.likely_s:.0f} s for what is left"
            yield f"{step.step} again, for {step.made}: {step.took_s:.0f} s last time{likely}"
        yield f"{many(self.missing, 'record')} to be had from a source that may be asked, for as many as before"
        stay = "stays as it is" if len(self.reused) == 1 else "stay as they are"
        yield f"{many(len(self.reused), 'artifact')} {stay}"


def plan_rebuild(workspace: Workspace, source: str, part: Part = WHOLE) -> Rebuild:
    """Raises as `recall.reach`, and `Broken` when a file of records cannot be read."""
    reach(workspace, source, part)  # says when nothing here comes from it
    return _plan(workspace, [remains.trial(workspace, withdrawal(workspace, source, "", part))])


def plan_standing(workspace: Workspace) -> Rebuild:
    """Of every recall that stands. Raises `Broken` when a file of records cannot be read."""
    return _plan(workspace, remains.standing(workspace))


def _plan(workspace: Workspace, hits: Sequence[Hit]) -> Rebuild:
    lineage = workspace.lineage()
    order = {each.digest: place for place, each in enumerate(lineage.artifacts())}
    stored = sorted((a for a in workspace.store.all() if a.digest in order), key=lambda a: order[a.digest])
    touched = [a for a in stored if any(a.digest in hit.reached for hit in hits)]
    counted = _count([artifact for artifact in touched if artifact.kind in HOLD_RECORDS], hits)
    old = remains.old(workspace, hits)
    return Rebuild(
        source=", ".join(dict.fromkeys(hit.recall.source for hit in hits)),
        records=tuple(counted.values()),
        again=tuple(_again([a for a in touched if old is None or a.digest in old.chain], lineage, counted)),
        missing=sum(
            counted[made.digest].reached
            for made in (old.records if old else ())
            if made.digest in counted and remains.is_generated(made, lineage)
        ),
        reused=tuple(str(artifact) for artifact in stored if artifact not in touched),
    )


def _count(artifacts: Sequence[Artifact], hits: Sequence[Hit]) -> dict[str, Counted]:
    """By digest. artifacts: what was made first comes first, so that parents are known before what is made of them."""
    gone, counted = NONE_GONE, {}
    for artifact in artifacts:
        found = rows_of(artifact, hits, gone)
        own = [each for each in found if each.path.name not in BESIDE]
        counted[artifact.digest] = Counted(
            artifact=str(artifact),
            records=sum(each.table.num_rows for each in own),
            reached=sum(trues(each.mask) for each in own),
            answers=sum(map(_answers, own)),
        )
        gone = pa.concat_arrays([gone, *(each.ids for each in found)])
    return counted


def rows_of(artifact: Artifact, hits: Sequence[Hit], gone: pa.Array) -> list[Rows]:
    """The rows of an artifact that is reached by some of the recalls, and which of them go."""
    mine = [hit.recall for hit in hits if artifact.digest in hit.reached]
    carried = artifact.kind == "records" and any(each.is_whole for each in mine)
    return rows(artifact, mine, gone, carried=carried)


def _answers(found: Rows) -> int:
    is_answer = pc.equal(pc.struct_field(found.table["origin"], "kind"), "teacher")
    return trues(pc.and_(found.mask, is_answer))


def _again(touched: Sequence[Artifact], lineage: Lineage, counted: Mapping[str, Counted]) -> Iterator[Again]:
    """The steps that made what is touched, each once, in order. What was asked is not asked again, only left out; what
    was brought in from outside is not brought again.
    """
    seen: set[int] = set()
    for artifact in touched:
        maker = lineage.maker(artifact.digest)
        if maker is None or maker.index in seen or artifact.kind == "records" or not maker.predicate["inputs"]:
            continue
        seen.add(maker.index)
        read = [counted[each["digest"]] for each in maker.predicate["inputs"] if each["digest"] in counted]
        all_records, left_out = sum(each.records for each in read), sum(each.reached for each in read)
        took = float(maker.predicate["cost"]["seconds"])
        likely = round(took * (1 - left_out / all_records), 3) if all_records else None
        yield Again(step=str(maker.predicate["step"]), made=str(artifact), took_s=took, likely_s=likely)
