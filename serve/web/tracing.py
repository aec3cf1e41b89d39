"""Traces by OpenTelemetry, if INSWAPPER_OTEL=1; the standard OTEL_ variables say where to."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.types import Scope

from pipeline.runtime.errors import SettingsError

if TYPE_CHECKING:
    from opentelemetry.trace import Span

NOT_TRACED = "/health$,/ready$,/live$,/metrics$"
# Who asked, and the path and query themselves: a job's id opens its result. The route is kept.
PRIVATE = (
    "client.address",
    "client.port",
    "http.target",
    "http.url",
    "http.user_agent",
    "net.peer.ip",
    "net.peer.port",
    "url.full",
    "url.path",
    "url.query",
    "user_agent.original",
)


@contextmanager
def traced(app: FastAPI) -> Iterator[None]:
    """Trace the app's requests; what has not been sent is sent at the end.

    Raises SettingsError without the extra.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SettingsError(
            f"INSWAPPER_OTEL: {error.name} is not installed; pip install '.[otel]' or unset it"
        ) from None
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    FastAPIInstrumentor.instrument_app(
        app,
        tracer_provider=provider,
        server_request_hook=_hide_private,
        excluded_urls=NOT_TRACED,
        exclude_spans=["receive", "send"],
    )
    # The stack was built when the lifespan began.
    app.middleware_stack = app.build_middleware_stack()
    try:
        yield
    finally:
        FastAPIInstrumentor.uninstrument_app(app)
        provider.shutdown()


def _hide_private(span: "Span", scope: Scope) -> None:  # noqa: ARG001
    found: Any = getattr(span, "attributes", None) or {}
    for name in PRIVATE:
        if name in found:
            span.set_attribute(name, "")
