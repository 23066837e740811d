"""Is this the text that was read? A file that somebody has, against the digests of the texts behind the documents.

Bytes decide. Where they do not agree, the changes that saving and copying make (line ends, a byte order mark, blanks at
the ends of lines, the last line's end, composed letters) are tried, and those that were needed are said.
"""

import hashlib
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from trueseed.errors import ConfigError
from trueseed.terms.catalog import Catalog
from trueseed.terms.model import Document

MOST_BYTES = 16_000_000
_CHANGES: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("without its byte order mark", lambda text: text.removeprefix("\ufeff")),
    ("with line ends as on Unix", lambda text: text.replace("\r\n", "\n").replace("\r", "\n")),
    ("without blanks at the ends of lines", lambda text: "\n".join(line.rstrip(" \t") for line in text.split("\n"))),
    ("with composed letters (NFC)", lambda text: unicodedata.normalize("NFC", text)),
    ("without line ends at its end", lambda text: text.rstrip("\r\n")),
    ("with one line end at its end", lambda text: text.rstrip("\r\n") + "\n"),
    ("with line ends as on Windows", lambda text: text.replace("\r\n", "\n").replace("\n", "\r\n")),
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """documents: whose text it is. changes: that had to be made before it was. untried: why none were."""

    file: str
    sha256: str
    documents: tuple[str, ...]
    changes: tuple[str, ...] = ()
    untried: str = ""
    expected: tuple[Document, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "sha256": self.sha256,
            "known": bool(self.documents),
            "documents": list(self.documents),
            "changes": list(self.changes),
            "untried": self.untried,
            "expected": {document.id: document.text_sha256 for document in self.expected},
        }


def compare(path: Path, catalog: Catalog, identity: str | None = None) -> Comparison:
    """Whose text the file is; of the document `identity` alone, when one is named.

    Raises `ConfigError` when the file cannot be read, or no digest of that document's text is known.
    """
    wanted = (catalog.document(identity),) if identity else ()
    if wanted and wanted[0].text_sha256 == "unknown":
        raise ConfigError(
            f"no digest is known of the text of {identity!r} ({wanted[0].where_read}); nothing to compare"
        )
    known: dict[str, list[str]] = {}
    for document in wanted or catalog.documents:
        if document.text_sha256 != "unknown":
            known.setdefault(document.text_sha256, []).append(document.id)
    digest, content, untried = _read(path)
    if digest in known:
        return Comparison(str(path), digest, tuple(known[digest]), expected=wanted)
    if content is not None:
        for number in range(1, 5):
            for chosen in combinations(_CHANGES, number):
                found = known.get(_after(content, [change for _, change in chosen]))
                if found:
                    return Comparison(str(path), digest, tuple(found), tuple(name for name, _ in chosen), "", wanted)
    return Comparison(str(path), digest, (), (), untried, wanted)


def told(found: Comparison) -> list[str]:
    """For people."""
    head = f"{found.file}: sha256 {found.sha256}"
    if found.documents:
        how = f", {', '.join(found.changes)}" if found.changes else ", byte for byte"
        return [head, f"  the text that was read for {', '.join(found.documents)}{how}"]
    if found.expected:
        [document] = found.expected
        what = (
            f"not the text that was read for {document.id} (sha256 {document.text_sha256}): it changed, or is another"
        )
    else:
        what = "none of the texts that were read: it changed, or is another"
    ways = found.untried or f"as it is, and {', '.join(name for name, _ in _CHANGES)}"
    return [head, f"  {what}", f"  compared: {ways}", "  to use it: read it, and add what it says as a document"]


def _read(path: Path) -> tuple[str, str | None, str]:
    """Digest, text if there is any to normalise, and why not."""
    if not path.is_file():
        raise ConfigError(f"{path}: not a file that can be read")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            content = file.read(MOST_BYTES + 1)
    except OSError as err:
        raise ConfigError(f"{path}: cannot be read: {err}") from err
    if len(content) > MOST_BYTES:
        return digest, None, f"byte for byte alone, being larger than {MOST_BYTES} bytes"
    try:
        return digest, content.decode("utf-8"), ""
    except UnicodeDecodeError:
        return digest, None, "byte for byte alone, not being UTF-8 text"


def _after(text: str, changes: Sequence[Callable[[str], str]]) -> str:
    for change in changes:
        text = change(text)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
