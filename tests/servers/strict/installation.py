"""Installs what the servers of this folder are made of, into ``.servers/strict``."""

import shutil
from pathlib import Path

from tests.servers.installation import install_npm
from tests.servers.listed import INSTALLED, NODE

FOLDER = INSTALLED / "strict"
PACKAGES = ("oidc-provider@9.13.3", "oauth4webapi@3.8.8", "@atproto/oauth-provider@0.22.9")


def install() -> None:
    """Install what is not there yet. Raises CalledProcessError."""
    install_npm(INSTALLED / "node", (NODE,))
    install_npm(FOLDER, PACKAGES)
    for file in Path(__file__).parent.glob("*.mjs"):
        # An ES module finds its packages beside itself only.
        shutil.copy(file, FOLDER)


if __name__ == "__main__":
    install()
