"""Files in one zip whose bytes follow from its files alone: sorted, stored, without times.

Nothing is compressed, so nothing unpacks to more than was sent, and a reader that packs what it read anew must get the
same bytes: no second member of a name, no bytes between or behind members, no other spelling of a header.
"""

import io
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

from trueseed.errors import Broken, ConfigError

MOST_BYTES = 2 << 30
MOST_FILES = 100_000
_NAME = re.compile(r"[a-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*){0,7}")
_BEGINS = b"PK\x03\x04"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # a zip knows no earlier time


def pack(files: Mapping[str, bytes]) -> bytes:
    """The zip of these files, by name. Raises `ConfigError` for a name that `unpack` would refuse."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            if not _NAME.fullmatch(name):
                raise ConfigError(
                    f"a file is named {name!r}, which no proof holds; use letters, digits, `.`, `_` and `-`, or leave "
                    f"the texts out"
                )
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system, info.external_attr = 3, 0o100644 << 16
            archive.writestr(info, files[name])
    return out.getvalue()


def unpack(path: Path) -> dict[str, bytes]:
    """What `pack` packed. Raises `ConfigError` when it is no zip or cannot be read, `Broken` when `pack` did not make
    it, or it is too large.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise Broken(f"{path} is larger than {MOST_BYTES >> 30} GiB; no proof is")
        data = path.read_bytes()
    except OSError as err:
        raise ConfigError(f"{path} cannot be read: {err.strerror}") from err
    if not data.startswith(_BEGINS):
        raise ConfigError(f"{path} is not a zip; give the file that `trueseed proof` wrote")
    return unpacked(data, str(path))


def unpacked(data: bytes, name: str) -> dict[str, bytes]:
    """As `unpack`, of bytes. Raises `Broken`."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            _must_be_plain(members, len(data))
            files = {member.filename: archive.read(member) for member in members}
        if pack(files) != data:
            raise ValueError("its bytes are not those that its files are packed as")
    except (
        zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, OSError, OverflowError,
        struct.error, IndexError, KeyError,
    ) as err:  # fmt: skip
        raise Broken(f"{name} is damaged, or was packed by something else: {err}") from err
    return files


def _must_be_plain(members: list[zipfile.ZipInfo], size: int) -> None:
    """Looked at before anything is read. Raises `ValueError`."""
    if len(members) > MOST_FILES:
        raise ValueError(f"it has more than {MOST_FILES} files")
    names = [member.filename for member in members]
    if len(set(names)) != len(names):
        raise ValueError("two of its files have one name")
    for member in members:
        if not _NAME.fullmatch(member.filename):
            raise ValueError(f"it names a file {member.filename!r}")
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise ValueError(f"{member.filename!r} is compressed")
    if sum(member.file_size for member in members) > size:
        raise ValueError("its files are said to be larger than it is")
