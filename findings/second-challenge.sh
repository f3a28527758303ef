#!/usr/bin/env bash
# The MCP client for TypeScript does not see a Bearer challenge that stands behind another one.
#
# RFC 9110, section 11.6.1: one header may hold several challenges, and a header may come twice. A
# server that also offers Basic or DPoP tells where its metadata are in vain, so a client of it goes to
# the well-known address, which a server need not have where it names another one. Both SDKs also take
# words inside another parameter's quoted text for a parameter of the challenge.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check mcp==2.3.0
npm install --silent --no-audit --no-fund @modelcontextprotocol/sdk@1.32.2

cat > client.mjs <<'CODE'
import { extractWWWAuthenticateParams } from '@modelcontextprotocol/sdk/client/auth.js';

const read = (lines) => {
  const headers = new Headers(lines.map((line) => ['WWW-Authenticate', line]));
  const { resourceMetadataUrl, scope } = extractWWWAuthenticateParams({ headers });
  return [resourceMetadataUrl?.href ?? null, scope ?? null];
};
console.log(JSON.stringify(JSON.parse(process.argv[2]).map(read)));
CODE

cat > probe.py <<'CODE'
import json
import subprocess
import sys

import httpx2
from mcp.client.auth.utils import extract_resource_metadata_from_www_auth, extract_scope_from_www_auth

METADATA = "https://api.example/meta"
BEARER = f'Bearer resource_metadata="{METADATA}", scope="read"'
HEADERS = {
    "Bearer alone": [BEARER],
    "Basic before it, one header": [f'Basic realm="api", {BEARER}'],
    "Basic before it, a header of its own": ['Basic realm="api"', BEARER],
    "DPoP before it, one header": [f'DPoP algs="ES256", {BEARER}'],
    "a description that speaks of scope": [
        f'Bearer error_description="see scope=all in the manual", resource_metadata="{METADATA}", scope="read"'
    ],
}


def by_python(lines):
    response = httpx2.Response(401, headers=[("WWW-Authenticate", line) for line in lines])
    return [extract_resource_metadata_from_www_auth(response), extract_scope_from_www_auth(response)]


print("Software: @modelcontextprotocol/sdk 1.32.2 (npm), mcp 2.3.0 (PyPI), as clients")
print(f"Expected: each header says {METADATA} and the scope read")
command = ["node", "client.mjs", json.dumps(list(HEADERS.values()))]
typescript = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
python = [by_python(lines) for lines in HEADERS.values()]
for name, first, second in zip(HEADERS, typescript, python, strict=True):
    print(f"Seen: {name}: TypeScript {first}, Python {second}")

right, nothing, misread = [METADATA, "read"], [None, None], [METADATA, "all"]
as_recorded = typescript == [right, nothing, nothing, nothing, misread] and python == [right] * 4 + [misread]
print("As recorded." if as_recorded else "CHANGED: no longer as recorded.")
sys.exit(not as_recorded)
CODE
env/bin/python probe.py
