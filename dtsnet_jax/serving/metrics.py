"""What a server tells of itself to Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Counts photographs by detector, and requests."""

    def __init__(self):
        self._registry = CollectorRegistry()
        labels = ["detector"]

        def new(kind, name: str, text: str, labels=(), **options):
            return kind(f"dtsnet_{name}", text, labels, registry=self._registry, **options)

        self._latency = new(
            Histogram, "latency_seconds", "From the photograph's arrival to its answer", labels,
            buckets=_SECONDS,
        )  # fmt: skip
        self._outcomes = new(
            Counter, "photographs", "Photographs by what became of them", [*labels, "outcome"]
        )
        self._drift = new(Gauge, "drift", "1 while photographs look unlike those learned", labels)
        self._refused = new(Counter, "refused", "Requests refused with 503")
        self._requests = new(Gauge, "requests", "Requests that wait or are worked on")

    def count(self, detector: str, outcome: str, drift: bool, seconds: float) -> None:
        """Counts a photograph that was scored or could not be."""
        self._latency.labels(detector).observe(seconds)
        self._outcomes.labels(detector, outcome).inc()
        if outcome != "error":
            self._drift.labels(detector).set(drift)

    def refuse(self) -> None:
        """Counts a request for which there is no room."""
        self._refused.inc()

    def set_requests(self, number: int) -> None:
        """Tells how many requests are under way."""
        self._requests.set(number)

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)
