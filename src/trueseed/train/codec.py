"""What a teacher thought of each next token, as bytes: 118 a token at k = 32 and a vocabulary of 262,144.

    blob = encode(topk, vocabulary=49152)
    decode(blob)                                 # what `encode` kept, bit for bit

Token ids and their order are kept for good; log-probabilities, the tail's mass and its entropy are rounded (`kept` says
to what). A drawn token is its id alone, so it takes less than a probable one. The bytes are described in
docs/distillation.md ("The format"); they are little-endian, and a change of them is a new `VERSION`.

Shapes: A answer tokens, k of the teacher's most probable ones and m drawn from the others.
"""

import itertools
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from trueseed.errors import Broken, ConfigError
from trueseed.lm.topk import Drawn, TopK

VERSION = 2
LARGEST_VOCABULARY = 1 << 24
MOST_DRAWS = 255
ROUNDING = 1 / 512  # |lp - kept lp| is at most this share of |lp|, or 1/1024 where that is more
LEAST = -63.75  # nats; what is less probable than e^LEAST, 2e-28, but not impossible, is kept as that probable

_HEAD = struct.Struct("<3sBHBBI")  # magic, version, k + m, bits of an id above its lowest 16, m, A
_MAGIC = b"TSL"
_LOW_BITS = 3  # of a log-probability's 11; the other 8 are a byte
_SPREAD = (0, 2, 8)  # widths that the part of an id above its lowest 16 bits may have


def encode(topk: TopK, *, vocabulary: int) -> bytes:
    """vocabulary: ids are below it; it decides how many bits an id takes.

    Raises `ConfigError` for what no teacher can have thought: an id outside the vocabulary, a log-probability that is
    not a number or above 0, arrays that do not belong together.
    """
    _must_be_thinkable(topk, vocabulary)
    drawn = topk.drawn or _none(topk)
    every = np.concatenate([topk.ids, drawn.ids], 1)
    places, of_each = every.shape
    above = _bits_above(vocabulary)
    ids = every.astype("<u4").ravel()
    codes = _to_code(topk.logprobs.ravel(), bits=11)
    body = (
        _HEAD.pack(_MAGIC, VERSION, of_each, above, topk.draws, places)
        + _to_code(topk.tail, bits=16).astype("<u2").tobytes()
        + _to_code(-drawn.entropy, bits=16).astype("<u2").tobytes()
        + (ids & 0xFFFF).astype("<u2").tobytes()
        + _packed(ids >> 16, above)
        + (codes >> _LOW_BITS).astype(np.uint8).tobytes()
        + _packed(codes & (1 << _LOW_BITS) - 1, _LOW_BITS)
    )
    return body + zlib.crc32(body).to_bytes(4, "little")


