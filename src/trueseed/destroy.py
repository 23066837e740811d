"""Destroying what a licence demands, or what a person asks to have erased: apart from recalls, and not undone.

    found = look(workspace, Wanted(targets=("openai/gpt-4@api", "weights:3f2a…")))
    destroy(workspace, found, Because(why="the licence ended", evidence=Path("letter.pdf")))

A signed tombstone with the digests is written first, by the reviewer; then the bytes go. A kill in between leaves a
statement that the same command makes true. Refused while a case or a hold touches anything of it: asked when looking,
and again under the ledger's lock. See ADR 9, also for why one record is erased with the artifacts that hold it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from trueseed.core.canonical import now
from trueseed.core.durable import sync_folder
from trueseed.errors import ConfigError, Refused
from trueseed.evidence import keep
from trueseed.ledger.destroyed import Destroyed
from trueseed.ledger.lineage import Lineage, Made, labels_of
from trueseed.ledger.log import Ledger
from trueseed.ledger.sources import Runs
from trueseed.ledger.statement import DESTRUCTION, STEP, subject
from trueseed.retained import remove
from trueseed.teachers.account.holds import Holds
from trueseed.teachers.account.state import Account, our_entity
from trueseed.teachers.answers.cache import CACHE, seal_the_dead
from trueseed.terms.ending import of_artifact
from trueseed.terms.model import Label, Relation
from trueseed.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Because:
    """why: goes into the ledger. evidence: the file that demands it (the licence's end, the person's request)."""

    why: str
    evidence: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Doomed:
    """What would be destroyed. answers: runs, whose files in the cache. steps: folders of steps that are not done, and
    what was put aside. sources: of all of it. beyond: what was made from it and stays. forbidden: why not, or ''.
    """

    artifacts: tuple[Made, ...]
    answers: tuple[str, ...]
    steps: tuple[Path, ...]
    sources: tuple[str, ...]
    beyond: tuple[Made, ...]
    forbidden: str

    def to_json(self) -> dict[str, Any]:
        return {
            "artifacts": [_named(made) for made in self.artifacts],
            "answers": list(self.answers),
            "steps": [path.name for path in self.steps],
            "sources": list(self.sources),
            "beyond": [_named(made) for made in self.beyond],
            "forbidden": self.forbidden,
        }


def settle(workspace: Workspace) -> None:
    """Seals answers that killed processes left, so that the ledger knows whose they are before they go."""
    seal_the_dead(workspace.ledger, workspace.folder / CACHE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """targets: sources (all that carries a label of them, with their answers and what unfinished steps hold), artifacts
    (`kind:digest`), or `answers:RUN` (a file of the cache). descendants: also what was made from it. by_licence: of
    the sources only the artifacts that must go when their licence ends.
    """

    targets: tuple[str, ...]
    descendants: bool = False
    by_licence: bool = False


def look(workspace: Workspace, wanted: Wanted) -> Doomed:
    """What destroying would take. Raises `ConfigError` for a target that names nothing here."""
    lineage, runs = Lineage.read(workspace.ledger), Runs.read(workspace.ledger).sources()
    sources = {each for each in wanted.targets if "/" in each}
    chosen = set(_artifacts(workspace, lineage, [each for each in wanted.targets if "/" not in each]))
    chosen |= set(_of_sources(workspace, lineage, sources, by_licence=wanted.by_licence))
    whole = set() if wanted.by_licence else sources
    answers = {each.partition(":")[2] for each in wanted.targets if each.startswith("answers:")}
    if unknown := sorted(answers - runs.keys()):
        raise ConfigError(f"the ledger knows no answers of run {unknown[0]!r}; `trueseed cache show` says what is here")
    answers |= {run for run, asked in runs.items() if whole & asked and _file(workspace, run).exists()}
    below = {digest for each in chosen for digest in lineage.downstream(each)} - chosen
    if wanted.descendants:
        chosen, below = chosen | below, set()
    made = [each for each in lineage.artifacts() if each.digest in chosen]
    if not made and not answers:
        which = " that must go by its licence" if wanted.by_licence else ""
        raise ConfigError(
            f"nothing here comes from {', '.join(wanted.targets)}{which}; `trueseed recall --dry-run` tells"
        )
    touched = {label[0] for each in made for label in lineage.labels(each.digest)}
    touched |= {source for run in answers for source in runs[run]}
    gone = Destroyed.read(workspace.ledger).artifacts
    found = Doomed(
        artifacts=tuple(made),
        answers=tuple(sorted(answers)),
        steps=tuple(_unfinished(workspace, whole, {each.digest for each in made})),
        sources=tuple(sorted(touched)),
        beyond=tuple(each for each in lineage.artifacts() if each.digest in below and each.digest not in gone),
        forbidden="",
    )
    return replace(found, forbidden=_forbidden(workspace, found))


def destroy(workspace: Workspace, doomed: Doomed, because: Because) -> Doomed:
    """Writes the tombstone, then deletes. What has one already is only deleted.

    Raises `Refused` when a case or hold forbids it, `ConfigError` when a step that uses it is running, the evidence
    cannot be read or the reviewer's key is not here; then nothing is deleted.
    """

    def permitted(_: Ledger) -> None:
        if forbidden := _forbidden(workspace, doomed):
            raise Refused(f"nothing is destroyed: {forbidden}. `trueseed case list` and the reviewer know more")

    permitted(workspace.ledger)
    gone = Destroyed.read(workspace.ledger)
    artifacts = [each for each in doomed.artifacts if each.digest not in gone.artifacts]
    answers = [run for run in doomed.answers if run not in gone.answers]
    locks = _locked(workspace, doomed)
    try:
        if artifacts or answers:
            documents = keep(workspace.folder, [because.evidence])
            about = [subject(each.kind, each.digest) for each in artifacts] or [
                subject("evidence", documents[0].sha256)
            ]
            said = {
                "artifacts": [{"kind": each.kind, "digest": each.digest} for each in artifacts],
                "answers": answers,
                "why": because.why,
                "evidence": [each.to_json() for each in documents],
                "at": now(),
            }
            workspace.ledger.append(DESTRUCTION, about, said, role="reviewer", unless=permitted)
        _delete(workspace, doomed)
    finally:
        for lock in locks:
            lock.release()
    return doomed


def _forbidden(workspace: Workspace, doomed: Doomed) -> str:
    """Asks the ledger, the user's state and the account that all workspaces share."""
    if because := workspace.retained.must_stay(doomed.sources):
        return because
    holds = Holds(Account.open(), our_entity())
    makers = sorted({source.partition("/")[0] for source in doomed.sources} - {"own"})
    return next((str(hold) for maker in makers if (hold := holds.on(maker))), "")


