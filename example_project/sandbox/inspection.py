"""What tests and the demo may ask of the sandbox itself. Tells counts and names, no tokens."""

from typing import Any

from django.contrib.auth import get_user_model
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from .dialects import DIALECTS, Dialect
from .grants import count_alive, kill_grants
from .models import Tally
from .oauth import COUNTED_GRANT_TYPES


def state_of(dialect: Dialect) -> dict[str, Any]:
    """All token requests count, refused ones too; a revocation counts when it found its token."""
    alive = count_alive(dialect)
    tallies = Tally.objects.filter(dialect=dialect.name).values_list("event", "count")
    counts: dict[str, int] = dict(tallies)
    return {
        "alive_grants": alive.total(),
        "alive_by_user": {name: n for name, n in alive.items() if name is not None},
        "token_requests": {name: counts.get(name, 0) for name in COUNTED_GRANT_TYPES},
        "failed_token_requests": counts.get("failed_token_request", 0),
        "revocations": counts.get("revocation", 0),
        "reuse_detected": counts.get("reuse_detected", 0),
        "sent_while_pending": counts.get("sent_while_pending", 0),
        "discoveries": counts.get("discovery", 0),
        "registrations": counts.get("registration", 0),
    }


@require_GET
def state(request: HttpRequest) -> HttpResponse:
    return JsonResponse({name: state_of(dialect) for name, dialect in DIALECTS.items()})


@csrf_exempt
@require_POST
def revoke_user(request: HttpRequest, username: str, dialect_name: str) -> HttpResponse:
    """As if that person had removed the client in the provider's settings."""
    if dialect_name not in DIALECTS:
        raise Http404
    user = get_object_or_404(get_user_model(), username=username)
    return JsonResponse({"revoked": kill_grants(DIALECTS[dialect_name], user)})
