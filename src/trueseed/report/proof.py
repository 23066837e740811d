"""A student's proof: what a third party needs to check where it came from, in one zip, without us or a network.

    manifest                    signed by the operator: what it is about, and every file with its SHA-256
    keys, checkpoint            of the ledger; succession, when a key was changed
    statements/<entry>.tlog-proof   each a C2SP tlog-proof with the statement inside
    terms/<digest>.json         the documents that the statements name
    outside/<size>/…            checkpoints that were cosigned or time-stamped, and that the log continues them
    artifacts/<kind>-<digest>.json  manifests
    artifacts/<kind>-<digest>/…      with `records` only: the files of records and datasets

The same ledger gives the same bytes. Statements hold digests and counts, never content; the texts of records are in it
only when asked for. Statements that have nothing to do with the student are left out, and the checkpoint says how many.
"""

from collections.abc import Iterable, Iterator, Sequence

from trueseed.core.artifacts import MANIFEST, Artifact, check
from trueseed.core.canonical import canonical, sha256
from trueseed.errors import Broken, ConfigError
from trueseed.ledger import outside
from trueseed.ledger.lineage import Lineage, Made, made_by
from trueseed.ledger.log import CHECKPOINT, KEYS, Entry, Ledger
from trueseed.ledger.packed import pack
from trueseed.ledger.proof import prove_consistency, prove_each
from trueseed.ledger.statement import SEAL, STEP
from trueseed.ledger.succession import SUCCESSION
from trueseed.ledger.trust import Trust
from trueseed.workspace import Workspace

HEADER = "trueseed.dev/proof@v1"
WITH_TEXTS = ("records", "dataset")


def make(workspace: Workspace, student: str | None = None, *, records: bool = False) -> tuple[Made, bytes]:
    """The student that is meant, and its proof. student: `kind:digest` or an unambiguous beginning; the newest if None.

    Raises `ConfigError` when there is no such student, the ledger is another user's, or a file is named as no proof can
    hold it; `Broken` when a document, or an artifact whose texts were asked for, is not what the ledger says, or a
    statement is malformed.
    """
    ledger = workspace.ledger
    ledger.refresh()
    entries = list(ledger.entries())
    lineage = Lineage.read(entries)
    try:
        subject = _student(lineage, student)
        chosen = list(concerning(entries, lineage, subject.digest))
        named = sorted({made for entry in chosen for made in _named(entry)})
        documents = {digest for entry in chosen for digest in terms_named(entry)}
    except (KeyError, TypeError, AttributeError) as err:
        raise Broken(f"a statement in {ledger.folder} is malformed ({err!r}); `trueseed verify` names it") from err
    files = {KEYS: (ledger.folder / KEYS).read_bytes(), CHECKPOINT: ledger.checkpoint().encode()}
    if ledger.keys.changes:
        files[SUCCESSION] = ledger.keys.to_bytes()
    for entry, proof in zip(chosen, prove_each(ledger, chosen), strict=True):
        files[f"statements/{entry.index:08d}.tlog-proof"] = proof.encode()
    files |= _outside(ledger)
    files |= _terms(workspace, documents)
    for made in named:
        files |= _artifact(workspace, made, texts=records and made.kind in WITH_TEXTS)
    files["manifest"] = _manifest(ledger, subject, files).encode()
    return subject, pack(files)


def concerning(entries: Sequence[Entry], lineage: Lineage, student: str) -> Iterator[Entry]:
    """Statements that made the student, or did something with it, with all that led to these; and every statement of
    another kind than a step, except seals of other runs.
    """
    runs = _runs(entries, lineage, student)
    for entry in entries:
        said = entry.predicate
        if entry.predicate_type == STEP and (said["run"], said["step"]) not in runs:
            continue
        if entry.predicate_type == SEAL and (said.get("run"), said.get("step")) not in runs:
            continue
        yield entry


