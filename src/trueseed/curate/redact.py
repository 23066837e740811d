"""Personal data is replaced by pseudonyms, and who it came from stays known: every label, and each record's parent.

    <EMAIL_ADDRESS_5b1c20fe9d>      HMAC-SHA256 of type and value, under a key that stays in the user's state folder

Found by the pattern recognisers of Presidio, many of which check sums too; names of people are not looked for. The same
value gets the same pseudonym everywhere. Where what is taken out names a model or its maker, the pseudonym says so:
that is no personal data, and only a declared identity filter removes it.
"""

import hmac
import logging
import os
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from trueseed.checks.whose import makers
from trueseed.core.artifacts import Artifact
from trueseed.core.chat import Message
from trueseed.core.durable import state_folder
from trueseed.core.records import PARTS, Record, read_parquet, record_root, write_parquet
from trueseed.core.settings import Settings
from trueseed.errors import ConfigError

if TYPE_CHECKING:
    from trueseed.workspace import Step

KEY = "redaction.key"
RECOGNISERS = {
    "EMAIL_ADDRESS": "EmailRecognizer",
    "PHONE_NUMBER": "PhoneRecognizer",
    "CREDIT_CARD": "CreditCardRecognizer",
    "IBAN_CODE": "IbanRecognizer",
    "IP_ADDRESS": "IpRecognizer",
    "CRYPTO": "CryptoRecognizer",
    "US_SSN": "UsSsnRecognizer",
    "URL": "UrlRecognizer",
}


class Config(Settings):
    """types: as Presidio names them. score: of its confidence, from which on something is replaced."""

    types: list[str] = Field(default=[name for name in RECOGNISERS if name != "URL"], min_length=1)
    score: float = Field(default=0.4, ge=0, le=1)


class Redactor:
    """Raises `ConfigError` for a type that is none, or when Presidio is not installed."""

    def __init__(self, config: Config) -> None:
        self._config, self._key = config, _key(state_folder() / KEY)
        self._recognisers = _recognisers(config.types)
        self.counts: Counter[str] = Counter()

    def text(self, text: str) -> str:
        """Raises `ConfigError` when a pattern took too long: what was not looked through is not let through."""
        found: list[Any] = []
        for name, recogniser in self._recognisers.items():
            found += recogniser.analyze(text, [name], None)
        taken: list[Any] = []
        for each in sorted(found, key=lambda each: (-each.score, each.start - each.end, each.start)):
            clear = all(each.end <= other.start or other.end <= each.start for other in taken)
            if each.score >= self._config.score and clear:
                taken.append(each)
        for each in sorted(taken, key=lambda each: -each.start):
            text = (
                text[: each.start] + self._pseudonym(each.entity_type, text[each.start : each.end]) + text[each.end :]
            )
            self.counts[each.entity_type] += 1
        return text

    def records(self, records: Sequence[Record], step: "Step") -> list[Record]:
        """Those in which something was found are new ones, made of the old; counted by type in the step."""
        before, made = Counter(self.counts), [self._record(record, step) for record in records]
        for name, n in sorted((self.counts - before).items()):
            step.count(f"redacted:{name}", n)
        return made

    def _record(self, record: Record, step: "Step") -> Record:
        messages = tuple(Message(each.role, self.text(each.content)) for each in record.messages)
        task = {name: self._within(value) for name, value in record.task.items()}
        if messages == record.messages and task == record.task:
            return record
        return replace(record, messages=messages, task=task, origin=step.handed_on(record.origin, record.id))

    def _within(self, value: Any) -> Any:
        """Texts of a task repeat those of the messages and are not counted again."""
        if not isinstance(value, str):
            return value
        before = Counter(self.counts)
        text = self.text(value)
        self.counts = before
        return text

    def _pseudonym(self, kind: str, value: str) -> str:
        plain = "".join(value.split()).lower()
        code = hmac.new(self._key, f"{kind}\0{plain}".encode(), "sha256").hexdigest()[:10]
        named = "".join(f":{maker}" for maker in sorted(makers(value)))
        return f"<{kind}_{code}{named}>"


def redact(config: Config, artifact: Artifact, step: "Step") -> Artifact:
    """The artifact again, its personal data replaced. Raises `ConfigError` when it holds no records."""
    if artifact.kind not in PARTS:
        raise ConfigError(f"{artifact} holds no records; `trueseed records list` names those that do")
    folder, redactor = step.read(artifact), Redactor(config)
    made = {
        part: redactor.records(list(read_parquet(folder / f"{part}.parquet")), step) for part in PARTS[artifact.kind]
    }

    def fill(at: Path) -> None:
        for part, records in made.items():
            write_parquet(records, at / f"{part}.parquet")

    counts = {part: len(records) for part, records in made.items()}
    ids = (record.id for records in made.values() for record in records)
    return step.write(artifact.kind, fill, {**counts, "record_root": record_root(ids), "redacted": True})


def _key(path: Path) -> bytes:
    """The user's own, made at its first use, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        key = path.read_bytes()
        if len(key) != 32:
            raise ConfigError(f"{path} is not a key of 32 bytes; restore it, or remove it to begin anew") from None
        return key
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(32))
        file.flush()
        os.fsync(file.fileno())
    return path.read_bytes()


def _recognisers(types: Sequence[str]) -> dict[str, Any]:
    for name in types:
        if name not in RECOGNISERS:
            raise ConfigError(f"`redact`: there is no type {name!r}; the types are {', '.join(RECOGNISERS)}")
    try:
        import tldextract
        from presidio_analyzer import predefined_recognizers as shipped
    except ImportError as err:
        raise ConfigError("redaction needs Presidio: pip install 'trueseed[pii]'") from err
    offline = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)  # the list that it ships, never the network

    class Email(shipped.EmailRecognizer):  # type: ignore[misc]
        def validate_result(self, pattern_text: str) -> bool:
            return bool(offline(pattern_text).fqdn)

    logger = logging.getLogger("presidio-analyzer")
    if not any(isinstance(each, _Late) for each in logger.handlers):
        logger.addHandler(_Late(logging.WARNING))
    return {name: Email() if name == "EMAIL_ADDRESS" else getattr(shipped, RECOGNISERS[name])() for name in types}


class _Late(logging.Handler):
    """Presidio passes over a pattern that takes too long, with a warning."""

    def emit(self, record: logging.LogRecord) -> None:
        if "timed out" in record.getMessage():
            raise ConfigError(f"{record.getMessage()}; take that text out, it cannot be looked through")
