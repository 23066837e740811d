"""What a teacher thought of the answers in a dataset, token by token, kept to be learned from as often as one likes.

    with signals.writing(folder, about) as kept:
        for example, topk in zip(examples, engine.topk(chats, k)): kept.add(example, topk)
    Signals.open(folder).of(example)            # TopK, one row for each answer token of the record

A folder (an artifact of kind `signals`): `signals.parquet`, a row a record (its id, the digest of its token ids and of
where they are answers, the number of answer tokens, the bytes of `codec`), and `signals.json`, what is said of all of
them (`About`). A record is found by its id and taken only for the very tokens that the teacher read. Nothing is filled
in for a record or a token that the teacher was not asked about.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trueseed.errors import Broken, ConfigError
from trueseed.lm.topk import TopK
from trueseed.lm.vocabulary import Vocabulary
from trueseed.train import codec

FILE, ABOUT_FILE = "signals.parquet", "signals.json"
LEFT_OUT_FILE = "left_out.json"  # only where records were
TOO_LONG = "too_long"  # the word for a record that somebody cannot read whole
_TOGETHER = 32  # records of a row group, which is what one look-up reads
_ABOVE_ONE = 1e-3  # nats by which probabilities may sum to more: float32 and an API's rounding, not another teacher
_NEWER = {"draws"}  # what older signals do not say, and have none of
_SCHEMA = pa.schema(
    [("record", pa.string()), ("tokens", pa.binary(32)), ("places", pa.int32()), ("topk", pa.large_binary())]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """source: the teacher's. k: how many tokens are kept at each place. draws: and so many of the others, by chance.
    vocabulary: how many the teacher knows. tokenizer: digest of which id is which string; template: of the chat
    template. records, places: how many are kept. mass: mean probability of the k tokens together. bytes_per_token: mean
    size. codec: version of the bytes.
    temperature: at which probabilities are kept, always 1; a training may soften them.
    """

    source: str
    k: int
    vocabulary: int
    tokenizer: str
    template: str
    records: int = 0
    places: int = 0
    draws: int = 0
    mass: float = 0.0
    bytes_per_token: float = 0.0
    codec: int = codec.VERSION
    temperature: float = 1.0

    @classmethod
    def teacher(cls, source: str, vocabulary: Vocabulary, k: int, draws: int = 0) -> "About":
        """Before anything is kept of it."""
        return cls(
            source=source,
            k=k,
            draws=draws,
            vocabulary=len(vocabulary.tokens),
            tokenizer=vocabulary.digest(),
            template=vocabulary.template,
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> "About":
        """Ignores what is not its own: a manifest says more. Raises `Broken` when something is missing."""
        try:
            return cls(
                **{each.name: said[each.name] for each in fields(cls) if each.name in said or each.name not in _NEWER}
            )
        except KeyError as err:
            raise Broken(f"the description of signals lacks {err}; make them again") from err


def fingerprint(tokens: Sequence[int], mask: Sequence[bool]) -> bytes:
    """SHA-256 of token ids (4 bytes each, little-endian), then of the mask (a bit each, the lowest first)."""
    bits = np.packbits(np.asarray(mask, bool), bitorder="little")
    return hashlib.sha256(np.asarray(tokens, "<u4").tobytes() + bits.tobytes()).digest()


class Writing:
    """Takes records one by one, as the teacher is done with them. Only a few are in memory at a time."""

    def __init__(self, folder: Path, about: About) -> None:
        self._folder, self._about = folder, about
        self._file = pq.ParquetWriter(folder / FILE, _SCHEMA, compression="none", write_page_checksum=True)
        self._rows: list[dict[str, Any]] = []
        self._seen: set[str] = set()
        self._places = self._bytes = 0
        self._mass = 0.0

    def add(self, record: str, tokens: Sequence[int], mask: Sequence[bool], topk: TopK) -> None:
        """tokens, mask: as in `train.batches.Example`. Raises `ConfigError` for thoughts of other places than the
        answer's, of another k, that are not numbers, or that sum to more than 1; and for a record given twice.
        """
        places = sum(mask[1:])
        if record in self._seen:
            raise ConfigError(f"record {record[:16]} was given twice; a dataset has each record once")
        if (len(topk.ids), topk.k, topk.draws) != (places, self._about.k, self._about.draws):
            raise ConfigError(
                f"record {record[:16]} has {places} answer tokens and the teacher was to give {self._about.k} "
                f"log-probabilities for each, and {self._about.draws} drawn ones; it gave {len(topk.ids)} times "
                f"{topk.k} and {topk.draws}"
            )
        try:
            must_be_a_distribution(topk)
            blob = codec.encode(topk, vocabulary=self._about.vocabulary)
        except ConfigError as err:
            raise ConfigError(f"record {record[:16]}: {err}") from err
        self._seen.add(record)
        self._rows.append({"record": record, "tokens": fingerprint(tokens, mask), "places": places, "topk": blob})
        self._places, self._bytes = self._places + places, self._bytes + len(blob)
        self._mass += float(-np.expm1(topk.tail.astype(np.float64)).sum())
        if len(self._rows) == _TOGETHER:
            self._flush()

    def about(self) -> About:
        """With what was counted so far."""
        many = max(self._places, 1)
        counted = {"records": len(self._seen), "places": self._places}
        means = {"mass": self._mass / many, "bytes_per_token": self._bytes / many}
        return About(**{**asdict(self._about), **counted, **means})

    def _flush(self) -> None:
        if self._rows:
            self._file.write_table(pa.Table.from_pylist(self._rows, schema=_SCHEMA))
            self._rows = []

    def _close(self) -> None:
        self._flush()
        self._file.close()
        (self._folder / ABOUT_FILE).write_text(json.dumps(self.about().to_json(), indent=1) + "\n")


@contextmanager
def writing(folder: Path, about: About) -> Iterator[Writing]:
    """Signals that stand in `folder` once the block ends well; `signals.json` is written last."""
    kept = Writing(folder, about)
    try:
        yield kept
    except BaseException:
        kept._file.close()
        raise
    kept._close()


def write(folder: Path, about: About, entries: Iterable[tuple[str, Sequence[int], Sequence[bool], TopK]]) -> About:
    """All of them: record id, tokens, mask, thoughts. Returns what is said of them."""
    with writing(folder, about) as kept:
        for record, tokens, mask, topk in entries:
            kept.add(record, tokens, mask, topk)
    return kept.about()


def together(parts: Sequence[About]) -> About:
    """What is said of several of one teacher, of other records each. parts: at least one."""
    records, places = sum(each.records for each in parts), sum(each.places for each in parts)
    counted: dict[str, Any] = {"records": records, "places": places}
    for mean in ("mass", "bytes_per_token"):
        counted[mean] = sum(getattr(each, mean) * each.places for each in parts) / max(places, 1)
    return About(**{**asdict(parts[0]), **counted})


def join(folder: Path, parts: Sequence[Path]) -> None:
    """Puts several of one teacher into one, as they are: their bytes are not read as numbers. Raises as `Signals.open`,
    and `ConfigError` when they are not of one teacher.
    """
    opened = [Signals.open(part) for part in parts]
    about = together([each.about for each in opened])
    with pq.ParquetWriter(folder / FILE, _SCHEMA, compression="none", write_page_checksum=True) as file:
        for each in opened:
            if any(getattr(each.about, of) != getattr(about, of) for of in ("source", "tokenizer", "k", "draws")):
                raise ConfigError(f"signals of {each.about.source} and of {about.source} do not go together")
            for group in range(each._file.num_row_groups):
                file.write_table(each._file.read_row_group(group))
    (folder / ABOUT_FILE).write_text(json.dumps(about.to_json(), indent=1) + "\n")


def leave_out(folder: Path, records: Mapping[str, str]) -> None:
    """Says beside signals which records have none, and why: by id, in a word."""
    if records:
        (folder / LEFT_OUT_FILE).write_text(json.dumps(dict(records), indent=1) + "\n")


def must_be_a_distribution(topk: TopK) -> None:
    """Raises `ConfigError` when probabilities are not numbers, sum to more than 1, or name a token twice; and when a
    token was drawn that is among the most probable ones.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        kept = np.logaddexp.reduce(topk.logprobs.astype(np.float64), 1)
        total = np.logaddexp(kept, topk.tail.astype(np.float64))
    if np.isnan(total).any():
        raise ConfigError("a log-probability is not a number; the teacher's numbers are broken")
    if total.size and (most := float(total.max())) > _ABOVE_ONE:
        raise ConfigError(f"probabilities of a token sum to {math.exp(most):.4f}, which is more than 1")
    if (np.diff(np.sort(topk.ids, 1), axis=1) == 0).any():
        raise ConfigError("the same token stands twice among the most probable ones")
    if topk.drawn and (topk.drawn.ids[:, :, None] == topk.ids[:, None, :]).any():
        raise ConfigError("a token that is among the most probable ones was drawn from the others")


