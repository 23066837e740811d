"""What is counted, for Prometheus. Labels are sources, uses and codes: no key, project or text.

Of several workers each counts into a file of its own, in the folder that the environment names before prometheus_client
is imported, and whoever is asked adds them up; those of workers that died still count, but for their calls in flight.
"""

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's name for it
_ADDED_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2)


class Metrics:
    """Counters of one process; `text` is of all that share the port, of others as of their last `count`."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._calls = Counter(
            "trueseed_gateway_calls",
            "Calls that were forwarded, by how they ended",
            ("source", "use", "end"),
            registry=self._registry,
        )
        self.refused = Counter(
            "trueseed_gateway_refused",
            "Requests that were not forwarded, by the error's code",
            ("code",),
            registry=self._registry,
        )
        self._tokens = Counter("trueseed_gateway_tokens", "Tokens charged", ("source", "use"), registry=self._registry)
        self._micros = Counter(
            "trueseed_gateway_micros", "Millionths of a US dollar charged", ("source", "use"), registry=self._registry
        )
        self.in_flight = Gauge(
            "trueseed_gateway_in_flight", "Calls in flight", registry=self._registry, multiprocess_mode="livesum"
        )
        self._admission = Histogram(
            "trueseed_gateway_admission_seconds",
            "From the request to its leave",
            buckets=_ADDED_S,
            registry=self._registry,
        )
        self._settlement = Histogram(
            "trueseed_gateway_settlement_seconds",
            "From the answer's end to its release",
            buckets=_ADDED_S,
            registry=self._registry,
        )

        self._admitted: list[float] = []
        self._settled: list[tuple[str, str, str, int, int, float]] = []

    def admitted(self, seconds: float) -> None:
        """Counts a call that may leave. seconds: from the request to its leave."""
        self._admitted.append(seconds)

    def settled(self, source: str, use: str, end: str, *, tokens: int, micros: int, seconds: float) -> None:
        """Counts a call that came back. seconds: from the end of its answer to its release."""
        self._settled.append((source, use, end, tokens, micros, seconds))

    def count(self) -> None:
        """What was told since the last time: a call need not wait for prometheus_client, which takes as long as to read
        its answer. In the loop's thread.
        """
        admitted, self._admitted = self._admitted, []
        for seconds in admitted:
            self._admission.observe(seconds)
        settled, self._settled = self._settled, []
        for source, use, end, tokens, micros, seconds in settled:
            self._calls.labels(source, use, end).inc()
            self._tokens.labels(source, use).inc(tokens)
            self._micros.labels(source, use).inc(micros)
            self._settlement.observe(seconds)

    def text(self) -> bytes:
        self.count()
        if FOLDER not in os.environ:
            return generate_latest(self._registry)
        all_of_them = CollectorRegistry()
        MultiProcessCollector(all_of_them)  # type: ignore[no-untyped-call]
        return generate_latest(all_of_them)
