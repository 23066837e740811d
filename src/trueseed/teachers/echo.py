"""How probable a model behind an API finds a text that is given: by `echo` of `/completions`, as vLLM, `trueseed serve`
and other servers of one's own tell it. Providers of chat models do not.

    scored = Echo(teacher).follow([("The capital of France is", " Paris")])
    scored[0].nll, scored[0].tokens

Each text is a call of its own, under the step, the allowance and the holds of whoever is asked, and is kept like every
answer. What cannot be told is an error, and never a number.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from trueseed.core.chat import ChatModel, Request
from trueseed.errors import ConfigError, TeacherError


@dataclass(frozen=True, slots=True)
class Echoed:
    """Total negative log-likelihood of a text in nats, and its number of tokens, as the server divides it."""

    nll: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Echo:
    """model: bound to the step."""

    model: ChatModel

    def follow(self, pairs: Iterable[tuple[str, str]]) -> list[Echoed]:
        """Each second text after the first, as plain text. Blanks that the first ends in count to the second, as for
        weights that are here (`lm.format.Format.plain`).

        Raises `ConfigError` when the server does not tell it, `TeacherError` when it left one out.
        """
        asked = [_request(before, text) for before, text in pairs]
        found: dict[int, Echoed] = {}
        try:
            for place, answer in self.model.answers(asked):
                if answer.finish == "skipped":
                    raise TeacherError(
                        f"{self.model.source} did not say how likely it finds {str(asked[place].continues)[-40:]!r}: "
                        f"{answer.because}. The others cannot be scored without it; the same command asks again"
                    )
                found[place] = Echoed(-sum(each.logprob for each in answer.logprobs), len(answer.logprobs))
        except ConfigError as err:
            raise ConfigError(
                f"{self.model.source!r} does not say how likely it finds a given text: {err}. Take a task whose scorer "
                f"reads answers, or weights that are here"
            ) from err
        if silent := [place for place, each in found.items() if not each.tokens]:
            raise ConfigError(f"{self.model.source!r} told nothing of {str(asked[silent[0]].continues)[-40:]!r}")
        if len(found) < len(asked):
            raise TeacherError(f"{self.model.source} told {len(found)} of {len(asked)}; the same command resumes")
        return [found[place] for place in range(len(asked))]


def _request(before: str, text: str) -> Request:
    kept = before.rstrip()
    return Request(messages=(), continues=before + text, echo=len(kept), max_tokens=1, temperature=0.0)
