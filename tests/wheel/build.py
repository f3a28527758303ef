"""Builds the wheel and the source distribution, and makes fresh environments for the wheel."""

import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input")


def run(*command: str | Path, cwd: Path, timeout: float = 600) -> str:
    """What a command printed. Raises RuntimeError with all of it where it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stdout}")
    return done.stdout


def build(target: str, folder: Path, *, source: Path = ROOT) -> Path:
    """The wheel, or the sdist, that hatchling makes of ``source`` in ``folder``. No network."""
    run(sys.executable, "-m", "hatchling", "build", "-t", target, "-d", folder, cwd=source)
    (made,) = folder.glob("*.whl" if target == "wheel" else "*.tar.gz")
    return made


def fresh_environment(folder: Path, requirements: Sequence[str | Path]) -> Path:
    """The Python of a new environment in ``folder`` that has ``requirements`` and no more."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    run(python, *PIP, "install", *requirements, cwd=folder)
    return python
