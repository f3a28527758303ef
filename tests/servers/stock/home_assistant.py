"""Home Assistant with one person, as it starts for the first time."""

import json
import os
import subprocess
import sys
from pathlib import Path

told = json.loads(sys.argv[1])
hass = Path(sys.executable).with_name("hass")
configuration = Path(told["folder"]) / "configuration"  # it writes a log of its own there
configuration.mkdir()
folder = ["--config", str(configuration)]
CONFIGURATION = f"""
http:
  server_host: 127.0.0.1
  server_port: {told["port"]}
frontend:
"""
(configuration / "configuration.yaml").write_text(CONFIGURATION)
person = [told["person"]["name"], told["person"]["password"]]
subprocess.run([hass, "--script", "auth", *folder, "add", *person], check=True)
# A client is an address, and has no secret.
site = {"id": told["redirect_uri"].partition("connections/")[0], "secret": ""}
print("ready", json.dumps({"main": site}), flush=True)
os.execv(hass, [str(hass), *folder, "--skip-pip"])
