"""What the terms of a student's sources demand to go along with it: its name, texts, notices, marks.

A text is only ever passed on as it was read: a file whose SHA-256 is the one that its document states, found among the
licence files of weights in the store, in the workspace's folder `terms/`, or given. Where none is at hand the export is
refused with what to provide.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from trueseed.core.canonical import file_digest
from trueseed.errors import Refused
from trueseed.lm.source import LICENCE_FILES, matching
from trueseed.papers.dossier import Dossier
from trueseed.terms.model import Document, Obligation
from trueseed.terms.obligations import solve, union
from trueseed.workspace import Workspace

TERMS, NOTICE, TEXTS = "TERMS.md", "Notice", "terms"
PASSED_ON = ("pass-on-terms", "pass-on-restrictions")


def write(dossier: Dossier, workspace: Workspace, given: Sequence[Path], folder: Path) -> None:
    """Fills `folder`. Raises `Refused` when a name or a text does not meet what is owed."""
    duties = union([dossier.obligations])
    met = solve(duties, dossier.name)
    texts = _texts(duties, workspace, given)
    for document, text in texts.items():
        (folder / TEXTS).mkdir(exist_ok=True)
        (folder / TEXTS / f"{document}{text.suffix or '.txt'}").write_bytes(text.read_bytes())
    if met.notice:
        _notice(met.notice, folder)
    names = {document: f"{TEXTS}/{document}{text.suffix or '.txt'}" for document, text in texts.items()}
    (folder / TERMS).write_text(_told(dossier, duties, names), encoding="utf-8")


def _texts(duties: Iterable[Obligation], workspace: Workspace, given: Sequence[Path]) -> dict[str, Path]:
    """By id, the text of each document that must be passed on."""
    owed = {duty.value or duty.document: duty for duty in duties if duty.kind in PASSED_ON}
    if not owed:
        return {}
    known: dict[str, Path] = {}
    for path in _at_hand(workspace, given):
        known.setdefault(file_digest(path), path)
    found = {}
    for identity, duty in sorted(owed.items()):
        document = workspace.catalog.document(identity)
        if document.text_sha256 not in known:
            raise Refused(_missing(document, duty))
        found[identity] = known[document.text_sha256]
    return found


def _at_hand(workspace: Workspace, given: Sequence[Path]) -> list[Path]:
    kept = [p for p in sorted((workspace.folder / "terms").rglob("*")) if p.is_file() and p.suffix != ".toml"]
    weights = [p for a in workspace.store.all() if a.kind == "weights" for p in matching(a.folder, LICENCE_FILES)]
    return [*given, *kept, *weights]


def _missing(document: Document, duty: Obligation) -> str:
    wanted = f"{document.document} must go along with the student ({duty.document}, clause {duty.clause}: {duty.text})"
    if document.text_sha256 == "unknown":
        return (
            f"{wanted}, but the digest of its text is not known, so no file can be told to be it; read it at "
            f"{document.url or document.provider} and add it to the workspace's terms folder with its text_sha256"
        )
    return (
        f"{wanted}, and its text is not at hand; give the file with --text FILE: its SHA-256 must be "
        f"{document.text_sha256} (read in {document.where_read}; published at {document.url or 'an address not known'})"
    )


def _notice(sentences: Sequence[str], folder: Path) -> None:
    """What the weights came with stays: on many disks `NOTICE` and `Notice` are one file."""
    came = [path for path in folder.iterdir() if path.name.casefold() == NOTICE.casefold()]
    before = [path.read_text(encoding="utf-8").rstrip() + "\n" for path in came]
    for path in came:
        path.unlink()
    (folder / NOTICE).write_text("\n".join([*before, *(f"{each}\n" for each in sentences)]), encoding="utf-8")


def _told(dossier: Dossier, duties: Sequence[Obligation], texts: Mapping[str, str]) -> str:
    lines = [
        f"# Terms that go along with {dossier.name}",
        "",
        "What the terms of its sources ask of whoever receives, changes or passes on this model, as they were read for "
        "its ledger. The texts themselves decide; those in `terms/` are as they were read.",
        "",
    ]
    restrictions = [duty for duty in duties if duty.kind == "pass-on-restrictions"]
    if restrictions:
        lines += ["## Restrictions that bind you too", ""]
        lines += ["Whoever receives this model receives it under these, and passes them on with it:", ""]
        lines += [f"- {_of(duty)}: {duty.text}. The text: [{texts[duty.document]}]({texts[duty.document]})"
                  for duty in restrictions]  # fmt: skip
        lines += [""]
    for duty in duties:
        if duty.kind == "display" and duty.value:
            lines += [f"**{duty.value}**", ""]
    lines += ["## Everything that is owed", ""]
    lines += [f"- {duty.kind}: {duty.text} ({_of(duty)})" for duty in duties] or ["Nothing is owed."]
    if texts:
        lines += ["", "## Texts", ""] + [f"- [{identity}]({name})" for identity, name in sorted(texts.items())]
    if any(duty.kind == "mark-changes" for duty in duties):
        lines += ["", "## Changes", ""]
        came = ", ".join(dossier.base) or "any source"
        lines.append(f"The weights were changed by training in the project {dossier.project!r}: the safetensors files")
        lines.append(f"here are not those of {came}, and say so in their metadata.")
    return "\n".join(lines) + "\n"


def _of(duty: Obligation) -> str:
    return f"{duty.document}, clause {duty.clause}"
