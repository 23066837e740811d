"""Asks far ahead of the answers, yet decides in a fixed order.

What a recipe asks next depends on the answers so far, and answers come back in an order that depends on the machine.
Here answers are handed on in the order of asking, and the recipe decides at fixed points: the n-th request is the same
on every run with the same answers, whatever their timing. So a killed run that is replayed from what is kept asks the
same requests.
"""

from collections.abc import Callable, Iterator

from trueseed.core.chat import Answer, ChatModel, Request
from trueseed.errors import TeacherError, TrueSeedError


def ask_in_order(
    teacher: ChatModel,
    want: Callable[[], Request | None],
    take: Callable[[Answer], None],
    *,
    ahead: int,
    missed: Callable[[], None] | None = None,
) -> None:
    """Asks what `want` gives and hands every answer to `take`, until nothing is wanted and nothing is outstanding.

    want: the next request, or None for "nothing until the next answer was taken"; called again and again, so None must
    change nothing. ahead: how many answers may be outstanding; more than a teacher's slots, or some of them idle.
    missed: when the teacher ends with an error, what came beyond the first gap is handed on too, and this is called in
    place of `take` for each question that stays without an answer. Raises that error, and `TeacherError` when the
    teacher stops before the last answer.
    """
    arrived: dict[int, Answer] = {}
    asked = taken = 0

    def requests() -> Iterator[Request | None]:
        nonlocal asked, taken
        while True:
            request = want() if asked - taken < ahead else None
            if request is not None:
                asked += 1
                yield request
            elif taken in arrived:
                take(arrived.pop(taken))
                taken += 1
            elif taken < asked:
                yield None
            else:
                return

    try:
        for position, answer in teacher.answers(requests()):
            arrived[position] = answer
    except TrueSeedError:
        for position in range(taken, asked) if missed else ():
            if position in arrived:
                take(arrived.pop(position))
            elif missed:
                missed()
        raise
    while taken in arrived:
        take(arrived.pop(taken))
        taken += 1
    if taken < asked:
        raise TeacherError(f"{teacher.source} stopped after {taken} of {asked} answers; the same command resumes")
