"""The scan for secrets, with its report: sinks, flows and hits.

python -m bench.scan_for_secrets
"""

import sys

import pytest

TESTS = ["tests/sealing/test_no_secret_outside.py", "tests/sealing/test_no_secret_in_crashes.py"]

if __name__ == "__main__":
    sys.exit(pytest.main(["-q", "-n", "0", "-p", "no:randomly", "-rP", "--no-header", *TESTS]))
