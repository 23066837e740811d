"""The first answers of a server that will distil, compared with the student's tokens before more is asked and paid.

    teacher = FirstTold(teacher, Format(student), k=20, incomparable="refuse", tell=print)

Whether a server speaks in the student's tokens, and tells how probable they were, shows with its answers alone. So a
few are asked for first, and judged as all of them will be (`told`): where one cannot be compared the run ends there, as
it would after all were paid, or people are told how many will be left out.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from trueseed.core.chat import Answer, ChatModel, Message, Request
from trueseed.errors import ConfigError
from trueseed.lm.format import Format
from trueseed.train.told import OTHERWISE, WORDS, Spelling, Unlike, Untold

FIRST = 8  # answers asked for at first, and as many again while none of them is whole


class FirstTold:
    """A `ChatModel` that says what `model` says. student: its format. k: how many tokens are to be told at each place.
    incomparable: as in `settings.Distil`. tell: is given a sentence for people once the first answers were compared.
    """

    def __init__(
        self,
        model: ChatModel,
        student: Format,
        *,
        k: int,
        incomparable: Literal["refuse", "drop"],
        tell: Callable[[str], None],
    ) -> None:
        self.source, self._model, self._tell = model.source, model, tell
        self._form, self._spelling, self._k = student, Spelling.of(student), k
        self._drops = incomparable == "drop"

    def answers(self, requests: Iterable[Request | None]) -> Iterator[tuple[int, Answer]]:
        """As `ChatModel.answers`. Raises `ConfigError` when one of the first answers cannot be compared and
        `incomparable` is `refuse`, or when none of them can.
        """
        first: list[Request] = []
        answered: list[tuple[Request, Answer]] = []
        most, compared = FIRST, False

        def few_first() -> Iterator[Request | None]:
            for request in requests:
                if request is not None and not compared:
                    first.append(request)
                yield request
                while len(first) == most and not compared:
                    yield None

        for position, answer in self._model.answers(few_first()):
            if not compared:
                answered.append((first[position], answer))
                if len(answered) == most:
                    compared = self._compare(answered)
                    most += FIRST
            yield position, answer
        if not compared:
            self._compare(answered)

    def stream(self, request: Request) -> Iterator[str | Answer]:
        """As `ChatModel.stream`; nothing is compared."""
        return self._model.stream(request)

    def _compare(self, answered: Iterable[tuple[Request, Answer]]) -> bool:
        """Whether any of them was whole, so that something is known now. Raises as `answers`."""
        whole = [(asked, answer) for asked, answer in answered if answer.finish == "stop" and answer.text.strip()]
        reasons = [str(why) for each in whole if (why := self._why_not(*each))]
        many = f"{len(reasons)} of the first {len(whole)} whole answers of {self.source} cannot be compared"
        if reasons and not self._drops:
            raise ConfigError(
                f"{many}, and one would end the run (`incomparable: refuse`), so no more is asked: {reasons[0]}; "
                f"{OTHERWISE}"
            )
        if reasons and len(reasons) == len(whole):
            raise ConfigError(f"{many}, so nothing would be left to learn from: {reasons[0]}; {WORDS}")
        if reasons:
            self._tell(f"{many} and will be left out (`incomparable: drop`), one because {reasons[0]}")
        elif whole:
            self._tell(f"the first {len(whole)} whole answers of {self.source} are in the student's tokens")
        return bool(whole)

    def _why_not(self, asked: Request, answer: Answer) -> Unlike | Untold | None:
        """Of the record that would be made of it."""
        chat = (*asked.messages, Message("assistant", answer.text.strip()))
        try:
            self._spelling.of_answer(answer, *self._form.training(chat), k=self._k)
        except (Unlike, Untold) as why:
            return why
        return None
