"""canaille on SQLite, with a person, clients and a key, as its commands make them."""

import datetime
import json
import sys

from canaille import create_app
from canaille.app import models
from canaille.backends import Backend
from joserfc.jwk import RSAKey
from waitress import serve

told = json.loads(sys.argv[1])
key = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True)
app = create_app(
    {
        "SECRET_KEY": "only for the tests",
        "CANAILLE_SQL": {"DATABASE_URI": f"sqlite:///{told['folder']}/canaille.sqlite3"},
        "CANAILLE": {"DATABASE": "sql", "LOGGING": {"version": 1}},
        "CANAILLE_OIDC": {"ACTIVE_JWKS": [key.as_dict(private=True)]},
    },
    init_backend=True,
)
with app.app_context():
    Backend.instance.install(app)
with app.app_context(), Backend.instance.session():
    person = told["person"]
    ada = models.User(
        user_name=person["name"],
        formatted_name="Ada",
        family_name="Lovelace",
        emails=[person["mail"]],
        password=person["password"],
    )
    Backend.instance.save(ada)
    for known in told["clients"]:
        client = models.Client(
            client_id=known["id"],
            client_secret=known["secret"],
            client_name=known["id"],
            client_uri="https://site.example",
            client_id_issued_at=datetime.datetime.now(datetime.UTC),
            redirect_uris=[told["redirect_uri"]],
            grant_types=["authorization_code", "refresh_token"],
            response_types=["code"],
            scope=told["scope"].split(),
            token_endpoint_auth_method=known["method"],
        )
        Backend.instance.save(client)
        client.audience = [client]  # without one its id_tokens are for nobody
        Backend.instance.save(client)
print("ready", flush=True)
serve(app, host="127.0.0.1", port=told["port"], threads=4)
