"""From a finished run to its report: numbers from the score files, the rest from the ledger.

Nothing is measured here, and nothing is remembered from the process that ran: a report can be made again at any time.
"""

import json
import platform
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from trueseed import learned, worth
from trueseed.checks import phrase
from trueseed.checks.kind import Constraint
from trueseed.core.artifacts import Artifact
from trueseed.core.canonical import now
from trueseed.ledger.lineage import Lineage
from trueseed.ledger.log import Entry
from trueseed.report import details, origins, planned, summary
from trueseed.report.results import NOTHING, Results
from trueseed.terms.admission import measured
from trueseed.terms.model import Obligation, Upstream, Use
from trueseed.terms.readings import Reading, readings
from trueseed.terms.rules import Verdict, may_put
from trueseed.workspace import FLAGS, Workspace

SHOWN_PER_SET = 8  # samples side by side; the artifact has them all
TIMED_AS = {step: step for step in ("generate", "curate", "train", "evaluate")} | {
    "baseline": "evaluate",
    "signals": "train",
}


def report(
    workspace: Workspace,
    *,
    teacher: str,
    student: Artifact,
    records: Sequence[Artifact],
    dataset: Artifact,
    scores: Artifact,
    tasks: Sequence[Artifact] = (),
    results: Results = NOTHING,
) -> summary.Report:
    """What `report.json` holds. records: of each teacher that was asked, in order. tasks: scores on the user's own.
    results: who stands where on them.
    """
    lineage = Lineage.read(workspace.ledger)
    taught = [_taught(part, lineage) for part in records]
    asked = sum((_asked(part, lineage) for part in records), Counter[str]())
    curated = _counts(lineage.maker(dataset.digest))
    imports, anew = origins.imported(workspace, dataset), origins.said_anew(workspace, dataset)
    found = json.loads(scores.path("scores.json").read_bytes())
    comparison = summary.Comparison(
        **{side: summary.Scores.from_json(found[side]) for side in ("teacher", "student", "difference")}
    )
    counts = summary.Counts(
        asked=asked["asked"] + asked["cached"],
        cached=asked["cached"],
        accepted=asked["accepted"],
        rejected=_by_reason(asked, "rejected:"),
        kept=curated["kept"],
        dropped=_by_reason(curated, "dropped:"),
        imported=sum(each.rows for each in imports),
    )
    ledger = workspace.ledger
    return summary.Report(
        teacher=teacher,
        student=f"{student.kind}:{student.digest}",
        scores=comparison,
        records=counts,
        timings_s=_timings(ledger.entries(), (*records, dataset, student, scores), lineage),
        ledger=summary.LedgerHead(entries=ledger.size, root=ledger.root_hex, checkpoint=ledger.checkpoint()),
        sources=tuple(sorted({label.source for label in workspace.labels(student)})),
        obligations=_obligations(lineage.maker(student.digest)),
        teachers=tuple(taught),
        plan=planned.outcome(ledger.entries(), workspace.store, _done(scores, lineage)),
        readings=tuple(reading.to_json() for reading in _readings(workspace, student)),
        may_be_published=tuple(verdict.to_json() for verdict in _on_publishing(workspace, (scores, *tasks))),
        imports=imports,
        said_anew=anew,
        flags=tuple(flag for flag in FLAGS if student.meta.get(flag)),
        tasks=tuple(json.loads(each.path("scores.json").read_bytes()) for each in tasks),
        training=learned.of(student, lineage.maker(student.digest)).to_json(),
        **results.to_json(),
        contamination=found.get("contamination", {}),
        looks=found.get("looks", {}),
    )


