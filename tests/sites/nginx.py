"""A real nginx before a site."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests

CONFIGURATION = """
daemon off; master_process off; pid {folder}/pid; error_log stderr;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {location}
        location / {{ return 404 "another site"; }}
    }}
}}
"""


@contextmanager
def nginx(folder: Path, port: int, location: str) -> Iterator[None]:
    """Listens on a port of this machine, with a ``location`` of its configuration. Skips the test
    where there is no nginx."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip("service: nginx is not installed")
    file = folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, port=port, location=location))
    command = [program, "-p", str(folder), "-c", str(file), "-e", "stderr"]
    with (folder / "nginx.log").open("wb") as log, subprocess.Popen(command, stderr=log) as server:
        try:
            ends = time.monotonic() + 30
            while True:
                with suppress(requests.ConnectionError):
                    requests.get(f"http://127.0.0.1:{port}/", timeout=10)
                    break
                shown = (folder / "nginx.log").read_text()
                assert server.poll() is None, shown
                assert time.monotonic() < ends, shown
                time.sleep(0.1)
            yield
        finally:
            server.terminate()
