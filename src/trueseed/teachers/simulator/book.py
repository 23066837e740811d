"""What the provider believes: the calls it bills, by minute, key, model and dialect.

A call is billed exactly when its answer was produced: after the latency and before its first byte leaves. It is billed
although the client has hung up by then, and whatever becomes of the bytes. What was refused or failed before that is
not billed. Streams are billed whole. The usage endpoint has the shape of OpenAI's `/v1/organization/usage/completions`.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

_WIDTHS_S = {"1m": 60, "1h": 3600, "1d": 86400}
_BUCKETS = {"1m": (60, 1440), "1h": (24, 168), "1d": (7, 31)}  # by default, and at most (OpenAI's reference)
_COLUMNS = ("date", "model", "api_key_id", "dialect", "num_model_requests", "input_tokens", "output_tokens")
_GROUPS = ("model", "api_key_id", "project_id", "user_id", "batch", "service_tier")


def key_id(key: str) -> str:
    """What a key is called in the usage; the key cannot be found from it."""
    return f"key_{sha256(key.encode(errors='replace')).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class Line:
    """Where a bill is entered. minute: Unix time of its beginning."""

    minute: int
    model: str
    key: str
    dialect: str


@dataclass(slots=True)
class Sum:
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, calls: int, prompt_tokens: int, completion_tokens: int) -> None:
        self.calls += calls
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens


@dataclass(slots=True)
class Book:
    """lines: what was billed where. questions: how often each question was billed, by its identity."""

    lines: dict[Line, Sum] = field(default_factory=dict)
    questions: Counter[bytes] = field(default_factory=Counter)
    total: Sum = field(default_factory=Sum)

    def bill(self, line: Line, question: bytes, prompt_tokens: int, completion_tokens: int) -> None:
        self.lines.setdefault(line, Sum()).add(1, prompt_tokens, completion_tokens)
        self.total.add(1, prompt_tokens, completion_tokens)
        self.questions[question] += 1

    def by(self, column: str) -> dict[str, int]:
        """Billed calls by `model`, `key` or `dialect`."""
        counted: Counter[str] = Counter()
        for line, billed in self.lines.items():
            counted[getattr(line, column)] += billed.calls
        return dict(counted)

    def usage(self, query: Mapping[str, list[str]], now: float) -> dict[str, Any]:
        """One page of OpenAI's usage. query: the parameters of the URL; now: Unix time. Raises `ValueError`."""
        width = query.get("bucket_width", ["1d"])[0]
        if width not in _WIDTHS_S:
            raise ValueError(f"Invalid 'bucket_width': {width!r}; it is one of {', '.join(_WIDTHS_S)}.")
        if "start_time" not in query:
            raise ValueError("Missing required parameter: 'start_time'.")
        usual, most = _BUCKETS[width]
        step, limit = _WIDTHS_S[width], min(most, int(query.get("limit", [str(usual)])[0]))
        start = int(query.get("page", query["start_time"])[0].removeprefix("page_")) // step * step
        end = min(int(query.get("end_time", [str(int(now) + 1)])[0]), int(now) + step)
        begins = range(start, end, step)
        groups = [name for name in _GROUPS if name in _listed(query, "group_by")]
        lines = list(self._chosen(query))
        more = len(begins) > limit
        return {
            "object": "page",
            "data": [_bucket(begin, begin + step, lines, groups) for begin in begins[:limit]],
            "has_more": more,
            "next_page": f"page_{begins[limit]}" if more else None,
        }

    def _chosen(self, query: Mapping[str, list[str]]) -> Iterator[tuple[Line, Sum]]:
        models, keys = _listed(query, "models"), _listed(query, "api_key_ids")
        for line, billed in self.lines.items():
            if (not models or line.model in models) and (not keys or line.key in keys):
                yield line, billed

    def export(self) -> str:
        """CSV, a line for each day, model, key and dialect."""
        days: dict[tuple[str, str, str, str], Sum] = {}
        for line, billed in self.lines.items():
            day = datetime.fromtimestamp(line.minute, UTC).strftime("%Y-%m-%d")
            at = (day, line.model, line.key, line.dialect)
            days.setdefault(at, Sum()).add(billed.calls, billed.prompt_tokens, billed.completion_tokens)
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(_COLUMNS)
        for at, billed in sorted(days.items()):
            table.writerow([*at, billed.calls, billed.prompt_tokens, billed.completion_tokens])
        return text.getvalue()


def _listed(query: Mapping[str, list[str]], name: str) -> list[str]:
    """Clients write lists as `name=a&name=b` or `name[]=a`."""
    return [*query.get(name, ()), *query.get(f"{name}[]", ())]


def _bucket(start: int, end: int, lines: list[tuple[Line, Sum]], groups: list[str]) -> dict[str, Any]:
    sums: dict[tuple[str | None, ...], Sum] = {}
    for line, billed in lines:
        if start <= line.minute < end:
            known = {"model": line.model, "api_key_id": line.key}
            group = tuple(known.get(name) for name in groups)
            sums.setdefault(group, Sum()).add(billed.calls, billed.prompt_tokens, billed.completion_tokens)
    results = [_result(dict(zip(groups, group, strict=True)), billed) for group, billed in sums.items()]
    return {"object": "bucket", "start_time": start, "end_time": end, "results": results}


def _result(group: Mapping[str, str | None], billed: Sum) -> dict[str, Any]:
    return {
        "object": "organization.usage.completions.result",
        "input_tokens": billed.prompt_tokens,
        "output_tokens": billed.completion_tokens,
        "input_cached_tokens": 0,
        "input_audio_tokens": 0,
        "output_audio_tokens": 0,
        "num_model_requests": billed.calls,
        **{name: group.get(name) for name in _GROUPS},
    }