def _runs(entries: Iterable[Entry], lineage: Lineage, student: str) -> set[tuple[str, str]]:
    steps = [entry.predicate for entry in entries if entry.predicate_type == STEP]
    wanted = {student, *lineage.upstream(student)}
    for said in steps:
        read = [used.digest for used in made_by(said, "inputs")]
        if student in read:
            wanted |= {digest for each in read for digest in (each, *lineage.upstream(each))}
    return {
        (said["run"], said["step"])
        for said in steps
        if wanted & {made.digest for made in made_by(said, "outputs")}
        or student in {used.digest for used in made_by(said, "inputs")}
    }


def _student(lineage: Lineage, reference: str | None) -> Made:
    students = [made for made in lineage.artifacts() if made.kind == "weights" and _was_trained(made, lineage)]
    if reference is None:
        if not students:
            raise ConfigError("no student was trained in this workspace yet; name an artifact as `kind:digest`")
        return students[-1]
    kind, _, prefix = reference.rpartition(":")
    found = [made for made in lineage.artifacts() if made.digest.startswith(prefix) and kind in ("", made.kind)]
    if len(prefix) < 6 or len(found) != 1:
        raise ConfigError(f"{reference!r} names {len(found)} artifacts of the ledger; give `kind:digest` in full")
    return found[0]


def _was_trained(made: Made, lineage: Lineage) -> bool:
    maker = lineage.maker(made.digest)
    return maker is not None and maker.predicate.get("effect") == "train"


def _named(entry: Entry) -> tuple[Made, ...]:
    return (
        (*made_by(entry.predicate, "inputs"), *made_by(entry.predicate, "outputs"))
        if entry.predicate_type == STEP
        else ()
    )


def _outside(ledger: Ledger) -> dict[str, bytes]:
    files = outside.files(ledger.folder)
    for each in list(outside.seen(files, ledger.keys, Trust())):
        beside = {name for name in files if name.startswith(f"{each.place}/")}
        if len(beside) > 1:
            files[f"{each.place}/consistency"] = prove_consistency(ledger, each.note).encode()
        else:  # nobody answered yet
            del files[f"{each.place}/checkpoint"]
    return files


def _terms(workspace: Workspace, digests: Iterable[str]) -> dict[str, bytes]:
    """The documents that labels and steps name."""
    files = {}
    for digest in sorted(digests):
        document = workspace.catalog.by_digest(digest)
        if document is None:
            raise Broken(f"the terms document {digest} that the ledger names is not kept; restore ledger/terms")
        files[f"terms/{digest}.json"] = canonical(document.to_json())
    return files


def terms_named(entry: Entry) -> set[str]:
    """Digests of the terms documents that a step statement names."""
    if entry.predicate_type != STEP:
        return set()
    said = entry.predicate
    return {digest for digest in (*said.get("terms", {}).values(), *(at["terms"] for at in said["labels"])) if digest}


def _artifact(workspace: Workspace, made: Made, *, texts: bool) -> dict[str, bytes]:
    """Its manifest, and its files when they were asked for; nothing of an artifact that is not here any more."""
    place = f"artifacts/{made.kind}-{made.digest}"
    folder = workspace.store.folder / made.kind / made.digest
    if not (folder / MANIFEST).exists():
        if texts:
            raise Broken(f"{made.kind}:{made.digest[:12]} is not in the store, and its texts were asked for")
        return {}
    files = {f"{place}.json": (folder / MANIFEST).read_bytes()}
    if texts:
        check(Artifact(made.kind, made.digest, folder, {}))  # type: ignore[arg-type]
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name != MANIFEST:
                files[f"{place}/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
    return files


def _manifest(ledger: Ledger, subject: Made, files: dict[str, bytes]) -> str:
    """Lines that `sha256sum --check` reads, under three that say what they are, signed."""
    lines = [HEADER, ledger.origin, f"{subject.kind}:{subject.digest}"]
    lines += [f"{sha256(files[name])}  {name}" for name in sorted(files)]
    return ledger.note("\n".join(lines) + "\n")
