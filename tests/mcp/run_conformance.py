"""The conformance suite of the Model Context Protocol, run against the app.

    python -m tests.mcp.run_conformance FOLDER

``FOLDER`` is where npm has installed ``@modelcontextprotocol/conformance`` and ``node``. Prints a
line for each scenario; 1 where one ends otherwise than it should.
"""

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

AUTHORIZATION_CODE: Final = (
    *("metadata-default", "metadata-var1", "metadata-var2", "metadata-var3", "basic-cimd"),
    *("scope-from-www-authenticate", "scope-from-scopes-supported"),
    *("scope-omitted-when-undefined", "scope-step-up", "scope-retry-limit"),
    *("token-endpoint-auth-basic", "token-endpoint-auth-post", "token-endpoint-auth-none"),
    *("pre-registration", "resource-mismatch", "offline-access-scope"),
    *("offline-access-not-supported", "2025-03-26-oauth-metadata-backcompat"),
    "2025-03-26-oauth-endpoint-fallback",
)
CLIENT_CREDENTIALS: Final = ("client-credentials-jwt", "client-credentials-basic")
GOOD: Final = (*AUTHORIZATION_CODE, *CLIENT_CREDENTIALS)
# A grant by a company's identity provider, which the app does not have.
OTHER_GRANTS: Final = ("cross-app-access-complete-flow",)
AT_ONCE: Final = 2
TIMEOUT: Final = 60  # seconds of one scenario, on a slow machine


def passes(folder: Path, scenario: str) -> bool:
    """Whether the suite is content with one scenario, without a failure or a warning."""
    modules = folder / "node_modules"
    suite = modules / "@modelcontextprotocol/conformance/dist/index.js"
    with tempfile.TemporaryDirectory() as results:
        done = subprocess.run(
            [
                *(str(modules / ".bin/node"), str(suite), "client"),
                *("--command", f"{sys.executable} -m tests.mcp.conformance"),
                *("--scenario", f"auth/{scenario}", "--timeout", str(TIMEOUT * 1000)),
                *("--output-dir", results),
            ],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=TIMEOUT * 2,
            check=False,
        )
    said = done.stdout + done.stderr
    good = done.returncode == 0 and "OVERALL: PASSED" in said
    if not good and scenario in GOOD:
        print(said[-3000:])
    return good


def main() -> int:
    folder = Path(sys.argv[1])
    with ThreadPoolExecutor(AT_ONCE) as pool:
        scenarios = [*GOOD, *OTHER_GRANTS]
        found = dict(
            zip(scenarios, pool.map(lambda one: passes(folder, one), scenarios), strict=True)
        )
    for scenario, good in found.items():
        expected = "" if scenario in GOOD else " (as expected: another grant)"
        print(f"{'passed' if good else 'failed'}{'' if good else expected}: auth/{scenario}")
    right = all(good is (scenario in GOOD) for scenario, good in found.items())
    print(f"{sum(found.values())} of {len(found)} passed")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
