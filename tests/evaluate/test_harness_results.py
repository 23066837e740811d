"""Files of lm-evaluation-harness: metrics from samples, and files that are wrong told by name."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trueseed.errors import Broken, ConfigError
from trueseed.evaluate import harness, harness_results
from trueseed.evaluate.harness_samples import summed

RIGHT = [1.0, 0.0, 1.0, 1.0]


def row(number: int) -> dict[str, Any]:
    return {
        "doc_id": number,
        "doc": {"question": f"Question {number}?"},
        "arguments": {"gen_args_0": {"arg_0": f"Question {number}?", "arg_1": " yes"}},
        "resps": [[["-1.5", "False"]]],
        "filter": "none",
        "metrics": ["acc"],
        "acc": RIGHT[number],
    }


def reported() -> dict[str, Any]:
    return {
        "results": {"arc": {"alias": "arc", "acc,none": 0.75, "acc_stderr,none": 0.25}},
        "n-samples": {"arc": {"original": 4, "effective": 4}},
        "n-shot": {"arc": 0},
        "versions": {"arc": 1.0},
        "higher_is_better": {"arc": {"acc": True}},
        "configs": {"arc": {"metric_list": [{"metric": "acc", "aggregation": "mean"}]}},
    }


def written(folder: Path, found: Any, rows: list[Any] | None) -> tuple[Path, list[Path]]:
    results, samples = folder / "results_1.json", folder / "samples_arc_1.jsonl"
    results.write_text(found if isinstance(found, str) else json.dumps(found))
    if rows is None:
        return results, []
    samples.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in rows))
    return results, [samples]


def of_files(folder: Path, found: Any, rows: list[Any] | None) -> harness_results.Result:
    [result], _ = harness_results.read(*written(folder, found, rows))
    return result


def test_a_metric_is_summed_again_and_its_samples_come_as_ours(tmp_path):
    result = of_files(tmp_path, reported(), [row(n) for n in (2, 0, 3, 1)])
    assert (result.metrics["acc,none"].value, result.metrics["acc,none"].method) == (0.75, "Wilson")
    assert [line["counts"]["acc,none"] for line in result.lines] == [[each, 1.0] for each in RIGHT]
    assert result.lines[0]["asked"] == [{"before": "Question 0?", "text": " yes"}]
    assert result.lines[0]["said"] == [{"nll": 1.5}]
    assert result.docs["arc:3"] == {"question": "Question 3?"}
    assert harness.without(result, {"arc:1", "arc:2"})["acc,none"]["value"] == 0.5  # type: ignore[index]


def test_without_samples_it_stays_as_it_was_reported(tmp_path):
    result = of_files(tmp_path, reported(), None)
    assert result.metrics["acc,none"].to_json() == {
        "value": 0.75, "se": 0.25, "low": 0.26, "high": 1.24, "n": 4, "method": "as reported, normal",
    }  # fmt: skip
    assert not result.kinds and not result.docs


def set_to(*keys: Any, to: Any) -> Callable[[Any], None]:
    def change(found: Any) -> None:
        for key in keys[:-1]:
            found = found[key]
        found[keys[-1]] = to

    return change


def gone(*keys: Any) -> Callable[[Any], None]:
    def change(found: Any) -> None:
        for key in keys[:-1]:
            found = found[key]
        del found[keys[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (
            set_to("results", "arc", "acc,none", to=math.nan),
            r"'results_1.json', task 'arc': acc,none is nan.*Run the task",
        ),
        (set_to("results", "arc", "acc,none", to=math.inf), "task 'arc': acc,none is inf"),
        (set_to("results", "arc", "acc,none", to=10**400), "task 'arc': acc,none is 1000"),
        (set_to("results", "arc", to=[1]), r"'results_1.json' is no results file.*results\.arc.*dictionary.*give the"),
        (set_to("results", to=[]), "results: Input should be a valid dictionary"),
        (set_to("results", to={}), "results: .*at least 1"),
        (gone("results"), "it has no `results`"),
        (set_to("n-samples", "arc", to=4), r"n-samples\.arc"),
        (set_to("n-samples", "arc", "effective", to=-4), r"n-samples\.arc\.effective"),
        (set_to("n-shot", to=[0]), "n-shot: Input should be a valid dictionary"),
        (set_to("configs", "arc", "metric_list", to="acc"), r"configs\.arc\.metric_list"),
        (set_to("higher_is_better", "arc", "acc", to="no way"), r"higher_is_better\.arc\.acc"),
    ],
)
def test_a_results_file_that_is_wrong_is_told_by_name(tmp_path, change, error):
    found = reported()
    change(found)
    with pytest.raises(ConfigError, match=error):
        of_files(tmp_path, found, None)


@pytest.mark.parametrize("text", ["", "[]", "null", '"results"', "\x00", "[" * 100_000])
def test_what_is_no_json_object_is_no_results_file(tmp_path, text):
    with pytest.raises(ConfigError, match=r"results_1\.json"):
        of_files(tmp_path, text, None)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (set_to("acc", to=math.nan), "task 'arc': acc,none: of a sample it is no number.*nan"),
        (set_to("acc", to="1"), "of a sample it is no number"),
        (set_to("doc_id", to="a"), "line 4: not a sample.*doc_id"),
        (set_to("doc_id", to=[3]), "line 4: not a sample.*doc_id"),
        (set_to("doc_id", to=0), "hold the id 0 more than once"),
        (set_to("filter", to="strict"), "filter 'none' lacks the sample 3"),
        (set_to("filter", to=None), "line 4: not a sample.*filter"),
        (gone("doc"), "line 4: not a sample.*no `doc`"),
        (gone("arguments"), "line 4: not a sample.*no `arguments`"),
        (gone("resps"), "line 4: not a sample.*no `resps`"),
        (set_to("resps", to=[]), "line 4: not a sample.*1 requests, 0 were answered"),
        (set_to("resps", to=[[["-inf", "False"]]]), "line 4: not a sample.*log-likelihood is -inf"),
        (set_to("resps", to=[[["much", "False"]]]), "line 4: not a sample"),
        (set_to("doc", "question", to="\ud800"), "line 4: not a sample.*surrogates"),
    ],
)
def test_a_samples_file_that_is_wrong_is_told_by_its_line(tmp_path, change, error):
    rows = [row(n) for n in range(4)]
    change(rows[3])
    with pytest.raises(ConfigError, match=error):
        of_files(tmp_path, reported(), rows)


def test_one_sample_alone_has_no_interval_and_is_refused(tmp_path):
    found = reported()
    found["n-samples"]["arc"]["effective"] = 1
    with pytest.raises(ConfigError, match=r"task 'arc': 1 sample is logged.*--limit 2"):
        of_files(tmp_path, found, [row(0)])


def test_samples_that_are_fewer_than_reported_are_noticed(tmp_path):
    found = reported()
    found["results"]["arc"]["acc,none"] = 0.5
    with pytest.raises(Broken, match="4 samples are reported, and 2 are logged"):
        of_files(tmp_path, found, [row(0), row(1)])


def test_a_samples_file_goes_to_the_longest_name_that_it_begins_with(tmp_path):
    found = reported()
    found["results"]["arc_easy"] = {"acc,none": 0.5, "acc_stderr,none": 0.3}
    results, _ = written(tmp_path, found, None)
    samples = tmp_path / "samples_arc_easy_1.jsonl"
    samples.write_text(json.dumps(row(0)) + "\n" + json.dumps(row(1)) + "\n")
    arc, easy = harness_results.read(results, [samples])[0]
    assert (len(arc.lines), len(easy.lines)) == (0, 2)
    with pytest.raises(ConfigError, match="given before"):
        harness_results.read(results, [samples, samples])
    samples.write_text("\n")
    with pytest.raises(ConfigError, match="holds no samples"):
        harness_results.read(results, [samples])


def test_metrics_are_summed_as_the_harness_sums_them():
    metrics = pytest.importorskip("lm_eval.api.metrics", reason="lm-evaluation-harness is not installed")
    weighted, single = [[-30.5, 9], [-12.25, 4], [-80.0, 31]], [-3.5, -0.25, -1.0]
    for metric, values, of in (
        ("word_perplexity", weighted, metrics.weighted_perplexity),
        ("bits_per_byte", weighted, metrics.bits_per_byte),
        ("perplexity", single, metrics.perplexity),
        ("acc", single, metrics.mean),
    ):
        found = summed(metric, values, "")
        assert found is not None and found.sure
        assert found.value == pytest.approx(of(values))


def test_verdicts_of_several_parts_are_one_share_where_that_is_what_was_reported(tmp_path):
    found, rows = reported(), [row(n) for n in range(4)]
    for each, parts in zip(rows, ([True, False], [True], [False, False, True], [True]), strict=True):
        each["acc"] = parts
    found["configs"]["arc"]["metric_list"][0]["aggregation"] = "def agg_inst_level_acc(items):\n    flat = ..."
    found["results"]["arc"]["acc,none"] = 4 / 7
    result = of_files(tmp_path, found, rows)
    assert result.lines[2]["counts"]["acc,none"] == [1.0, 3.0]
    assert (result.metrics["acc,none"].value, result.metrics["acc,none"].method) == (4 / 7, "Wilson, effective n")
    found["results"]["arc"]["acc,none"] = 0.9  # by a function that is another
    assert of_files(tmp_path, found, rows).metrics["acc,none"].method == "as reported, normal"


@pytest.mark.parametrize(
    ("aggregation", "values"), [("f1", [[1, 0], [1, 1]]), ("median", [0.5, 0.75]), ("mean", [[1]])]
)
def test_a_metric_in_which_samples_have_no_part_is_not_summed(aggregation, values):
    assert summed("any", values, aggregation) is None


def test_it_is_known_of_which_metrics_less_is_better(tmp_path):
    found = reported()
    found["higher_is_better"]["arc"]["acc"] = False
    assert of_files(tmp_path, found, None).lower == ["acc,none"]
