"""The project's own prompts: enough of them, different ones, and no evaluation prompt among those for training."""

from pathlib import Path

import pytest

import trueseed
from trueseed.core.prompts import Prompt, read_prompts
from trueseed.similarity import NearIndex, OverlapIndex, fingerprint

PACKAGE = Path(trueseed.__file__).parent
TRAIN = read_prompts(PACKAGE / "generate" / "prompts" / "everyday.jsonl")
HELD_OUT = read_prompts(PACKAGE / "evaluate" / "prompts" / "held_out.jsonl")
CHAT = read_prompts(PACKAGE / "evaluate" / "prompts" / "chat.jsonl")


def test_there_are_several_hundred_of_each():
    assert len(TRAIN) >= 420
    assert len(HELD_OUT) >= 360
    assert len(CHAT) >= 320


def test_they_are_varied():
    assert len({prompt.topic for prompt in TRAIN}) >= 20
    openings = {" ".join(prompt.text.lower().split()[:3]) for prompt in TRAIN}
    assert len(openings) >= 0.5 * len(TRAIN)


def test_no_prompt_occurs_twice_in_all_three():
    everything = [fingerprint(prompt.text) for prompt in (*TRAIN, *HELD_OUT, *CHAT)]
    assert len(set(everything)) == len(everything)


@pytest.mark.parametrize("held_out", [HELD_OUT, CHAT], ids=["held_out", "chat"])
def test_no_evaluation_prompt_is_near_a_training_prompt(held_out: tuple[Prompt, ...]):
    index = NearIndex(0.7, n=2)
    for prompt in TRAIN:
        index.add(prompt.id, prompt.text)
    assert {prompt.text: near for prompt in held_out if (near := index.nearest(prompt.text))} == {}


@pytest.mark.parametrize("held_out", [HELD_OUT, CHAT], ids=["held_out", "chat"])
def test_no_eight_words_of_an_evaluation_prompt_occur_in_training(held_out: tuple[Prompt, ...]):
    index = OverlapIndex((prompt.text for prompt in held_out), n=8)
    assert {prompt.text: shared for prompt in TRAIN if (shared := index.shared(prompt.text))} == {}
