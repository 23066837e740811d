"""The law: no chain of our own transforms ever yields fewer labels, nor hides that something was taken out."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueseed.core.records import PARTS, read_parquet, write_parquet
from trueseed.curate import pipeline as curation
from trueseed.curate import redact
from trueseed.exchange.bring import Config, bring
from trueseed.exchange.hand_out import hand_out
from trueseed.generate import rewriting
from trueseed.teachers.scripted import ScriptedTeacher
from trueseed.teachers.teacher import Teacher
from trueseed.terms.model import Effect, Relation, Use
from trueseed.workspace import FLAGS, Workspace

pytest.importorskip("presidio_analyzer")
WORDS = [
    "soup",
    "tide",
    "moon",
    "bread",
    "harbour",
    "lantern",
    "winter",
    "orchard",
    "copper",
    "violin",
    "meadow",
    "fog",
]
MODEL = "huggingfacetb/smollm2-135m-instruct@weights"
answers = st.lists(
    st.permutations(WORDS).map(lambda words: " ".join([*words, "jo@example.com"])), min_size=2, max_size=3, unique=True
)
STEPS = ("redact", "curate", "curate, filtered", "merge", "split", "rewrite", "translate", "out and in", "out, in bare")


class Chain:
    """Records in a workspace, taken from step to step. carried: every label that was ever on them."""

    def __init__(self, folder: Path, said: list[str]) -> None:
        self.folder, self.place, self.number = folder, Workspace.open(folder / "work", create=True), 0
        self.carried: set = set()
        self.flags: set[str] = set()
        self.current = self.taken_in([{"prompt": "What?", "completion": each} for each in said], "own/first")
        with self.place.step("freeze", brings={"own/held-out": Relation.OUTPUT}, config={"held_out": True}) as step:
            line = json.dumps({"id": "a", "prompt": "Which is the largest number that you know?", "topic": "numbers"})
            self.held_out = step.write("prompts", lambda at: (at / "prompts.jsonl").write_text(line + "\n"), {})

    def go(self, name: str) -> None:
        self.number += 1
        self.carried |= self.place.labels(self.current)
        self.flags |= {flag for flag in FLAGS if self.current.meta.get(flag)}
        match name:
            case "redact":
                self.current = self.redacted()
            case "curate" | "curate, filtered":
                self.current = self.curated([self.current], filtered=name.endswith("filtered"))
            case "merge":
                more = [{"prompt": "Why?", "completion": f"{' '.join(WORDS)} and {self.number} more"}]
                self.current = self.curated([self.current, self.taken_in(more, f"own/other{self.number}")])
            case "split":
                self.current = self.split()
            case "rewrite" | "translate":
                self.current = self.said_anew(name)
            case _:
                self.current = self.out_and_in(bare=name.endswith("bare"))
        assert self.place.labels(self.current) >= self.carried, name
        assert self.flags <= {flag for flag in FLAGS if self.current.meta.get(flag)}, name

    def taken_in(self, rows: list[dict], source: str):
        path = self.folder / f"in{self.number}-{source[4:]}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return bring(self.place, Config(file=str(path), source=source, inherit=True)).records

    def records(self):
        return [r for part in PARTS[self.current.kind] for r in read_parquet(self.current.path(f"{part}.parquet"))]

    def as_records(self, artifacts):
        """`curate` reads records; a dataset goes on as its training part."""
        found = []
        for each in artifacts:
            if each.kind == "dataset":
                with self.place.step("part", inputs=[each], config={"n": self.number}) as step:
                    kept = list(read_parquet(step.read(each) / "train.parquet"))
                    each = step.write("records", lambda at, kept=kept: _written(kept, at), {"records": len(kept)})
            found.append(each)
        return found

    def redacted(self):
        with self.place.step("redact", inputs=[self.current], config={"n": self.number}) as step:
            return redact.redact(redact.Config(types=["EMAIL_ADDRESS"]), self.current, step)

    def curated(self, artifacts, *, filtered: bool = False):
        given = self.as_records(artifacts)
        config = curation.Config(identity_filter=filtered, near_duplicate=1.0, validation=0.0)
        with self.place.step("curate", inputs=given, against=[self.held_out], config={"n": self.number}) as step:
            return curation.curate(config, given, [], step)

    def split(self):
        """Half of it, as somebody would divide the work."""
        kept = self.records()
        with self.place.step("half", inputs=[self.current], config={"n": self.number}) as step:
            step.read(self.current)
            half = kept[: max(1, len(kept) // 2)]
            return step.write("records", lambda at: _written(half, at), {"records": len(half)})

    def said_anew(self, verb: str):
        config = rewriting.Config(**{verb: "German"})
        ask = {MODEL: Use.TRAIN}
        with self.place.step(
            verb, inputs=[self.current], ask=ask, effect=Effect.TRAIN, config={"n": self.number}
        ) as step:
            model = ScriptedTeacher(MODEL, lambda request: _backwards(request.messages[-1].content))
            return rewriting.rewrite(config, self.current, Teacher(model, step), step)

    def out_and_in(self, *, bare: bool):
        out = self.folder / f"out{self.number}.jsonl"
        hand_out(self.place, self.current, out)
        rows = [json.loads(line) for line in reversed(out.read_text().splitlines())]
        rows = [{"messages": row["messages"]} for row in rows] if bare else rows
        return self.taken_in(rows, f"own/reader{self.number}")


def _written(records, at: Path) -> None:
    write_parquet(records, at / "records.parquet")


def _backwards(asked: str) -> str:
    """Other words than the asked ones, as many as there are."""
    words = asked.replace("Write the new answer, and nothing else.", "").split("\n\n")
    text = next(part for part in reversed(words) if part.strip()).removeprefix("The answer to rewrite:\n")
    return " ".join(word[::-1] for word in text.split()) + " ."


@given(answers, st.lists(st.sampled_from(STEPS), min_size=2, max_size=4))
@settings(max_examples=2, deadline=None)
def test_no_chain_of_transforms_yields_fewer_labels(said, chain):
    with tempfile.TemporaryDirectory() as folder:
        taken = Chain(Path(folder), said)
        for name in chain:
            taken.go(name)


def test_every_transform_once_in_a_row_yields_no_fewer_labels(tmp_path):
    taken = Chain(tmp_path, [" ".join([*WORDS, "jo@example.com"]), " ".join([*reversed(WORDS), "jo@example.com"])])
    for name in STEPS:
        taken.go(name)
    assert {label.source for label in taken.place.labels(taken.current)} >= {"own/first", "own/other4", MODEL}
    assert taken.flags == set(FLAGS)
