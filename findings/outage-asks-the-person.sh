#!/usr/bin/env bash
# The MCP client for TypeScript sends the person to authorize anew when the server is away for a moment.
#
# A refresh that meets an outage says nothing about the refresh token. A 503 in OAuth's own JSON is
# raised; the page of a proxy in front, the usual 502 or 503, or a refused connection is passed over in
# silence, and the next step is a new authorization, which in a job without a browser is the end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

npm install --silent --no-audit --no-fund @modelcontextprotocol/sdk@1.32.2

cat > probe.mjs <<'CODE'
import http from 'node:http';
import { auth } from '@modelcontextprotocol/sdk/client/auth.js';

const OUTAGES = {
  'a 503 with JSON': [503, 'application/json', '{"error": "temporarily_unavailable"}'],
  'a 503 with a page': [503, 'text/html', '<h1>Service Unavailable</h1>'],
  'a 502 with a page': [502, 'text/html', '<h1>Bad Gateway</h1>'],
  'a cut connection': null,
};
let outage;
let address;
const server = http.createServer((request, response) => {
  if (request.url === '/.well-known/oauth-authorization-server') {
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify({
      issuer: address,
      authorization_endpoint: `${address}/authorize`,
      token_endpoint: `${address}/token`,
      response_types_supported: ['code'],
      code_challenge_methods_supported: ['S256'],
    }));
  } else if (request.url === '/token') {
    if (!outage) { request.socket.destroy(); return; }
    const [status, type, body] = outage;
    response.writeHead(status, { 'Content-Type': type }).end(body);
  } else {
    response.writeHead(404).end();
  }
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
address = `http://127.0.0.1:${server.address().port}`;

async function refreshDuring(kind) {
  outage = OUTAGES[kind];
  const seen = { asked: false, discarded: [] };
  const held = { access_token: 'access', refresh_token: 'living', token_type: 'Bearer', issuer: address };
  const provider = {
    redirectUrl: 'http://127.0.0.1/callback',
    clientMetadata: { redirect_uris: ['http://127.0.0.1/callback'] },
    clientInformation: () => ({ client_id: 'client', client_secret: 'secret', issuer: address }),
    tokens: () => held,
    saveTokens() {},
    saveCodeVerifier() {},
    redirectToAuthorization() { seen.asked = true; },
    invalidateCredentials(what) { seen.discarded.push(what); },
  };
  try {
    seen.outcome = await auth(provider, { serverUrl: address });
  } catch (error) {
    seen.outcome = error.constructor.name;
  }
  return seen;
}

console.log('Software: @modelcontextprotocol/sdk 1.32.2 (npm), auth() of its client');
console.log('Expected: a refresh that meets an outage raises an error, whatever the outage looks like');
const outcomes = [];
for (const kind of Object.keys(OUTAGES)) {
  const { outcome, asked } = await refreshDuring(kind);
  console.log(`Seen: ${kind}: ${outcome}; the person is ${asked ? 'sent to authorize' : 'left alone'}`);
  outcomes.push(outcome);
}
const asRecorded = outcomes.join() === 'TemporarilyUnavailableError,REDIRECT,REDIRECT,REDIRECT';
console.log(asRecorded ? 'As recorded.' : 'CHANGED: no longer as recorded.');
process.exit(asRecorded ? 0 : 1);
CODE
node probe.mjs
