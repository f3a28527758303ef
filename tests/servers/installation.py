"""Installs the servers of the list, each in a folder of its own: ``.servers/<name>``."""

import hashlib
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.servers.listed import HERE, INSTALLED, NODE, Listed, applications, listed

AT_ONCE = 3


def install_all(entries: list[Listed]) -> None:
    """Install what is not there yet, or there in another version. Raises CalledProcessError."""
    if any(entry.npm for entry in entries):
        install_npm(INSTALLED / "node", (NODE,))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(install, [entry for entry in entries if not entry.of]))


def install(entry: Listed) -> None:
    if entry.npm:
        install_npm(entry.folder, entry.npm, entry.npm_flags)
        # An ES module finds its packages beside itself only.
        shutil.copy(HERE / "stock" / entry.file, entry.folder)
        return
    stamp = _stamp(entry.folder, entry.pip)
    if stamp.exists():
        return
    shutil.rmtree(entry.folder, ignore_errors=True)
    _run(sys.executable, "-m", "venv", str(entry.folder))
    python = str(entry.folder / "bin/python")
    _run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *entry.pip)
    stamp.touch()


def install_npm(folder: Path, packages: tuple[str, ...], flags: tuple[str, ...] = ()) -> None:
    stamp = _stamp(folder, packages)
    if stamp.exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"private": True}))
    quiet = ("--silent", "--no-audit", "--no-fund", *flags)
    _run("npm", "install", "--prefix", str(folder), *quiet, *packages)
    stamp.touch()


def _stamp(folder: Path, packages: tuple[str, ...]) -> Path:
    return folder / f"installed-{hashlib.sha256(repr(packages).encode()).hexdigest()[:12]}"


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    wanted = sys.argv[1:]
    install_all(
        [
            entry
            for name, entry in (listed() | applications()).items()
            if not wanted or name in wanted
        ]
    )
