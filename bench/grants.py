"""Grants straight into the sandbox's tables, as if so many people had connected.

``python -m bench.grants DATABASE COUNT [PERSON]`` prints a JSON list of
[access token, refresh token].
"""

import json
import os
import sys
import uuid
from datetime import timedelta


def make(count: int, person: str) -> list[tuple[str, str]]:
    from django.contrib.auth import get_user_model
    from django.utils import timezone
    from oauth2_provider.models import (
        get_access_token_model,
        get_application_model,
        get_refresh_token_model,
    )
    from oauthlib.common import generate_token

    access, refresh = get_access_token_model(), get_refresh_token_model()
    common = {
        "user": get_user_model().objects.get(username=person),
        "application": get_application_model().objects.get(client_id="badgr-demo"),
    }
    expires = timezone.now() + timedelta(hours=1)
    bearers = access.objects.bulk_create(
        access(token=generate_token(), expires=expires, scope="r:profile r:backpack", **common)
        for _ in range(count)
    )
    grants = refresh.objects.bulk_create(
        refresh(token=generate_token(), access_token=bearer, token_family=uuid.uuid4(), **common)
        for bearer in bearers
    )
    return [(grant.access_token.token, grant.token) for grant in grants]


def main() -> None:
    database, count, *person = sys.argv[1:]
    os.environ["SANDBOX_DATABASE"] = database
    os.environ["DJANGO_SETTINGS_MODULE"] = "example_project.sandbox.settings"
    import django

    django.setup()
    json.dump(make(int(count), *(person or ["ada"])), sys.stdout)


if __name__ == "__main__":
    main()