def decode(blob: bytes) -> TopK:
    """Raises `Broken` for bytes that `encode` did not write: cut, changed, or of another version."""
    places, of_each, above, draws = _head(blob)
    n, k = places * of_each, of_each - draws
    likely = places * k
    entropies = places if draws else 0
    sizes = (2 * places, 2 * entropies, 2 * n, -(-n * above // 8), likely, -(-likely * _LOW_BITS // 8))
    if len(blob) != _HEAD.size + sum(sizes) + 4:
        raise Broken(f"stored log-probabilities are {len(blob)} bytes, not the {_HEAD.size + sum(sizes) + 4} they say")
    ends = np.cumsum((_HEAD.size, *sizes))
    tail, entropy, low, high, coarse, fine = (blob[start:end] for start, end in itertools.pairwise(ends))
    ids = np.frombuffer(low, "<u2").astype(np.int32) | _unpacked(high, above, n).astype(np.int32) << 16
    ids = ids.reshape(places, of_each)
    codes = np.frombuffer(coarse, np.uint8).astype(np.uint16) << _LOW_BITS | _unpacked(fine, _LOW_BITS, likely)
    return TopK(
        ids=ids[:, :k],
        logprobs=_VALUES[11][codes].reshape(places, k),
        tail=_VALUES[16][np.frombuffer(tail, "<u2")],
        drawn=Drawn(ids=ids[:, k:], entropy=-_VALUES[16][np.frombuffer(entropy, "<u2")]) if draws else None,
    )


def kept(topk: TopK) -> TopK:
    """What `encode` keeps of it: the same ids in the same order, and rounded numbers."""
    drawn = topk.drawn
    return TopK(
        ids=topk.ids.astype(np.int32),
        logprobs=_VALUES[11][_to_code(topk.logprobs, bits=11)],
        tail=_VALUES[16][_to_code(topk.tail, bits=16)],
        drawn=drawn and Drawn(ids=drawn.ids.astype(np.int32), entropy=-_VALUES[16][_to_code(-drawn.entropy, bits=16)]),
    )


def _none(topk: TopK) -> Drawn:
    return Drawn(ids=topk.ids[:, :0], entropy=topk.tail[:0])


def _head(blob: bytes) -> tuple[int, int, int, int]:
    """A, k + m, the bits of an id above its lowest 16, and m."""
    if len(blob) < _HEAD.size + 4:
        raise Broken(f"stored log-probabilities were cut: {len(blob)} bytes remain")
    magic, version, of_each, above, draws, places = _HEAD.unpack_from(blob)
    if magic != _MAGIC:
        raise Broken(f"these are no stored log-probabilities: they begin with {magic!r}")
    if version != VERSION:
        raise Broken(f"log-probabilities were stored as version {version}; this program reads {VERSION}")
    if zlib.crc32(blob[:-4]) != int.from_bytes(blob[-4:], "little"):
        raise Broken("stored log-probabilities were changed or cut: their checksum differs; make the signals again")
    if above not in _SPREAD:
        raise Broken(f"stored log-probabilities say that an id takes {16 + above} bits")
    if draws >= of_each:
        raise Broken(f"stored log-probabilities say that {draws} of {of_each} tokens are drawn")
    return places, of_each, above, draws


def _must_be_thinkable(topk: TopK, vocabulary: int) -> None:
    ids, logprobs, tail = topk.ids, topk.logprobs, topk.tail
    if ids.ndim != 2 or logprobs.shape != ids.shape or tail.shape != ids.shape[:1] or not 1 <= ids.shape[1] < 1 << 16:
        raise ConfigError(f"top-k of shapes {ids.shape}, {logprobs.shape} and {tail.shape} do not belong together")
    drawn = topk.drawn or _none(topk)
    if topk.drawn and (drawn.ids.shape != (len(ids), topk.draws) or drawn.entropy.shape != tail.shape):
        raise ConfigError(
            f"drawn tokens of shape {drawn.ids.shape} and entropies of shape {drawn.entropy.shape} do not belong to "
            f"{len(ids)} places"
        )
    if topk.drawn and not 1 <= topk.draws <= min(MOST_DRAWS, (1 << 16) - 1 - topk.k):
        raise ConfigError(f"{topk.draws} drawn tokens beside {topk.k} cannot be stored; at most {MOST_DRAWS}")
    if not 1 <= vocabulary <= LARGEST_VOCABULARY:
        raise ConfigError(f"a vocabulary of {vocabulary} tokens cannot be stored; at most {LARGEST_VOCABULARY}")
    for these in (ids, drawn.ids):
        if these.size and not 0 <= int(these.min()) <= int(these.max()) < vocabulary:
            raise ConfigError(f"token ids {these.min()} to {these.max()} are not all in a vocabulary of {vocabulary}")
    for name, values in (
        ("log-probability", logprobs),
        ("log of the tail's mass", tail),
        ("negative entropy of the tail", -drawn.entropy),
    ):
        if np.isnan(values).any() or (values > 0).any():
            raise ConfigError(f"a {name} of {np.max(values)} was given; the teacher's numbers are broken")


def _bits_above(vocabulary: int) -> int:
    return next(bits for bits in _SPREAD if vocabulary <= 1 << (16 + bits))


# A log-probability becomes a small float without a sign: 3 bits of exponent, 8 (or, for the tail, 13) of mantissa.
# Evenly spaced below 1 nat (1/512 apart), then half as dense for each doubling, up to 64; the last code is -infinity.

_EXPONENTS = 8


def _values(bits: int) -> NDArray[np.float32]:
    """What each code means; exact in float32."""
    mantissas = 1 << (bits - 3)
    exponent, mantissa = np.divmod(np.arange(_EXPONENTS * mantissas), mantissas)
    share = mantissa / mantissas
    nats = np.where(exponent == 0, share, 1 + share) * np.exp2(np.maximum(exponent, 1) - 2.0)
    nats[-1] = np.inf
    return (-nats).astype(np.float32)


_VALUES = {bits: _values(bits) for bits in (11, 16)}
_VALUES[11].flags.writeable = _VALUES[16].flags.writeable = False


def _to_code(logprobs: NDArray[np.float32], *, bits: int) -> NDArray[np.uint16]:
    """The code of the nearest value, halves to the even mantissa. Log-probabilities at most 0."""
    mantissas = 1 << (bits - 3)
    nats = -logprobs.astype(np.float64)
    exponent = np.clip(np.frexp(nats)[1] + 1, 0, _EXPONENTS - 1)  # 0 below ½ nat, 1 below 1, 2 below 2, …
    scale = np.ldexp(float(mantissas), 2 - np.maximum(exponent, 1))
    finite = np.where(np.isfinite(nats), nats, 0.0)
    mantissa = np.rint(finite * scale) - np.where(exponent > 0, mantissas, 0)
    code = np.minimum(exponent * mantissas + mantissa, _EXPONENTS * mantissas - 2)
    return np.where(nats == np.inf, _EXPONENTS * mantissas - 1, code).astype(np.uint16)


# Fields narrower than a byte stand one after another, the lowest bit first.


def _packed(values: NDArray[np.integer], bits: int) -> bytes:
    planes = (values[:, None] >> np.arange(bits, dtype=values.dtype)) & 1
    return np.packbits(planes.astype(np.uint8).ravel(), bitorder="little").tobytes()


def _unpacked(blob: bytes, bits: int, n: int) -> NDArray[np.uint16]:
    planes = np.unpackbits(np.frombuffer(blob, np.uint8), count=n * bits, bitorder="little").reshape(n, bits)
    values: NDArray[np.uint16] = (planes.astype(np.uint16) << np.arange(bits, dtype=np.uint16)).sum(1, dtype=np.uint16)
    return values
