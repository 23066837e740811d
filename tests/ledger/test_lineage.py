"""What made this, from what, and whose words are in it."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trueseed.errors import Broken
from trueseed.ledger.lineage import Edge, Lineage, Made
from trueseed.ledger.log import Entry
from trueseed.ledger.statement import STEP

TEACHER, JUDGE, OWN = "huggingfacetb/smollm2-135m-instruct@weights", "mistral/mistral-large@api", "own/prompts"


def done(index, inputs, outputs, labels=()):
    predicate = {
        "event": "done",
        "step": f"step{index}",
        "inputs": [
            {"kind": "dataset", **each} if isinstance(each, dict) else {"kind": "dataset", "digest": each}
            for each in inputs
        ],
        "outputs": [{"kind": "dataset", "digest": each} for each in outputs],
        "labels": [{"source": source, "relation": "output", "terms": ""} for source in labels],
    }
    return Entry(index=index, statement={"predicateType": STEP, "predicate": predicate}, envelope={}, leaf=b"")


def test_labels_are_those_of_the_closing(river, digest_of_name):
    lineage = Lineage.read(river)
    assert lineage.labels(digest_of_name("r")) == {(OWN, "output", ""), (TEACHER, "output", "a" * 64)}
    assert lineage.labels(digest_of_name("w")) > lineage.labels(digest_of_name("r"))
    assert lineage.labels("unknown") == frozenset()


def test_the_maker_is_the_closing_statement(river, digest_of_name):
    lineage = Lineage.read(river)
    maker = lineage.maker(digest_of_name("d"))
    assert maker is not None
    assert (maker.index, maker.predicate["step"]) == (5, "curate")
    assert lineage.maker("unknown") is None


def test_relatives_are_nearest_first(river, digest_of_name):
    lineage = Lineage.read(river)
    p, r, d, w = map(digest_of_name, "prdw")
    assert lineage.upstream(w) == (d, r, p)
    assert lineage.downstream(p) == (r, d, w)
    assert lineage.upstream(p) == lineage.downstream(w) == lineage.upstream("unknown") == ()


def test_the_artifacts_of_a_source(river, digest_of_name):
    lineage = Lineage.read(river)
    assert lineage.artifacts_of(JUDGE) == {digest_of_name("d"), digest_of_name("w")}
    assert lineage.artifacts_of(TEACHER) == {digest_of_name(name) for name in "rdw"}
    assert lineage.artifacts_of("nobody/nothing@api") == frozenset()


def test_artifacts_are_listed_once_and_oldest_first(river, digest_of_name):
    assert Lineage.read(river).artifacts() == (
        ("prompts", digest_of_name("p")),
        ("records", digest_of_name("r")),
        ("dataset", digest_of_name("d")),
        ("weights", digest_of_name("w")),
    )


def test_edges_name_their_step(river, digest_of_name):
    edges = Lineage.read(river).edges()
    assert edges[0] == Edge(
        input=Made("prompts", digest_of_name("p")),
        output=Made("records", digest_of_name("r")),
        role="input",
        step="generate",
        index=3,
    )
    assert [edge.step for edge in edges] == ["generate", "curate", "train"]


def test_what_only_decided_can_be_left_out():
    lineage = Lineage.read([done(0, ["a", {"digest": "b", "role": "against"}], ["c"])])
    assert lineage.upstream("c") == ("a", "b")
    assert lineage.upstream("c", roles=("input",)) == ("a",)
    assert lineage.downstream("b", roles=("input",)) == ()


def test_the_same_bytes_made_twice_carry_both_sets_of_labels():
    lineage = Lineage.read([done(0, ["a"], ["c"], ["one"]), done(1, ["b"], ["c"], ["two"])])
    assert {source for source, _, _ in lineage.labels("c")} == {"one", "two"}
    assert lineage.upstream("c") == ("a", "b")
    maker = lineage.maker("c")
    assert maker is not None
    assert maker.index == 1


def test_openings_make_nothing(door, digest_of_name):
    door.say("opened", run="r", inputs=[{"kind": "dataset", "digest": digest_of_name("d")}])
    assert Lineage.read(door.ledger).artifacts() == ()


def test_a_malformed_statement_is_broken():
    entry = done(3, ["a"], ["b"])
    del entry.statement["predicate"]["outputs"][0]["digest"]
    with pytest.raises(Broken, match="entry 3"):
        Lineage.read([entry])


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.lists(st.tuples(st.sets(st.sampled_from("abcdef")), st.sets(st.sampled_from("abcdef"), min_size=1)), max_size=8)
)
def test_upstream_and_downstream_mirror_each_other_even_in_circles(steps):
    lineage = Lineage.read(
        [done(index, sorted(inputs), sorted(outputs)) for index, (inputs, outputs) in enumerate(steps)]
    )
    for one in "abcdef":
        for other in "abcdef":
            assert (one in lineage.upstream(other)) == (other in lineage.downstream(one))
        assert one not in lineage.upstream(one)
