"""Documents that a signed statement names: kept in the workspace, `evidence/<sha256>.<ending>`, byte for byte.

The statement has a document's name and digest, never its words; whoever is shown the file hashes it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trueseed.core.canonical import file_digest, sha256
from trueseed.core.durable import write_atomic
from trueseed.errors import ConfigError

EVIDENCE = "evidence"  # folder in a workspace
_LONGEST_ENDING = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """name: of the file as it was given, without its folders. sha256: of its bytes."""

    name: str
    sha256: str

    def to_json(self) -> dict[str, str]:
        return {"name": self.name, "sha256": self.sha256}

    @classmethod
    def parse(cls, said: Mapping[str, Any]) -> "Document":
        """Raises `KeyError`, `TypeError` for what is none."""
        if not isinstance(said["name"], str) or not isinstance(said["sha256"], str):
            raise TypeError("a document has a name and a sha256")
        return cls(name=said["name"], sha256=said["sha256"])

    def kept_in(self, folder: Path) -> Path:
        """Where it lies in the workspace `folder`."""
        ending = Path(self.name).suffix.lower()
        plain = ending[1:].isascii() and ending[1:].isalnum() and len(ending) <= _LONGEST_ENDING
        return folder / EVIDENCE / f"{self.sha256}{ending if plain else '.txt'}"


def keep(folder: Path, files: Iterable[Path]) -> tuple[Document, ...]:
    """Copies files into the workspace `folder`. Raises `ConfigError` when one cannot be read, or is empty."""
    return tuple([_keep(folder, file) for file in files])


def faults(folder: Path, documents: Iterable[Document]) -> Iterable[str]:
    """Which of them are not what they were, a sentence each."""
    for document in documents:
        place = document.kept_in(folder)
        if not place.exists():
            yield f"document {document.name!r} ({document.sha256[:12]}) is missing in {place.parent}"
        elif file_digest(place) != document.sha256:
            yield f"document {place} was changed"


def _keep(folder: Path, file: Path) -> Document:
    try:
        held = file.read_bytes()
    except OSError as err:
        raise ConfigError(f"the document {file} cannot be read ({err.strerror}); give a file that holds it") from err
    if not held:
        raise ConfigError(f"{file} is empty; give the document that shows it")
    document = Document(name=file.name, sha256=sha256(held))
    write_atomic(document.kept_in(folder), held, mode=0o600)
    return document
