"""How fast this machine trains: a throw-away step on noise, so that nobody's words are learned to find it out.

tempo(config, records, base, step)   # tokens of each record as the student reads them, seconds a token
"""

import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from trueseed.core.records import Record
from trueseed.lm.engine import Engine
from trueseed.lm.format import Format
from trueseed.train import network
from trueseed.train.batches import Example
from trueseed.train.loop import fit
from trueseed.train.settings import Learning
from trueseed.train.stage import prepared, schedule

STEPS = 2  # the first warms up and is not counted
MOST_TOKENS = 512  # of a step: enough to see the pace, and seconds on a slow machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Tempo:
    tokens: tuple[int, ...]
    seconds_per_token: float


def tempo(config: Learning, records: Sequence[Record], base: Path) -> Tempo:
    """tokens: of each record. Weights in `base` are read and not changed. Raises `ConfigError` as `sft.train`."""
    form = Format(base)
    lengths = tuple(len(form.training(record.messages)[0]) for record in records)
    model, learner = prepared(config, base)
    noise = [_noise(n, i, model.config.vocab_size) for i, n in enumerate(_few(lengths, config.max_length))]
    still = config.model_copy(update={"learning_rate": 0.0, "num_train_epochs": STEPS})
    steps = schedule(noise, still)
    ended = [time.monotonic()]

    def progress(*_: object) -> None:
        ended.append(time.monotonic())

    with tempfile.TemporaryDirectory() as folder:
        loss = partial(network.loss, model)
        course = fit(learner, loss, steps, still, checkpoints=Path(folder), let_go=shutil.rmtree, progress=progress)
    counted = len(course) // STEPS  # steps of the first epoch
    seconds = ended[-1] - ended[counted]
    return Tempo(tokens=lengths, seconds_per_token=seconds / sum(point.tokens for point in course.points[counted:]))


def hearing(lengths: Sequence[int], longest: int, teacher: Engine) -> float:
    """Seconds a token, of the teacher that reads noise of such lengths and says what it thinks of half of it."""
    noise = [_noise(n, i, len(teacher.format.tokenizer)) for i, n in enumerate(_few(lengths, longest))]
    chats = [(list(each.tokens), list(each.mask)) for each in noise]
    for _ in range(STEPS):
        began = time.monotonic()
        for _ in teacher.topk(chats, 1):
            pass
    return (time.monotonic() - began) / sum(len(ids) for ids, _ in chats)


def _few(lengths: Sequence[int], longest: int) -> list[int]:
    """The first lengths, cut to what is trained on, that come to `MOST_TOKENS` together."""
    chosen: list[int] = []
    for length in lengths:
        if chosen and sum(chosen) + length > MOST_TOKENS:
            break
        chosen.append(min(length, longest, MOST_TOKENS))
    return chosen


def _noise(length: int, seed: int, vocabulary: int) -> Example:
    rng = random.Random(seed)
    tokens = tuple(rng.randrange(vocabulary) for _ in range(max(length, 2)))
    half = len(tokens) // 2
    return Example(id=f"noise-{seed}", tokens=tokens, mask=(False,) * half + (True,) * (len(tokens) - half))
