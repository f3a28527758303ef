"""``make servers`` ends what it has started, however it ends itself."""

import subprocess
import sys

import pytest

from tests.servers.listed import ROOT

# The pipe is closed when the last of them has ended.
COMMAND = """
import subprocess
server = subprocess.Popen(["sleep", "600"])
print("started", flush=True)
"""
MAKER = """
import os, sys
from pathlib import Path
from tests.servers.group import end_on_sigterm, run_as_group
end_on_sigterm()
sys.exit(run_as_group([sys.executable, "-c", sys.argv[1]], Path.cwd(), os.environ))
"""


@pytest.mark.parametrize(
    ("then", "is_told", "status"),
    [("server.wait()", True, 143), ("raise SystemExit(3)", False, 3)],
    ids=["told to end", "left behind by the tests"],
)
def test_no_server_outlives_the_command(then: str, is_told: bool, status: int) -> None:
    command = [sys.executable, "-c", MAKER, COMMAND + then]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        if is_told:
            process.terminate()
        process.communicate(timeout=60)
        assert process.returncode == status
