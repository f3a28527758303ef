"""What docs/how-to/beside-your-tools.md has a site write, as it stands there."""

from typing import Any

from reversion.middleware import RevisionMiddleware


def cut_query(logger: Any, name: str, event: dict[str, Any]) -> dict[str, Any]:
    if isinstance(event.get("request"), str):
        event["request"] = event["request"].partition("?")[0]
    return event


class Revisions(RevisionMiddleware):  # type: ignore[misc]
    def request_creates_revision(self, request: Any) -> bool:
        ours = ("/connections/", "/admin/connected_accounts/", "/api/connections/")
        return not request.path.startswith(ours) and super().request_creates_revision(request)


def cut_span(span: Any, request: Any) -> None:
    """For OpenTelemetry: the address of a request, without its query."""
    if span is not None and span.is_recording():
        path = getattr(request, "path", None) or request.url.partition("?")[0]
        for name in ("http.target", "http.url", "url.full", "url.query"):
            if name in (span.attributes or {}):
                span.set_attribute(name, path if name != "url.query" else "")


def cut_elastic_queries(client: Any, event: dict[str, Any]) -> dict[str, Any]:
    http = event.get("context", {}).get("http", {})
    if "url" in http:
        http["url"] = http["url"].partition("?")[0]
    return event


cut_elastic_queries.event_types = ["span"]  # type: ignore[attr-defined]
