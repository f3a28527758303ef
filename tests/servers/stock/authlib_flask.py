"""Authlib's authorization server with Flask and SQLAlchemy: its shipped tables and functions, and
the grants as its documentation writes them."""

import json
import sys
import time
from types import SimpleNamespace

from authlib.integrations.flask_oauth2 import AuthorizationServer, ResourceProtector
from authlib.integrations.sqla_oauth2 import (
    OAuth2AuthorizationCodeMixin,
    OAuth2ClientMixin,
    OAuth2TokenMixin,
    create_bearer_token_validator,
    create_query_client_func,
    create_revocation_endpoint,
    create_save_token_func,
)
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import grants
from authlib.oauth2.rfc7636 import CodeChallenge
from flask import Flask, request
from sqlalchemy import Column, Integer, create_engine
from sqlalchemy.orm import DeclarativeBase, scoped_session, sessionmaker
from waitress import serve

told = json.loads(sys.argv[1])
app = Flask(__name__)
app.config["OAUTH2_REFRESH_TOKEN_GENERATOR"] = True
engine = create_engine(f"sqlite:///{told['folder']}/authlib.sqlite3")
session = scoped_session(sessionmaker(engine))
ADA = SimpleNamespace(id=1, get_user_id=lambda: 1)


class Base(DeclarativeBase):
    pass


class Client(Base, OAuth2ClientMixin):
    __tablename__ = "client"
    id = Column(Integer, primary_key=True)


class Code(Base, OAuth2AuthorizationCodeMixin):
    __tablename__ = "code"
    id = Column(Integer, primary_key=True)
    user_id = Column(Integer)


class Token(Base, OAuth2TokenMixin):
    __tablename__ = "token"
    id = Column(Integer, primary_key=True)
    user_id = Column(Integer)


class AuthorizationCodeGrant(grants.AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]

    def save_authorization_code(self, code, request):
        payload = request.payload
        kept = Code(
            code=code,
            client_id=request.client.client_id,
            redirect_uri=payload.redirect_uri,
            scope=payload.scope,
            user_id=request.user.id,
            code_challenge=payload.data.get("code_challenge"),
            code_challenge_method=payload.data.get("code_challenge_method"),
        )
        session.add(kept)
        session.commit()

    def query_authorization_code(self, code, client):
        kept = session.query(Code).filter_by(code=code, client_id=client.client_id).first()
        return kept if kept and not kept.is_expired() else None

    def delete_authorization_code(self, authorization_code):
        session.delete(authorization_code)
        session.commit()

    def authenticate_user(self, authorization_code):
        return ADA


class RefreshTokenGrant(grants.RefreshTokenGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token):
        token = session.query(Token).filter_by(refresh_token=refresh_token).first()
        return token if token and not token.refresh_token_revoked_at else None

    def authenticate_user(self, refresh_token):
        return ADA

    def revoke_old_credential(self, refresh_token):
        now = int(time.time())
        refresh_token.access_token_revoked_at = now
        refresh_token.refresh_token_revoked_at = now
        session.commit()


server = AuthorizationServer(
    app,
    query_client=create_query_client_func(session, Client),
    save_token=create_save_token_func(session, Token),
)
server.register_grant(AuthorizationCodeGrant, [CodeChallenge(required=True)])
server.register_grant(RefreshTokenGrant)
Revocation = create_revocation_endpoint(session, Token)
Revocation.CLIENT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]
server.register_endpoint(Revocation)
guard = ResourceProtector()
guard.register_token_validator(create_bearer_token_validator(session, Token)())


@app.get("/authorize")
def ask():
    try:
        server.get_consent_grant(end_user=ADA)
    except OAuth2Error as error:
        return server.handle_error_response(server.create_oauth2_request(None), error)
    buttons = (
        '<button name="allow" value="yes">Yes</button><button name="deny" value="yes">No</button>'
    )
    return f'<form method="post">{buttons}</form>'


@app.post("/authorize")
def answer():
    grant = server.get_consent_grant(end_user=ADA)
    agreed = ADA if "allow" in request.form else None
    return server.create_authorization_response(grant_user=agreed, grant=grant)


@app.post("/token")
def token():
    return server.create_token_response()


@app.post("/revoke")
def revoke():
    return server.create_endpoint_response("revocation")


@app.get("/me")
@guard()
def me():
    return {"sub": "1", "email": "ada@example.org"}


@app.teardown_appcontext
def close(error=None):
    session.remove()


Base.metadata.create_all(engine)
for known in told["clients"]:
    client = Client(client_id=known["id"], client_secret=known["secret"])
    client.set_client_metadata(
        {
            "redirect_uris": [told["redirect_uri"]],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "scope": told["scope"],
            "token_endpoint_auth_method": known["method"],
        }
    )
    session.add(client)
session.commit()
print("ready", flush=True)
serve(app, host="127.0.0.1", port=told["port"], threads=4)