def page(
    workspace: Workspace,
    *,
    baseline: Artifact,
    student: Artifact,
    scores: Artifact,
    sources: Iterable[str],
    tasks: Sequence[Artifact] = (),
) -> details.Details:
    """What `report.html` shows beside the numbers. tasks: as of `report`."""
    lineage = Lineage.read(workspace.ledger)
    theirs, ours = _samples(baseline), _samples(scores)
    curve, how = _curve(student), learned.of(student, lineage.maker(student.digest))
    found = json.loads(scores.path("scores.json").read_bytes())
    nodes, edges = _graph(student, scores, lineage)
    return details.Details(
        name=workspace.facts.student.name or "student",
        made_at=now(),
        project=workspace.project,
        machine=f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        workspace=str(workspace.folder),
        kinds=_kinds(theirs, ours),
        p_values=found["p"],
        curve=tuple(details.Point(step=p["step"], loss=p["loss"], lr=p["learning_rate"]) for p in curve["curve"]),
        parts={
            name: tuple(details.Point(step=at, loss=value, lr=0.0) for at, value in enumerate(values, start=1))
            for name, values in how.parts.items()
        },
        validation=_validation(curve),
        nodes=nodes,
        edges=edges,
        rulings=_rulings(workspace.ledger.entries()),
        upstream=tuple(Upstream(source=s, teacher=t) for s in sources for t in workspace.catalog.upstream(s)),
        readings=tuple(f"{each.then.use.value}: {each}" for each in _readings(workspace, student)),
        withheld=tuple(str(each) for each in _on_publishing(workspace, (scores, *tasks)) if not each.permitted),
        samples=tuple(_side_by_side(theirs, ours)),
        worth=tuple(worth.lines(found)),
    )


def _readings(workspace: Workspace, student: Artifact) -> tuple[Reading, ...]:
    """Of training, serving and publishing."""
    today, labels = datetime.now(UTC).date(), workspace.labels(student)
    return tuple(
        reading
        for use in (Use.TRAIN, Use.SERVE, Use.PUBLISH)
        for reading in readings(labels, workspace.catalog, use, workspace.facts, today)
    )


def _on_publishing(workspace: Workspace, scores: Sequence[Artifact]) -> tuple[Verdict, ...]:
    """Whether other models' numbers may leave the house, by the terms under which each was measured, or judged."""
    labels = measured(frozenset().union(*map(workspace.labels, scores)))
    today = datetime.now(UTC).date()
    return may_put(labels, workspace.catalog, Use.PUBLISH_BENCHMARK, workspace.facts, today)


def _taught(part: Artifact, lineage: Lineage) -> summary.Taught:
    maker, counts = _asker(part, lineage), _asked(part, lineage)
    return summary.Taught(
        source=str(maker.predicate["asks"][0]["source"]) if maker else "",
        asked=counts["asked"],
        accepted=counts["accepted"],
        left=str(part.meta.get("left", "")),
    )


def _asker(part: Artifact, lineage: Lineage) -> Entry | None:
    """The statement of the step that asked for these records, whatever was left out of them since."""
    made = (part.digest, *lineage.upstream(part.digest, roles=("input",)))
    return next((maker for each in made if (maker := lineage.maker(each)) and maker.predicate["asks"]), None)


def _asked(part: Artifact, lineage: Lineage) -> Counter[str]:
    """What was counted then; records that were left out since count as rejected."""
    maker = _asker(part, lineage)
    counts, gone = _counts(maker), 0
    if maker and maker is not lineage.maker(part.digest):
        gone = counts["accepted"] - int(part.meta["records"])
    return counts + Counter({"accepted": -gone, "rejected:recalled": gone}) if gone else counts


def _counts(maker: Entry | None) -> Counter[str]:
    return Counter(maker.predicate["counts"] if maker else {})


def _by_reason(counts: Mapping[str, int], prefix: str) -> dict[str, int]:
    found = {name.removeprefix(prefix): n for name, n in counts.items() if name.startswith(prefix)}
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def _timings(entries: Iterable[Entry], made: Iterable[Artifact], lineage: Lineage) -> summary.Timings:
    """Seconds of all tries of the steps that led here; a try that was killed leaves no time behind."""
    digests = {artifact.digest for artifact in made}
    digests |= {above for digest in digests for above in lineage.upstream(digest)}
    makers = [maker for digest in digests if (maker := lineage.maker(digest))]
    fingerprints = {maker.predicate["fingerprint"] for maker in makers}
    spent: defaultdict[str, float] = defaultdict(float)
    for entry in entries:
        said = entry.predicate
        if said.get("fingerprint") in fingerprints and said["event"] in ("done", "paused", "failed"):
            spent[TIMED_AS.get(said["step"], "other")] += said["cost"]["seconds"]
    return summary.Timings(
        generate=spent["generate"],
        curate=spent["curate"],
        train=spent["train"],
        evaluate=spent["evaluate"],
        total=sum(spent.values()),
    )


def _done(scores: Artifact, lineage: Lineage) -> dict[str, Entry]:
    """By name, the statements that closed the steps which led to the scores; of several, the last."""
    digests = (scores.digest, *lineage.upstream(scores.digest))
    makers = sorted(filter(None, map(lineage.maker, digests)), key=lambda maker: maker.index)
    return {maker.predicate["step"]: maker for maker in makers}


