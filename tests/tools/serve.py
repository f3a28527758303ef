"""What gunicorn and uvicorn serve; OpenTelemetry is set up before Django's handler is made."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.tools.settings")

if os.environ["TOOL"] == "otel":
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.django import DjangoInstrumentor
    from opentelemetry.instrumentation.logging import LoggingInstrumentor
    from opentelemetry.instrumentation.requests import RequestsInstrumentor
    from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
    from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    from tests.tools.recipes import cut_span

    recipe = os.environ["RECIPE"] == "1"
    exporter = OTLPSpanExporter(endpoint=f"{os.environ['COLLECTOR']}/v1/traces")
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    hook = {"request_hook": cut_span} if recipe else {}
    DjangoInstrumentor().instrument(**hook)
    RequestsInstrumentor().instrument(**hook)
    filters = {"url_filter": lambda url: url.partition("?")[0]} if recipe else {}
    URLLib3Instrumentor().instrument(**filters)
    SQLite3Instrumentor().instrument()
    LoggingInstrumentor().instrument()

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application

wsgi, asgi = get_wsgi_application(), get_asgi_application()
