"""Which samples of a test stand in other texts: as they are, nearly so, or by a long run of words.

>>> index = Leaks([Sample("7", prompts=("Who wrote the first novel about a whale?",))])
>>> index.found([("prompt", "who wrote the first novel about a whale")])
[Leak(sample='7', part='prompt', how='same', where='prompt', resemblance=1.0, run='')]

Three ways, the strongest told. `same`: equal but for case, punctuation and spacing. `near`: four fifths or more of
both texts' runs of three words are shared (Broder's resemblance, 1997). `run`: 13 words in a row, as GPT-3's report
counts contamination (Brown et al. 2020, appendix C); a shorter text of at least 8 words counts when it is contained
whole (there, too, n lay between 8 and 13, by the test). What stands in more than three samples and more than a tenth of
all is the test's own wording, and proves nothing: "the capital of" makes no two questions alike. An answer of fewer
than 8 words is anybody's.

The search is exact: a pair above the threshold shares one of the rarest runs of each (the prefix filter of Chaudhuri
et al. 2006), so only these are looked up, and every candidate is compared in full. MinHash would miss one in thirty.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

NEAR = 0.8  # resemblance in runs of three words, as curation takes it of answers
IN_A_ROW, AT_LEAST = 13, 8  # words
COMMON, COMMON_SHARE = 3, 0.1  # samples that may share a wording, or the share of them

How = Literal["same", "near", "run"]
Part = Literal["prompt", "answer"]
Words = tuple[str, ...]
Said = tuple[Part, str]

# What calculates is a word: "12 * 3" and "12 / 3" are two questions.
_WORD = re.compile(r"[^\W_]+|[+*/=<>^%×÷]|(?<=\s)[-−](?=\s)")
_STRENGTH = {"same": 0, "near": 1, "run": 2}


@dataclass(frozen=True, slots=True)
class Sample:
    """prompts: what a model is asked, in each wording there is. answers: what would be right, or was answered."""

    id: str
    prompts: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()

    @property
    def said(self) -> Iterator[Said]:
        yield from (("prompt", text) for text in self.prompts)
        yield from (("answer", text) for text in self.answers)


@dataclass(frozen=True, slots=True)
class Leak:
    """part: of the sample. where: in the other text, its prompt or answer. run: the words that are shared in a row."""

    sample: str
    part: Part
    how: How
    where: Part
    resemblance: float = 1.0
    run: str = ""

    @property
    def strength(self) -> tuple[int, float]:
        """Lower is stronger."""
        return _STRENGTH[self.how], -self.resemblance

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Text:
    sample: str
    part: Part
    words: Words
    shingles: frozenset[Words]


class Leaks:
    """The texts of samples. runs: whether runs of words count, beside what is the same or nearly so."""

    def __init__(self, samples: Iterable[Sample], *, runs: bool = True) -> None:
        texts = [text for sample in samples for text in _texts(sample)]
        self._samples = len({text.sample for text in texts})
        stands = Counter(shingle for shingle, _ in {(each, text.sample) for text in texts for each in text.shingles})
        self._wording = frozenset(shingle for shingle, count in stands.items() if self._is_common(count))
        self._texts = [replace(text, shingles=text.shingles - self._wording) for text in texts]
        self._same = _by(((text.words, at) for at, text in enumerate(self._texts)))
        often = Counter(shingle for text in self._texts for shingle in text.shingles)
        self._rare = _by((each, at) for at, text in enumerate(self._texts) for each in _rarest(text, often))
        self._runs = self._long_runs() if runs else {}
        self._lengths = sorted({len(run) for run in self._runs}, reverse=True)
        self._in_runs = {each for run in self._runs for each in _shingles(run)}

    def found(self, said: Iterable[Said]) -> list[Leak]:
        """Of each sample that stands in one of the texts, the strongest way."""
        return self.found_in((where, words_of(text)) for where, text in said)

    def found_in(self, texts: Iterable[tuple[Part, Words]]) -> list[Leak]:
        """As `found`, of the words of texts."""
        best: dict[str, Leak] = {}
        for where, words in texts:
            for leak in self._of(words, where):
                if leak.sample not in best or leak.strength < best[leak.sample].strength:
                    best[leak.sample] = leak
        return list(best.values())

    def met(self, texts: Iterable[tuple[str, Iterable[Said]]]) -> dict[str, tuple[Leak, str]]:
        """Of each sample that stands in any of many texts, the strongest way, and the name of the first such text."""
        best: dict[str, tuple[Leak, str]] = {}
        for name, said in texts:
            for leak in self.found(said):
                if leak.sample not in best or leak.strength < best[leak.sample][0].strength:
                    best[leak.sample] = leak, name
        return best

    def _of(self, words: Words, where: Part) -> Iterator[Leak]:
        if not words:
            return
        for at in self._same.get(words, ()):
            yield Leak(self._texts[at].sample, self._texts[at].part, "same", where)
        shingles = _shingles(words)
        own = set(shingles) - self._wording
        for at in {at for rare in own & self._rare.keys() for at in self._rare[rare]}:
            other = self._texts[at]
            shared = len(own & other.shingles)
            if (alike := shared / (len(own) + len(other.shingles) - shared)) >= NEAR:
                yield Leak(other.sample, other.part, "near", where, alike)
        if self._runs:
            yield from self._shared_runs(words, shingles, where)

    def _shared_runs(self, words: Words, shingles: Sequence[Words], where: Part) -> Iterator[Leak]:
        """Looked for only where as many shingles in a row are known as a run has."""
        start, shortest = 0, self._lengths[-1]
        known = [shingle in self._in_runs for shingle in shingles]
        while start < len(known):
            end = start
            while end < len(known) and known[end]:
                end += 1
            for length in self._lengths if end - start + 2 >= shortest else ():
                for at in range(start, end + 3 - length):
                    for text in self._runs.get(words[at : at + length], ()):
                        other = self._texts[text]
                        yield Leak(other.sample, other.part, "run", where, run=" ".join(words[at : at + length]))
            start = end + 1

    def _long_runs(self) -> dict[Words, list[int]]:
        found: defaultdict[Words, dict[int, None]] = defaultdict(dict)
        for at, text in enumerate(self._texts):
            length = min(IN_A_ROW, len(text.words))
            for start in range(len(text.words) - length + 1) if length >= AT_LEAST else ():
                found[text.words[start : start + length]][at] = None
        samples = {run: {self._texts[at].sample for at in places} for run, places in found.items()}
        return {run: list(places) for run, places in found.items() if not self._is_common(len(samples[run]))}

    def _is_common(self, samples: int) -> bool:
        return samples > COMMON and samples > COMMON_SHARE * self._samples


def words_of(text: str) -> Words:
    """Lower-case words and signs of arithmetic, after Unicode NFKC."""
    return tuple(_WORD.findall(text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).lower()))


def _texts(sample: Sample) -> Iterator[_Text]:
    for part, words in dict.fromkeys((part, words_of(text)) for part, text in sample.said):
        if words and (part == "prompt" or len(words) >= AT_LEAST):
            yield _Text(sample.id, part, words, frozenset(_shingles(words)))


def _shingles(words: Words) -> list[Words]:
    """Runs of three words; the whole where there are fewer."""
    return list(zip(words, words[1:], words[2:], strict=False)) or [words]


def _rarest(text: _Text, often: Counter[Words]) -> list[Words]:
    """So many that a text above the threshold must share one of them: it lacks fewer than that of all."""
    ordered = sorted(text.shingles, key=lambda each: (often[each], each))
    return ordered[: int((1 - NEAR) * len(ordered) + 1e-9) + 1]


def _by(pairs: Iterable[tuple[Words, int]]) -> dict[Words, list[int]]:
    found: defaultdict[Words, list[int]] = defaultdict(list)
    for words, at in pairs:
        found[words].append(at)
    return dict(found)