def _obligations(maker: Entry | None) -> tuple[Obligation, ...]:
    verdicts = maker.predicate["verdicts"] if maker else []
    return tuple(sorted({Obligation(**duty) for verdict in verdicts for duty in verdict["obligations"]}))


def _samples(scores: Artifact) -> list[dict[str, Any]]:
    return [json.loads(line) for line in scores.path("samples.jsonl").read_bytes().splitlines()]


def _kinds(theirs: list[dict[str, Any]], ours: list[dict[str, Any]]) -> dict[str, dict[str, details.KindScore]]:
    tallies: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for before, after in zip(theirs, ours, strict=True):
        tally = tallies[before["set"], before["task"]["constraints"][0]["kind"]]
        for column, more in enumerate((not before["faults"], not after["faults"], 1)):
            tally[column] += more
    table: defaultdict[str, dict[str, details.KindScore]] = defaultdict(dict)
    for (name, kind), (teacher, student, n) in sorted(tallies.items()):
        table[name][kind] = details.KindScore(teacher=teacher / n, student=student / n, n=n)
    return dict(table)


def _curve(student: Artifact) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(student.path(learned.CURVE).read_bytes())
    return found


def _validation(curve: Mapping[str, Any]) -> details.Validation | None:
    before, after = curve["validation_loss_before"], curve["validation_loss_after"]
    return None if before is None or after is None else details.Validation(before=before, after=after)


def _side_by_side(theirs: list[dict[str, Any]], ours: list[dict[str, Any]]) -> Iterator[details.Sample]:
    """The first samples of each set, as they come: nobody picked them."""
    shown: Counter[str] = Counter()
    for before, after in zip(theirs, ours, strict=True):
        if shown[before["set"]] < SHOWN_PER_SET:
            shown[before["set"]] += 1
            task = before["task"]
            asks = [Constraint.from_json(constraint) for constraint in task["constraints"]]
            yield details.Sample(
                set=before["set"],
                prompt=task["prompt"],
                constraints=tuple(phrase(constraint, task["variant"]) for constraint in asks),
                teacher=_said(before),
                student=_said(after),
            )


def _said(sample: dict[str, Any]) -> details.Said:
    whole = sample["finish"] != "enough"
    return details.Said(text=sample["text"], faults=tuple(sample["faults"].values()), whole=whole)


def _graph(
    student: Artifact, scores: Artifact, lineage: Lineage
) -> tuple[tuple[details.Node, ...], tuple[details.Edge, ...]]:
    """Artifacts that led to the scores, and the sources that entered at each step."""
    digests = {scores.digest, *lineage.upstream(scores.digest), student.digest}
    nodes: dict[str, details.Node] = {}
    edges: list[details.Edge] = []
    for digest in sorted(digests, key=lambda each: maker.index if (maker := lineage.maker(each)) else -1):
        maker = lineage.maker(digest)
        if maker is None:
            continue
        said = maker.predicate
        kind = next(out["kind"] for out in said["outputs"] if out["digest"] == digest)
        nodes[digest] = details.Node(id=digest, label=f"{said['step']}\n{kind} {digest[:8]}", kind=kind)
        entered = [ask["source"] for ask in said["asks"]] + [brought["source"] for brought in said["brings"]]
        for source in entered:
            nodes.setdefault(source, details.Node(id=source, label=source, kind="source"))
            edges.append(details.Edge(start=source, end=digest))
        edges += [
            details.Edge(start=used["digest"], end=digest, against=used["role"] == "against") for used in said["inputs"]
        ]
    return tuple(nodes.values()), tuple(edges)


def _rulings(entries: Iterable[Entry]) -> tuple[details.Ruling, ...]:
    """Every verdict that a finished or refused step got, each once, with the steps it was given for."""
    steps: defaultdict[str, list[str]] = defaultdict(list)
    verdicts: dict[str, dict[str, Any]] = {}
    for entry in entries:
        if entry.predicate.get("event") in ("done", "refused"):
            for verdict in entry.predicate["verdicts"]:
                key = json.dumps(verdict, sort_keys=True)
                verdicts[key] = verdict
                if entry.predicate["step"] not in steps[key]:
                    steps[key].append(entry.predicate["step"])
    return tuple(details.Ruling.from_json(verdicts[key], steps=tuple(steps[key])) for key in verdicts)
