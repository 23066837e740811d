"""Content-addressed artifacts: what steps read and write.

    store/<kind>/<digest>/manifest.json     {"kind", "files": [{"path", "sha256", "size"}], "meta"}
    store/<kind>/<digest>/<files…>

The digest of an artifact is the SHA-256 of its canonical manifest, so it covers every byte of every file. An artifact
appears in one rename and is never changed.
"""

import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from trueseed.core.canonical import canonical, digest, file_digest
from trueseed.core.durable import folder_atomic, sync_folder
from trueseed.errors import Broken, ConfigError

Kind = Literal["prompts", "records", "dataset", "signals", "tokenizer", "weights", "scores", "report"]
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Artifact:
    """A kind, a digest, and the folder that holds the files. `meta` is what the manifest says beside the files."""

    kind: Kind
    digest: str
    folder: Path
    meta: Mapping[str, Any]

    def path(self, name: str) -> Path:
        return self.folder / name

    def __str__(self) -> str:
        return f"{self.kind}:{self.digest[:12]}"


class Store:
    """A folder of artifacts. One writer per artifact; readers need no lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def staged(self, kind: Kind) -> Iterator[Path]:
        """An empty folder to fill and hand to `put`; removed at the end whatever happens."""
        (self.folder / kind).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder / kind, prefix=".staged.") as folder:
            yield Path(folder)

    def put(self, kind: Kind, source: Path, meta: Mapping[str, Any]) -> Artifact:
        """Moves the files of folder `source` (hard links are kept) into the store, hashed.

        Raises `ValueError` when one of them is named as the store names its manifest.
        """
        if (source / MANIFEST).exists():
            raise ValueError(f"{source / MANIFEST} would be overwritten by the artifact's own manifest")
        files = [
            {"path": path.relative_to(source).as_posix(), "sha256": file_digest(path), "size": path.stat().st_size}
            for path in sorted(source.rglob("*"))
            if path.is_file()
        ]
        manifest = {"kind": kind, "files": files, "meta": dict(meta)}
        final = self.folder / kind / digest(manifest)
        if not final.exists():
            with folder_atomic(final) as folder:
                for file in files:
                    target = folder / str(file["path"])
                    target.parent.mkdir(parents=True, exist_ok=True)
                    (source / str(file["path"])).replace(target)
                (folder / MANIFEST).write_bytes(canonical(manifest))
        return Artifact(kind, final.name, final, meta)

    def adopt(self, artifact: Artifact, staging: "Store") -> bool:
        """Moves an artifact here from another store on the same disk; False when it was here already."""
        final = self.folder / artifact.kind / artifact.digest
        if final.exists():
            return False
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            (staging.folder / artifact.kind / artifact.digest).replace(final)
        except OSError:
            if not final.exists():  # else another process was first, between our look and our rename
                raise
            return False
        sync_folder(final.parent)
        return True

    def get(self, reference: str) -> Artifact:
        """The artifact with this digest, or `kind:digest`, or an unambiguous beginning of at least 6 characters.

        Raises `ConfigError` when there is none or more than one.
        """
        kind, _, prefix = reference.rpartition(":")
        found = [
            path
            for path in self.folder.glob("*/*")
            if path.is_dir() and path.name.startswith(prefix) and kind in ("", path.parent.name)
        ]
        if not re.fullmatch("[0-9a-f]{6,64}", prefix) or len(found) != 1:
            many = len(found) if len(prefix) >= 6 and found else "no"
            raise ConfigError(
                f"{reference!r} names {many} artifacts in {self.folder}; give `kind:digest` as a run prints it (6 "
                f"characters or more of the digest); `trueseed why student train` names what the student is made of"
            )
        return self._load(found[0])

    def all(self) -> Iterator[Artifact]:
        for path in sorted(self.folder.glob("*/*")):
            if path.is_dir() and not path.name.startswith("."):
                yield self._load(path)

    def _load(self, folder: Path) -> Artifact:
        try:
            manifest = json.loads((folder / MANIFEST).read_bytes())
            kind, meta = manifest["kind"], manifest["meta"]
        except (OSError, ValueError, KeyError, TypeError) as err:
            raise Broken(f"the manifest of artifact {folder} cannot be read ({err}); restore it, or rebuild") from err
        if kind not in get_args(Kind):
            raise Broken(f"artifact {folder} is of unknown kind {kind!r}")
        return Artifact(kind, folder.name, folder, meta)


def each_once(artifacts: Iterable[Artifact]) -> list[Artifact]:
    """In their order, without those that came before."""
    return list({(each.kind, each.digest): each for each in artifacts}.values())


def check(artifact: Artifact) -> None:
    """Re-reads every byte. Raises `Broken` naming the first file that differs, is missing or is extra."""
    try:
        manifest = json.loads(artifact.path(MANIFEST).read_bytes())
        actual = digest(manifest)
        listed = {str(file["path"]): str(file["sha256"]) for file in manifest["files"]}
        kind = str(manifest["kind"])
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise Broken(f"{artifact}: the manifest cannot be read ({err})") from err
    if actual != artifact.digest or artifact.path(MANIFEST).read_bytes() != canonical(manifest):
        raise Broken(f"{artifact}: the manifest was changed; it hashes to {actual}, not {artifact.digest}")
    if kind != artifact.kind:
        raise Broken(f"{artifact}: it was made as {kind}, and moved")
    present = {
        path.relative_to(artifact.folder).as_posix() for path in artifact.folder.rglob("*") if path.is_file()
    } - {MANIFEST}
    for path in sorted(present ^ set(listed)):
        raise Broken(f"{artifact}: file {path!r} is {'extra' if path in present else 'missing'} in {artifact.folder}")
    for path, expected in listed.items():
        try:
            found = file_digest(artifact.path(path))
        except OSError as err:
            raise Broken(f"{artifact}: file {path!r} cannot be read ({err.strerror})") from err
        if found != expected:
            raise Broken(f"{artifact}: file {path!r} was changed; it hashes to {found}, not {expected}")
