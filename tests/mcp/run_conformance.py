"""The conformance suite of the Model Context Protocol, run against the app.

    python -m tests.mcp.run_conformance FOLDER

``FOLDER`` is where npm has installed ``@modelcontextprotocol/conformance`` and ``node``. Prints a
line for each scenario; 1 where one fails.
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
IDENTITY_ASSERTION: Final = ("cross-app-access-complete-flow",)
SCENARIOS: Final = (*AUTHORIZATION_CODE, *CLIENT_CREDENTIALS, *IDENTITY_ASSERTION)
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
    if not good:
        print(said[-3000:])
    return good


def main() -> int:
    folder = Path(sys.argv[1])
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda one: passes(folder, one), SCENARIOS))
    for scenario, good in zip(SCENARIOS, found, strict=True):
        print(f"{'passed' if good else 'failed'}: auth/{scenario}")
    print(f"{sum(found)} of {len(found)} passed")
    return 0 if all(found) else 1


if __name__ == "__main__":
    sys.exit(main())
