#!/usr/bin/env bash
# A connection class given to a requests adapter is left out behind a proxy.
#
# The usual way to watch every call of a session (to note when its bytes leave, to bound it, to
# check the peer) is a connection class of one's own, which urllib3 takes through
# pool_classes_by_scheme, and which subclasses of HTTPAdapter set on their pool manager. Behind a
# proxy of the environment requests asks another manager, which it makes with urllib3's own classes:
# the call goes through, past whatever the class was for, and nothing says so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check requests==2.34.2 urllib3==2.8.0

cat > probe.py <<'CODE'
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

noted = []


class Noting(HTTPConnection):
    def send(self, data):
        noted.append("sent")
        super().send(data)


class NotingPool(HTTPConnectionPool):
    ConnectionCls = Noting


class Adapter(HTTPAdapter):
    def init_poolmanager(self, *args, **kwargs):
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": NotingPool, "https": HTTPSConnectionPool}


class Server(BaseHTTPRequestHandler):
    """The API, and the proxy in front of it: a request to either is answered."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}"


def notes_of(proxies):
    noted.clear()
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", Adapter())
    answer = session.post(f"{address}/", data={"a": "b"}, proxies=proxies)
    return answer.status_code, bool(noted)


print("Software: requests 2.34.2 with urllib3 2.8.0")
print("Expected: the adapter's connection class sends each request of the session")
direct, behind = notes_of({}), notes_of({"http": address})
print(f"Seen: direct: status {direct[0]}, sent by the class: {direct[1]}")
print(f"Seen: behind a proxy: status {behind[0]}, sent by the class: {behind[1]}")

as_recorded = (direct, behind) == ((200, True), (200, False))
print("As recorded." if as_recorded else "CHANGED: no longer as recorded.")
sys.exit(not as_recorded)
CODE
env/bin/python probe.py
