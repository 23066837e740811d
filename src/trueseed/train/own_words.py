"""Steps of the optimizer whose answers are spoken while training: by the student as it is at that moment, or by the
teacher (Agarwal et al. 2024, arXiv:2306.13649, algorithm 1).

    steps = OwnWords(planned, prompts, speakers, config, notes)
    steps[7]      the batches of step 7, asked for when the student has the weights that the step begins with

Whose words a step takes, and every draw of every answer, is a function of the seed and the step's number alone, and all
of a step's answers are spoken together in one order; several processes speak a share each, together what one would have
said. So the same weights say the same words, and a run that goes on from a checkpoint ends with the same
bits, given the same number of threads.

Nothing that is said here becomes a record. `notes` keeps how much was said, and a few examples, through a kill.
"""

import json
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trueseed.core.chat import Message, Request
from trueseed.core.durable import write_atomic
from trueseed.errors import ConfigError
from trueseed.lm.batch import Batch
from trueseed.lm.format import Format
from trueseed.lm.memory import Memory
from trueseed.lm.network import Network
from trueseed.lm.talk import Talk
from trueseed.train.batches import Example, Rows, in_batches
from trueseed.train.loop import Steps
from trueseed.train.ranks import ALONE, Ranks
from trueseed.train.settings import OnPolicy

_TOGETHER = 128  # answers spoken at the same time: bounds the memory of keys and values
_SHOWN = 2  # answers of a step that are kept as examples

Prompts = Mapping[str, tuple[Message, ...]]  # by record id: the chat up to the answer


@dataclass(frozen=True, slots=True)
class Speaker:
    """name: `student` or `teacher`. network: its weights as they are when it is called."""

    name: str
    network: Callable[[], Network]


@dataclass(frozen=True, slots=True)
class Said:
    """row: an answer as it was said, the very tokens that were drawn, an end token among them if it ended."""

    row: Example
    ended: bool
    prompt: str
    answer: str

    @classmethod
    def of(cls, record: str, talk: Talk) -> "Said":
        row = Example(
            id=record,
            tokens=(*talk.prompt, *talk.ids),
            mask=(False,) * len(talk.prompt) + (True,) * len(talk.ids),
        )
        return cls(row, talk.finish == "stop", talk.request.messages[-1].content, talk.answer().text)


class OwnWords:
    """The planned steps, those of a share `config.lmbda` with answers of the student's own, and the rest, with
    `seq_kd`, with answers of the teacher's. A step keeps its prompts; the batches are cut anew, since other answers
    have other lengths.
    """

    def __init__(
        self,
        planned: Steps,
        prompts: Prompts,
        form: Format,
        speakers: Sequence[Speaker],
        config: OnPolicy,
        notes: Path,
        ranks: Ranks = ALONE,
    ) -> None:
        """ranks: who speak together, each a share of a step's answers. notes: only the first writes there."""
        self._planned, self._prompts, self._form, self._config = planned, prompts, form, config
        self._notes, self._ranks = notes, ranks
        self._speakers = {speaker.name: speaker for speaker in speakers}

    def __len__(self) -> int:
        return len(self._planned)

    def __getitem__(self, at: int) -> Sequence[Rows]:
        planned, name = self._planned[at], self.whose(at)
        if name is None:
            return planned
        ids = sorted(row.id for batch in planned for row in batch)
        rng = random.Random(f"{self._config.seed}:words:{at}")
        requests = [self._request(self._prompts[each], rng.getrandbits(63)) for each in ids]
        network = self._speakers[name].network()
        with self._ranks.agreed():
            mine = slice(*self._ranks.span(len(ids)))
            talks = spoken(network, self._form, requests[mine]) if requests[mine] else []
        said = self._ranks.everybodys([Said.of(record, talk) for record, talk in zip(ids[mine], talks, strict=True)])
        _must_say_something(said, name, at, self._ranks)
        if not self._ranks.rank:
            self._note(at, name, said)
        return in_batches([each.row for each in said], self._config.tokens_per_batch)

    def whose(self, at: int) -> str | None:
        """Whose answers step `at` (from 0) takes; None: the records'."""
        if random.Random(f"{self._config.seed}:whose:{at}").random() < self._config.lmbda:
            return "student"
        return "teacher" if self._config.seq_kd else None

    def _request(self, prompt: tuple[Message, ...], seed: int) -> Request:
        how = self._config
        return Request(
            messages=prompt,
            max_tokens=how.max_new_tokens,
            temperature=how.sampling_temperature,
            top_p=how.sampling_top_p,
            seed=seed,
        )

    def _note(self, at: int, name: str, said: Sequence[Said]) -> None:
        note = {
            "step": at + 1,
            "speaker": name,
            "answers": len(said),
            "tokens": sum(each.row.targets for each in said),
            "ended": sum(each.ended for each in said),
            "examples": [{"prompt": each.prompt, "answer": each.answer} for each in said[:_SHOWN]],
        }
        write_atomic(self._notes / f"step-{at + 1:08d}.json", json.dumps(note))

    def told(self) -> dict[str, Any]:
        """How much was said in training, by speaker; for `curve.json`."""
        notes = [json.loads(path.read_text()) for path in sorted(self._notes.glob("step-*.json"))]
        return {
            name: _summed([note for note in notes if note["speaker"] == name], len(self))
            for name in sorted({note["speaker"] for note in notes})
        }


def spoken(network: Network, form: Format, requests: Sequence[Request]) -> list[Talk]:
    """All requests answered, in their order. Raises `ConfigError` for one that cannot be."""
    talks = [Talk(at, request, form, network.context) for at, request in enumerate(requests)]
    waiting = deque(talks)
    batch = Batch(network, Memory(network, form.beginning), min(len(talks), _TOGETHER))
    while waiting or batch.busy:
        while waiting and batch.free:
            batch.admit(waiting.popleft())
        batch.advance()
    return talks


def must_fit(prompts: Mapping[str, int], max_new_tokens: int, context: int, whose: str) -> None:
    """prompts: tokens by record id. Raises `ConfigError` when an answer could run into the end of the context: it would
    be cut short, and the student would learn to stop there.
    """
    longest = max(prompts, key=lambda each: prompts[each])
    over = sum(length + max_new_tokens > context for length in prompts.values())
    if over:
        raise ConfigError(
            f"max_new_tokens: {max_new_tokens} does not fit behind {over} of {len(prompts)} prompts: the {whose}'s "
            f"context is {context} tokens and the longest prompt, of record {longest[:16]}, takes {prompts[longest]}. "
            f"Lower max_new_tokens, or leave long prompts out by a lower max_length"
        )


def _must_say_something(said: Sequence[Said], name: str, at: int, ranks: Ranks) -> None:
    if all(each.ended and each.row.targets == 1 for each in said):
        sentence = (
            f"all {len(said)} answers of the {name} at step {at + 1} are empty: it ends before its first word, and "
            f"from such answers nothing else can be learned. Train it on the records first (method: sft, or a lower "
            f"lmbda), or lower learning_rate if its answers have become so"
        )
        raise ranks.ended(ConfigError(sentence))


def _summed(notes: Sequence[Mapping[str, Any]], steps: int) -> dict[str, Any]:
    answers, tokens = (sum(note[count] for note in notes) for count in ("answers", "tokens"))
    return {
        "steps": len(notes),
        "share_of_steps": round(len(notes) / steps, 4),
        "answers": answers,
        "tokens": tokens,
        "mean_length": round(tokens / answers, 2),
        "ended_share": round(sum(note["ended"] for note in notes) / answers, 4),
        "first": notes[0]["examples"],
        "last": notes[-1]["examples"],
    }
