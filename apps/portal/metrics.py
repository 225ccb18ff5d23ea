"""The portal's figures as Prometheus reads them. Labels hold no names but those of servers, and never a person's."""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from apps.grants.states import OVER, EndCause, GrantStatus
from apps.portal.figures import Figures


class _Portal(Collector):
    """Reads rows while it is scraped, so that all processes say the same and none has to remember anything."""

    def collect(self) -> Iterator[Metric]:
        figures = Figures()
        yield from _grants(figures)
        yield from _servers(figures)
        yield from _processes(figures)
        yield _gauge("record_entries", "Entries of the record.", figures.record_entries)
        yield _gauge("reviews_open", "Times the glass was broken and nobody has judged it yet.", figures.open_reviews)
        yield _gauge("unconfirmed", "1 while an operator must confirm a restored portal.", figures.unconfirmed)


def exposition() -> bytes:
    registry = CollectorRegistry()
    registry.register(_Portal())
    return generate_latest(registry)


def _grants(figures: Figures) -> Iterator[Metric]:
    by_status = dict.fromkeys(GrantStatus.values, 0)
    ended = dict.fromkeys(EndCause.values, 0)
    for row in figures.grants:
        by_status[row.status] += row.grants
        if row.status in OVER and row.cause:
            ended[row.cause] += row.grants
    yield _gauges("grants", "Grants by status.", "status", by_status)
    yield _gauge("grants_late", "Access that should be gone and is not proven to be.", len(figures.late_since))
    yield _gauge("grants_late_oldest_seconds", "For how long the oldest has been late.", figures.oldest_late_seconds)
    yield _count("grants_issued", "Logins opened.", sum(row.issued for row in figures.grants))
    family = CounterMetricFamily("jitportal_grants_ended", "Grants proven gone, by why they ended.", labels=["cause"])
    for cause, number in ended.items():
        family.add_metric([cause], number)
    yield family
    cut = sum(row.sessions_cut for row in figures.grants)
    yield _count("sessions_cut", "Sessions ended because they stood in others' way.", cut)


def _servers(figures: Figures) -> Iterator[Metric]:
    unreachable = dict.fromkeys(figures.reconciled, 0.0) | figures.unreachable
    yield _gauge("servers_unreachable", "Servers that do not answer.", len(figures.unreachable))
    yield _gauges("server_unreachable_seconds", "For how long a server has not answered.", "server", unreachable)
    yield _gauges("server_reconciled_seconds", "Since it was last reconciled.", "server", figures.reconciled)
    strays = dict.fromkeys(figures.reconciled, 0) | figures.strays
    yield _gauges("server_strays", "Logins that the portal does not know.", "server", strays)


def _processes(figures: Figures) -> Iterator[Metric]:
    yield _gauges("queue_length", "Tasks in a queue.", "cluster", figures.queues)
    yield _gauges("heartbeat_age_seconds", "Since a kind of process last worked.", "process", figures.hearts)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"jitportal_{name}", text, value=float(value))


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"jitportal_{name}", text, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family


def _count(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"jitportal_{name}", text, value=value)
