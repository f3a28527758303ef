"""oauth2-capture: ``OAuthToken``, a row for each grant (0.1.8 and 0.6.0, which are alike in it)."""

from typing import Any

from connected_accounts.importers.rows import ForeignGrant, Source, label_of


class OAuth2Capture(Source):
    name = "oauth2-capture"
    app = "oauth2_capture"
    model_name = "oauth2_capture.OAuthToken"
    columns = ("access_token", "refresh_token")

    def read(self, row: Any) -> ForeignGrant:
        return ForeignGrant(
            pk=row.pk,
            user_pk=row.owner_id,
            provider=row.provider,
            subject=row.user_id,
            label=label_of(row.profile_json, {"name": row.name}),
            payload=self.payload(row),
            expires_at=row.expires_at,
            refresh_token_expires_at=row.refresh_token_expires_at,
            connected_at=row.created_at,
        )

    def payload(self, row: Any) -> dict[str, Any]:
        return {
            "access_token": row.access_token,
            "refresh_token": row.refresh_token,
            "token_type": row.token_type or None,
            "scope": row.scope or None,
        }

    def empty(self, row: Any) -> None:
        row.access_token = row.refresh_token = ""
