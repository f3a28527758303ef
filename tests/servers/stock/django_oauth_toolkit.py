"""django-oauth-toolkit as it comes: the project of ``tests.servers.plain_server``."""

import argparse
import json
import os
import sys

from tests.servers.plain_server.__main__ import prepare, serve

told = json.loads(sys.argv[1])
os.environ["PLAIN_SERVER_TOOLKIT"] = json.dumps(told.get("toolkit", {}))
prepare(
    argparse.Namespace(
        database=f"{told['folder']}/oauth-toolkit.sqlite3",
        redirect_uri=[told["redirect_uri"]],
        clients=[(client["id"], client["secret"]) for client in told["clients"]],
        person=(told["person"]["name"], told["person"]["password"]),
    )
)
serve(told["port"])
