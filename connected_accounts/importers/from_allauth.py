"""django-allauth: ``SocialToken`` with its ``SocialAccount`` and ``SocialApp`` (65.21 was read).

A token is kept only with ``SOCIALACCOUNT_STORE_TOKENS``. ``token_secret`` of an OAuth 2.0 provider
is the refresh token; for one that speaks OAuth 1.0 it is not, and it must not be mapped to a
provider here. What was granted is not kept.
"""

from typing import Any

from connected_accounts.importers.rows import ForeignGrant, Source, label_of


class Allauth(Source):
    name = "allauth"
    app = "allauth.socialaccount"
    model_name = "socialaccount.SocialToken"
    related = ("account", "app")
    columns = ("token", "token_secret")

    def read(self, row: Any) -> ForeignGrant:
        account = row.account
        return ForeignGrant(
            pk=row.pk,
            user_pk=account.user_id,
            provider=account.provider,
            subject=account.uid,
            label=label_of(account.extra_data),
            payload=self.payload(row),
            expires_at=row.expires_at,
            connected_at=account.date_joined,
            # None where the app stands in settings: then only those know its client id.
            client_id=row.app.client_id if row.app is not None else "",
        )

    def payload(self, row: Any) -> dict[str, Any]:
        return {"access_token": row.token, "refresh_token": row.token_secret}

    def empty(self, row: Any) -> None:
        row.token = row.token_secret = ""
