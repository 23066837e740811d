"""The embedded base model: assembled from its parts, loaded, and speaking as transformers does."""

import pytest
import torch

from trueseed.core.chat import Request, user
from trueseed.lm import checkpoint
from trueseed.lm.engine import Engine
from trueseed.lm.source import Weights

pytestmark = [pytest.mark.weights, pytest.mark.xdist_group("gemma")]

ASKED = (
    Request(messages=user("What is the capital of France?"), max_tokens=16, temperature=0, logprobs=True),
    Request(messages=user("Name three colours of the rainbow. " * 3), max_tokens=16, temperature=0, logprobs=True),
)


def test_its_greedy_answers_are_those_of_transformers(gemma: Weights) -> None:
    engine = Engine(gemma.folder, gemma.source, slots=2, dtype="float32")
    answers = dict(engine.answers(ASKED))
    model = checkpoint.load(gemma.folder, torch.float32)
    for position, request in enumerate(ASKED):
        prompt, said = engine.format.prompt(request.messages), [one.token for one in answers[position].logprobs]
        with torch.inference_mode():
            expected = model(torch.tensor([prompt + said[:-1]])).logits[0, len(prompt) - 1 :].argmax(-1)
        assert said == expected.tolist()


def test_it_comes_with_its_licence_and_its_source(gemma: Weights) -> None:
    assert gemma.source.startswith("google/gemma-3-270m")
    assert any(path.name.upper().startswith(("LICENSE", "NOTICE", "GEMMA")) for path in gemma.folder.iterdir())
