"""The hub of JupyterHub with the site as its service. No proxy and no notebook is started."""

import json
import os
import sys
from pathlib import Path

from jupyterhub.app import main
from jupyterhub.proxy import Proxy

told = json.loads(sys.argv[1])
folder = Path(told["folder"])


class NoProxy(Proxy):
    """The person's browser speaks to the hub itself."""

    should_start = False

    async def add_route(self, routespec, target, data):
        pass

    async def delete_route(self, routespec):
        pass

    async def get_all_routes(self):
        return {}


SITE = {"id": "service-site", "secret": told["clients"][0]["secret"]}
CONFIGURATION = f"""
from __main__ import NoProxy

c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.hub_bind_url = {told["url"]!r}
c.JupyterHub.db_url = "sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{folder}/cookie_secret"
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = {told["person"]["password"]!r}
c.Authenticator.allowed_users = {{{told["person"]["name"]!r}}}
c.JupyterHub.services = [
    {{
        "name": "site",
        "api_token": {SITE["secret"]!r},
        "oauth_client_id": {SITE["id"]!r},
        "oauth_redirect_uri": {told["redirect_uri"]!r},
        "oauth_client_allowed_scopes": ["self"],
    }}
]
c.JupyterHub.load_roles = [{{"name": "user", "scopes": ["self", "access:services!service=site"]}}]
"""
file = folder / "jupyterhub_config.py"
file.write_text(CONFIGURATION)
os.chdir(folder)
print("ready", json.dumps({"main": SITE}), flush=True)
main(["-f", str(file)])
