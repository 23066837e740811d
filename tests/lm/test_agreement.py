"""The embedded teacher through our engine, against transformers: the promises of the issue, on real weights."""

from collections.abc import Sequence

import pytest
import torch

from trueseed.core.chat import Answer, Message, Request, user
from trueseed.generate.prompts import everyday
from trueseed.lm import checkpoint
from trueseed.lm.engine import Engine
from trueseed.lm.source import Weights

pytestmark = [pytest.mark.weights, pytest.mark.xdist_group("smollm2")]  # one copy in memory

QUESTIONS = (
    "What is the capital of France?",
    "Write a short poem about a lighthouse.",
    "List three things to pack for a walk in the rain, one per line.",
    "Explain to a child why the sky is blue.",
    "How do I politely decline an invitation? " + "I have been asked to come to a dinner next week. " * 6,
    "Name two differences between a lake and a river.",
    "Give me a recipe for vegetable soup.",
    "Translate 'good morning' into Spanish and use it in a sentence.",
)


@pytest.fixture(scope="module")
def engine(smollm2: Weights) -> Engine:
    return Engine(smollm2.folder, smollm2.source, slots=len(QUESTIONS), dtype="bfloat16")


def answered(engine: Engine, questions: Sequence[str], **changes: float) -> list[Answer]:
    how = {"max_tokens": 40, "temperature": 0, "logprobs": True, **changes}
    asked = [Request(messages=user(question), seed=i, **how) for i, question in enumerate(questions)]  # type: ignore[arg-type]
    found = dict(engine.answers(asked))
    return [found[i] for i in range(len(asked))]


def forced(
    engine: Engine, weights: Weights, dtype: torch.dtype, questions: Sequence[str], **changes: float
) -> list[tuple[int, torch.Tensor]]:
    """Each token we spoke, with transformers' logits at that place after the same words."""
    model = checkpoint.load(weights.folder, dtype)
    pairs: list[tuple[int, torch.Tensor]] = []
    for question, answer in zip(questions, answered(engine, questions, **changes), strict=True):
        prompt, said = engine.format.prompt(user(question)), [one.token for one in answer.logprobs]
        with torch.inference_mode():
            logits = model(torch.tensor([prompt + said[:-1]])).logits[0, len(prompt) - 1 :]
        pairs += zip(said, logits.float(), strict=True)
    return pairs


def test_greedy_in_bfloat16_agrees_with_transformers_teacher_forced(engine: Engine, smollm2: Weights) -> None:
    """Of fewer tokens some processor misses it by chance. Two logits in bfloat16 are often equal: either is right."""
    pairs = forced(engine, smollm2, torch.bfloat16, [prompt.text for prompt in everyday().prompts[:25]])
    gaps = [float(logits.max() - logits[token]) for token, logits in pairs]
    assert len(pairs) > 700
    assert gaps.count(0.0) >= 0.98 * len(gaps)
    assert max(gaps) <= 0.25


def test_greedy_in_float32_equals_transformers(smollm2: Weights) -> None:
    exact = Engine(smollm2.folder, smollm2.source, slots=len(QUESTIONS), dtype="float32")
    pairs = forced(exact, smollm2, torch.float32, QUESTIONS, max_tokens=24)
    assert [token for token, _ in pairs] == [int(logits.argmax()) for _, logits in pairs]


def test_deterministic_answers_are_the_same_bits_in_any_slot_and_company(smollm2: Weights) -> None:
    fixed = Engine(smollm2.folder, smollm2.source, slots=4, deterministic=True)
    asked = [
        Request(messages=user(question), seed=i, max_tokens=12 + 5 * i, temperature=0.8, top_p=0.95, logprobs=True)
        for i, question in enumerate(QUESTIONS)
    ]
    together = dict(fixed.answers(asked))
    fixed.forget()
    backwards = dict(fixed.answers(asked[::-1]))
    assert [together[i] for i in range(8)] == [backwards[7 - i] for i in range(8)]
    fixed.forget()
    assert dict(fixed.answers(asked[5:6]))[0] == together[5]


def test_the_teacher_is_less_surprised_by_sense_than_by_nonsense(engine: Engine) -> None:
    sense, nonsense = (
        (*user("What is the capital of France?"), Message("assistant", text))
        for text in ("The capital of France is Paris.", "The Paris France of is capital.")
    )
    (one, other), (exact, _) = engine.score([sense, nonsense]), engine.score([sense, nonsense], dtype="float32")
    assert one.nll / one.tokens < 1 < other.nll / other.tokens
    assert one.nll == pytest.approx(exact.nll, abs=0.3)