def _of_sources(workspace: Workspace, lineage: Lineage, sources: Iterable[str], *, by_licence: bool) -> Iterator[str]:
    """Digests of what carries a label of these sources, or only of what must go when their licence ends."""
    kinds = {made.digest: made.kind for made in lineage.artifacts()}
    for source in sources:
        for each in lineage.artifacts_of(source):
            named = [Label(source=s, relation=Relation(r), terms=t) for s, r, t in lineage.labels(each) if s == source]
            if not by_licence or of_artifact(named, kinds[each], workspace.catalog).outcome == "must go":
                yield each


def _artifacts(workspace: Workspace, lineage: Lineage, targets: Iterable[str]) -> Iterator[str]:
    known = lineage.artifacts()
    for target in targets:
        kind, _, prefix = target.rpartition(":")
        if kind == "answers":
            continue
        found = [made for made in known if kind in ("", made.kind) and made.digest.startswith(prefix)]
        if len(prefix) < 6 or len(found) != 1:
            raise ConfigError(
                f"{target!r} names {len(found)} artifacts of the ledger in {str(workspace.folder)!r}; give "
                f"`kind:digest` with at least 6 characters, a source as maker/model@route, or answers:RUN"
            )
        yield found[0].digest


def _unfinished(workspace: Workspace, sources: set[str], digests: set[str]) -> Iterator[Path]:
    """Folders of steps that are not done and carry one of the sources or read one of the artifacts, and what was put
    aside of these sources.
    """
    for entry in workspace.ledger.entries():
        if entry.predicate_type != STEP or entry.predicate.get("event") != "opened":
            continue
        folder = workspace.folder / "steps" / str(entry.predicate["fingerprint"])[:16]
        named = {label[0] for label in labels_of(entry.predicate)}
        read = {each["digest"] for each in entry.predicate["inputs"]}
        if folder.is_dir() and (named & sources or read & digests):
            yield folder
    for place, asked in workspace.retained.all():
        if asked & sources:
            yield place


def _locked(workspace: Workspace, doomed: Doomed) -> list[FileLock]:
    """The locks of the steps whose folders go, and of cache files that may be written still."""
    paths = [path.parent / f"{path.name}.lock" for path in doomed.steps if path.parent.name == "steps"]
    paths += [path for run in doomed.answers if (path := _file(workspace, run).with_suffix(".lock")).exists()]
    held: list[FileLock] = []
    for path in dict.fromkeys(paths):
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout as err:
            for each in held:
                each.release()
            raise ConfigError(
                f"a step that uses it is running ({path.name}); stop it, and give the command again"
            ) from err
        held.append(lock)
    return held


def _delete(workspace: Workspace, doomed: Doomed) -> None:
    """Files first out of sight (their folder is synced), whatever is gone already."""
    places = [workspace.store.folder / each.kind / each.digest for each in doomed.artifacts]
    places += [_file(workspace, run) for run in doomed.answers]
    places += doomed.steps
    for place in dict.fromkeys(places):
        if place.exists():
            remove(place)
            sync_folder(place.parent)
    if left := [place for place in places if place.exists()]:
        raise ConfigError(f"{left[0]} could not be deleted; free it, and give the same command again")


def _file(workspace: Workspace, run: str) -> Path:
    return workspace.folder / CACHE / f"{run}.jsonl"


def _named(made: Made) -> str:
    return f"{made.kind}:{made.digest}"