class Signals:
    """Stored thoughts. Open with `Signals.open(folder)`; a look-up reads some thirty records from the disk.

    left_out: records of the same dataset that have none, as was asked for, and why.
    """

    def __init__(self, about: About, file: pq.ParquetFile, left_out: Mapping[str, str]) -> None:
        self.about, self._file, self.left_out = about, file, left_out
        self._at: dict[str, tuple[int, int]] = {}
        self._read_as: dict[str, bytes] = {}
        for group in range(file.num_row_groups):
            index = file.read_row_group(group, columns=["record", "tokens"]).to_pydict()
            for row, (record, tokens) in enumerate(zip(index["record"], index["tokens"], strict=True)):
                self._at[record], self._read_as[record] = (group, row), tokens

    @classmethod
    def open(cls, folder: Path) -> "Signals":
        """Raises `Broken` for files that `writing` did not leave, `ConfigError` where there are none."""
        try:
            about = About.from_json(json.loads((folder / ABOUT_FILE).read_bytes()))
            beside = folder / LEFT_OUT_FILE
            left_out = json.loads(beside.read_bytes()) if beside.exists() else {}
        except OSError as err:
            raise ConfigError(
                f"{folder} holds no signals ({err.strerror}: {ABOUT_FILE}); a run makes them before it trains with "
                f"`method: distil`"
            ) from err
        except ValueError as err:
            raise Broken(f"what {folder} says of its signals cannot be read ({err}); make them again") from err
        if about.codec != codec.VERSION or about.temperature != 1:
            raise Broken(
                f"signals in {folder} are version {about.codec} at temperature {about.temperature}; this program reads "
                f"version {codec.VERSION} at temperature 1; make them again"
            )
        try:
            found = cls(about, pq.ParquetFile(folder / FILE, page_checksum_verification=True), left_out)
        except (OSError, pa.ArrowException, KeyError) as err:
            raise Broken(f"{folder / FILE} cannot be read ({err}); make the signals again") from err
        if len(found._at) != about.records:
            raise Broken(f"{folder / FILE} holds {len(found._at)} records, not the {about.records} it says")
        return found

    def __len__(self) -> int:
        return len(self._at)

    def __contains__(self, record: str) -> bool:
        return record in self._at

    def __getitem__(self, record: str) -> TopK:
        """Raises `ConfigError` for a record the teacher was not asked about, `Broken` for bytes that changed."""
        if record not in self._at:
            raise ConfigError(f"the teacher was not asked about record {record[:16]}; make signals of this dataset")
        group, row = self._at[record]
        try:
            topk = codec.decode(self._file.read_row_group(group, columns=["topk"])["topk"][row].as_py())
        except (OSError, pa.ArrowException) as err:
            raise Broken(f"stored signals of record {record[:16]} cannot be read ({err}); make them again") from err
        except Broken as err:
            raise Broken(f"record {record[:16]}: {err}") from err
        if (topk.k, topk.draws) != (self.about.k, self.about.draws):
            raise Broken(
                f"record {record[:16]}: {topk.k} tokens and {topk.draws} drawn ones are kept at each place, not "
                f"{self.about.k} and {self.about.draws}"
            )
        return topk

    def must_cover(self, rows: Iterable[tuple[str, Sequence[int], Sequence[bool]]]) -> None:
        """rows: record id, tokens, mask. Raises `ConfigError` naming records that the teacher was not asked about, or
        read as other tokens; nothing is learned from those in another way.
        """
        missing, other = [], []
        for record, tokens, mask in rows:
            if record not in self._at:
                missing.append(record)
            elif self._read_as[record] != fingerprint(tokens, mask):
                other.append(record)
        if missing:
            raise ConfigError(
                f"the teacher was not asked about {len(missing)} records: {_some(missing)}. Its log-probabilities are "
                f"needed for every answer token; make signals of this dataset, or train with `method: sft`"
            )
        if other:
            raise ConfigError(
                f"the teacher read {len(other)} records as other tokens than the student reads: {_some(other)}. "
                f"Tokenizer and chat template must be the same; make signals with the student's, or use `method: sft`"
            )


def _some(ids: Sequence[str]) -> str:
    return ", ".join(identity[:16] for identity in ids[:5]) + (", …" if len(ids) > 5 else "")
