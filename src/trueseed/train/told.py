"""What a server told of its tokens, as thoughts on the student's ids: for teachers behind an API that gives top
log-probabilities.

    Spelling.of(form).topk(answer, ids, k=20)   # ids: the answer as the student reads it, the token that ends it too

A server has token strings, perhaps ids of its own, and 20 alternatives at most. They are taken only where every one of
them is written by exactly one of the student's ids and the spoken ones are the ids that the student reads. Where that
is not so, `Unlike` says why, and the record can be learned from as words alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from trueseed.core.chat import Answer, TokenLogprob
from trueseed.lm.format import Format
from trueseed.lm.topk import TopK
from trueseed.lm.vocabulary import by_spelling, spellings

WORDS = "learn from its words (`method: sft`)"
OTHERWISE = f"leave such records out (`incomparable: drop`), or {WORDS}"
_TOLD_TO = 1e-6  # servers round: less mass than this cannot be told from none, and is not taken for impossible


class Unlike(Exception):  # noqa: N818  a reason, not an error
    """These tokens are not the student's. Its text says why."""


class Untold(Exception):  # noqa: N818  a reason, not an error
    """Nothing was told of these tokens. Its text says why."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """written: the bytes of each of the student's ids. ids: back, where one id alone writes them. ends: ids that end an
    answer, which servers may tell without any bytes.
    """

    written: Mapping[int, bytes]
    ids: Mapping[bytes, int]
    ends: frozenset[int]

    @classmethod
    def of(cls, form: Format) -> Self:
        written = spellings(form)
        return cls(written, by_spelling(written), form.end_ids)

    def of_answer(self, answer: Answer | None, tokens: Sequence[int], mask: Sequence[bool], *, k: int) -> TopK:
        """`topk` of an answer that the student reads in `tokens`, where `mask` is true. Raises `Untold` when nothing of
        it is kept, and as `topk`.
        """
        if answer is None or not answer.logprobs:
            raise Untold("its answer is not kept, or was asked for without `top_logprobs`")
        return self.topk(answer, [token for token, counts in zip(tokens, mask, strict=True) if counts], k=k)

    def topk(self, answer: Answer, ids: Sequence[int], *, k: int) -> TopK:
        """Thoughts at each place of `ids`. The tail is what the `k` told tokens leave of 1, and at least a millionth.

        Raises `Unlike` when a token is not one of the student's, when the server read other ones, tells nothing of the
        end of the answer, or fewer than `k`; and when told probabilities sum to more than 1.
        """
        said = answer.logprobs
        if len(said) == len(ids) - 1 and ids[-1] in self.ends:
            raise Unlike("the server does not tell how probable the end of the answer was")
        if len(said) != len(ids):
            raise Unlike(f"the server spoke {len(said)} tokens where the student reads {len(ids)}")
        for place, (step, own) in enumerate(zip(said, ids, strict=True)):
            if (theirs := self._id(step)) != own:
                raise Unlike(f"token {place} of the answer is {theirs} as the server spoke it and {own} as it is read")
        tops = [sorted(step.top, key=lambda each: -each.logprob)[:k] for step in said]
        if short := next((top for top in tops if len(top) < k), None):
            raise Unlike(f"the server tells {len(short)} tokens at a place, fewer than `loss_top_k: {k}`")
        logprobs = np.array([[each.logprob for each in top] for top in tops], np.float64).reshape(len(tops), k)
        told = np.exp(logprobs).sum(1)
        if len(told) and told.max() > 1 + 1e-3:
            raise Unlike(f"the told probabilities of a token sum to {told.max():.4f}, which is more than 1")
        return TopK(
            ids=np.array([[self._id(each) for each in top] for top in tops], np.int32).reshape(len(tops), k),
            logprobs=np.minimum(logprobs, 0).astype(np.float32),
            tail=np.log(np.maximum(1 - told, _TOLD_TO)).astype(np.float32),
        )

    def _id(self, told: TokenLogprob) -> int:
        if isinstance(told.token, int):
            own = self.written.get(told.token)
            if own == told.spelt or (not told.spelt and told.token in self.ends):
                return told.token
            raise Unlike(f"id {told.token} writes {told.spelt!r} at the server and {own!r} here")
        written = told.spelt or told.token.encode()
        if written not in self.ids:
            raise Unlike(f"no single token of the student writes {written!r}")
        return self.ids[written]
