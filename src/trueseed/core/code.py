"""Which code is running: the version, and a digest over every file of the installed package."""

from functools import cache
from pathlib import Path

from trueseed.core.canonical import digest, file_digest

PACKAGE = Path(__file__).resolve().parent.parent


@cache
def code_digest() -> str:
    """SHA-256 over the names and digests of the package's files, so that an edited install is another code."""
    files = (path for path in sorted(PACKAGE.rglob("*")) if path.is_file() and path.suffix != ".pyc")
    return digest({path.relative_to(PACKAGE).as_posix(): file_digest(path) for path in files})
