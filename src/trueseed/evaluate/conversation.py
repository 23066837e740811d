"""What a judge is shown of a question of several turns: all of them, with all that the model answered so far.

    talk = Conversations(samples)
    talk.question(sample), talk.said(sample, answers), talk.reference(sample)

Of a question of one turn these are the question, the answer, and the reference, as they are. MT-bench shows its judges
the same (Zheng et al. 2023, appendix A): the second turn is judged with the first before it.
"""

from collections.abc import Mapping, Sequence

from trueseed.evaluate.formats.mt_bench import in_turns
from trueseed.evaluate.formats.row import REFERENCE
from trueseed.evaluate.sample import Sample
from trueseed.evaluate.task import OPEN, Task


class Conversations:
    """The samples of a task. references: whether judges are shown those that the rows hold."""

    def __init__(self, samples: Sequence[Sample], *, references: bool = False) -> None:
        self._by_id = {sample.id: sample for sample in samples}
        self._references = references

    @classmethod
    def of(cls, task: Task) -> "Conversations":
        """A gold row's reference is what its judge is tried on, and is shown to none."""
        return cls(task.samples, references=task.scorer.name == OPEN)

    def sample(self, name: str) -> Sample:
        return self._by_id[name]

    def turns(self, sample: Sample) -> tuple[Sample, ...]:
        """From the first to this one."""
        return (*self.turns(self._by_id[sample.follows]), sample) if sample.follows else (sample,)

    def first(self, sample: Sample) -> str:
        """The prompt that a conversation began with: samples of one are not independent."""
        return self.turns(sample)[0].prompt

    def question(self, sample: Sample) -> str:
        return in_turns([each.prompt for each in self.turns(sample)])

    def said(self, sample: Sample, answers: Mapping[str, str]) -> str:
        """answers: of one model, by sample."""
        return in_turns([answers[each.id] for each in self.turns(sample)])

    def reference(self, sample: Sample) -> str:
        """'' where there is none for this turn."""
        if not self._references or not sample.row.get(REFERENCE):
            return ""
        return in_turns([str(each.row.get(REFERENCE, "")) for each in self.turns(sample)])
