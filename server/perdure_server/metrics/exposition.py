"""Readings as Prometheus reads them: text format 0.0.4, written by prometheus-client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from perdure_server.measures import Distribution
from perdure_server.metrics.families import Family
from perdure_server.metrics.readings import Reading

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4


class _Readings(Collector):
    """Gives prometheus-client what was read already."""

    def __init__(self, readings: Sequence[Reading]) -> None:
        self._readings = readings

    def collect(self) -> Iterable[Metric]:
        """See Collector."""
        metrics: dict[Family, Metric] = {}
        for reading in self._readings:
            metric = metrics.get(reading.family)
            if metric is None:
                metric = metrics[reading.family] = _empty(reading.family)
            _add(metric, reading)
        return metrics.values()


def exposition(readings: Sequence[Reading]) -> bytes:
    """The text of all readings, and of the process itself. Any thread."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Readings(readings))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


def _empty(family: Family) -> Metric:
    if family.kind == "counter":
        return CounterMetricFamily(family.name, family.text, labels=family.labels)
    if family.kind == "gauge":
        return GaugeMetricFamily(family.name, family.text, labels=family.labels)
    return HistogramMetricFamily(family.name, family.text, labels=family.labels)


def _add(metric: Metric, reading: Reading) -> None:
    value, labels = reading.value, list(reading.labels)
    if isinstance(metric, HistogramMetricFamily) and isinstance(value, Distribution):
        metric.add_metric(labels, list(_buckets(value, reading.scale)), value.total / reading.scale)
    elif isinstance(metric, (CounterMetricFamily, GaugeMetricFamily)) and not isinstance(value, Distribution):
        metric.add_metric(labels, value)
    else:
        raise TypeError(f"{metric.name} is a {metric.type}, and its reading is {value!r}")


def _buckets(value: Distribution, scale: float) -> Iterator[tuple[str, float]]:
    """Cumulative, as Prometheus has them; the last one holds everything."""
    seen = 0
    for bound, count in zip((*value.bounds, None), value.counts, strict=True):
        seen += count
        yield "+Inf" if bound is None else repr(bound / scale), seen
