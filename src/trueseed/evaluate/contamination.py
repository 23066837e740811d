"""What of a test the model was trained on, as far as its training data is here; said beside every score.

    learned = learned_by(weights, workspace)         # the datasets above the weights, and what of them is not known
    found = report(samples_of(task), learned, step)  # counts, shares, and which sample by which record
    found["unknown"]                                 # never empty: nobody here knows what a base model has read

A model from outside is never said to be clean: its training data is not here.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trueseed.core.artifacts import Artifact
from trueseed.evaluate.fewshot import SHOT
from trueseed.ledger.lineage import Lineage, Made
from trueseed.ledger.looks import Looks, is_trained, looks_at
from trueseed.similarity import leaks
from trueseed.similarity.held_out import learned_from, said
from trueseed.similarity.leaks import Leak, Leaks, Said, Sample
from trueseed.workspace import Step, Workspace

NOT_HERE = "its training data is not here"
METHOD = {"run_of_words": leaks.IN_A_ROW, "near": leaks.NEAR, "shingle": 3, "at_least_words": leaks.AT_LEAST}


@dataclass(frozen=True, kw_only=True)
class Learned:
    """datasets: what the weights learned from, that is in the store. unknown: what else they learned from, a line each.
    looks: how often the test was looked at, this time included.
    """

    datasets: tuple[Artifact, ...] = ()
    unknown: tuple[str, ...] = ()
    looks: Looks | None = None


def learned_by(weights: Artifact | None, source: str, held_out: Artifact | None, workspace: Workspace) -> Learned:
    """weights: None for a model behind an API, or one that is known by its recorded answers. held_out: what it is
    measured on.
    """
    lineage = workspace.lineage()
    trained = weights is not None and is_trained(weights.digest, lineage)
    by = weights.digest if weights else source
    looks = looks_at(held_out.digest, lineage, now_by=by, trained=trained) if held_out else None
    if weights is None or not trained:
        return Learned(unknown=(f"{source}: {NOT_HERE}",), looks=looks)
    found, unknown, destroyed = [], [], workspace.read().destroyed.artifacts
    for made in _lessons(weights.digest, lineage):
        if made.digest not in destroyed and (workspace.store.folder / made.kind / made.digest).is_dir():
            found.append(workspace.store.get(f"{made.kind}:{made.digest}"))
        else:
            unknown.append(f"{made.kind}:{made.digest[:12]}: it is not in the store any more")
    brought = [label.source for label in workspace.labels(weights) if label.relation.value == "weights"]
    unknown += [f"{each}, from which it was trained: {NOT_HERE}" for each in sorted(set(brought))]
    return Learned(datasets=tuple(found), unknown=tuple(unknown), looks=looks)


def _lessons(weights: str, lineage: Lineage) -> tuple[Made, ...]:
    """Datasets and records that any training above these weights, or their own, read."""
    above = {weights, *lineage.upstream(weights, roles=("input",))}
    read = (e.input for e in lineage.edges() if e.output.kind == "weights" and e.output.digest in above)
    return tuple(dict.fromkeys(made for made in read if made.kind in ("dataset", "records")))


def report(
    samples: Sequence[Sample],
    learned: Learned,
    step: Step,
    without: Callable[[Collection[str]], Mapping[str, Any] | None],
) -> dict[str, Any]:
    """As JSON. samples: of the test, and the examples shown before them, which are counted apart. without: scores on
    the samples with these ids alone, None where they are too few.

    Where nothing is known of the training data there are no counts, and `unknown` says why.
    """
    found: dict[str, Any] = {"unknown": list(learned.unknown)}
    if not learned.datasets:
        return found
    shots = [each for each in samples if each.id.startswith(SHOT)]
    samples = [each for each in samples if not each.id.startswith(SHOT)]
    best, records = _found(samples, learned, step)
    ways = [leak.how for leak, _ in best.values()]
    found |= {
        "against": [f"{each.kind}:{each.digest}" for each in learned.datasets],
        "records": records,
        "samples": len(samples),
        "contaminated": len(best),
        "share": len(best) / len(samples) if samples else 0.0,
        **{way: ways.count(way) for way in ("same", "near", "run")},
        "ids": _told(best),
        "method": METHOD,
    }
    if shots:
        shown, _ = _found(shots, learned, step)
        found["examples"] = {"shown": len(shots), "contaminated": len(shown), "ids": _told(shown)}
    if best:
        found["without"] = without({each.id for each in samples} - best.keys())
    return found


def _told(best: Mapping[str, tuple[Leak, str]]) -> dict[str, Any]:
    return {name: {**leak.to_json(), "record": record} for name, (leak, record) in sorted(best.items())}


def _found(samples: Iterable[Sample], learned: Learned, step: Step) -> tuple[dict[str, tuple[Leak, str]], int]:
    """Of each sample that was learned, the strongest way and the record; and how many records there are."""
    seen = set[str]()

    def records() -> Iterator[tuple[str, Iterator[Said]]]:
        for artifact in learned.datasets:
            step.read(artifact)
            for record in learned_from(artifact):
                if record.id not in seen:
                    seen.add(record.id)
                    yield record.id, said(record)

    return Leaks(samples).met(records()), len(seen)
