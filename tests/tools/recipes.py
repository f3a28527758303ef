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


def show_toolbar(request: Any) -> bool:
    from debug_toolbar.middleware import show_toolbar as shown_to_developers

    ours = ("/connections/", "/admin/connected_accounts/", "/api/connections/")
    return not request.path.startswith(ours) and shown_to_developers(request)


def cut_span(span: Any, request: Any) -> None:
    if span is not None and span.is_recording():
        path = getattr(request, "path", None) or request.url.partition("?")[0]
        for name in ("http.target", "http.url", "url.full", "url.query"):
            if name in (span.attributes or {}):
                span.set_attribute(name, path if name != "url.query" else "")


def cut_elastic(client: Any, event: dict[str, Any]) -> dict[str, Any]:
    for name, value in event.items():
        if name.lower() == "cookie":
            event[name] = "[REDACTED]"
        elif name.lower() in ("location", "url") and isinstance(value, str):
            event[name] = value.partition("?")[0]
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                cut_elastic(client, one)
    return event
