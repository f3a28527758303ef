#!/usr/bin/env bash
# oidc-provider ends every connection fourteen days after consent, however often it is refreshed.
#
# Each refresh near the end brings a new refresh token with fourteen days of its own. The grant
# behind it has fourteen days too, counted from the consent, and no refresh moves them on. Nothing
# in any answer tells of that end. The server's clock is set forward here instead of waiting.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

npm install --silent --no-audit --no-fund node@24.21.0 oidc-provider@9.13.3

cat > probe.mjs <<'CODE'
import crypto from 'node:crypto';
import http from 'node:http';
import { Provider } from 'oidc-provider';

const DAY = 24 * 3600 * 1000;
let ahead = 0;
const clock = Date.now;
Date.now = () => clock() + ahead;

const BACK = 'http://127.0.0.1/callback';
const SECRET = crypto.randomBytes(32).toString('hex');
const verifier = crypto.randomBytes(32).toString('base64url');
const challenge = crypto.createHash('sha256').update(verifier).digest('base64url');
let provider;
const server = http.createServer((request, response) => provider.callback()(request, response));
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;
const client = (values) => ({
  redirect_uris: [BACK], grant_types: ['authorization_code', 'refresh_token'], ...values,
});
console.warn = console.info = () => {}; // its notices about settings of a development server
provider = new Provider(issuer, {
  clients: [
    client({ client_id: 'confidential', client_secret: SECRET, token_endpoint_auth_method: 'client_secret_post' }),
    client({ client_id: 'public', token_endpoint_auth_method: 'none' }),
  ],
});

let cookies = {};
async function browse(url, form) {
  const response = await fetch(url, {
    method: form ? 'POST' : 'GET',
    body: form && new URLSearchParams(form),
    redirect: 'manual',
    headers: { cookie: Object.entries(cookies).map(([name, value]) => `${name}=${value}`).join('; ') },
  });
  for (const line of response.headers.getSetCookie()) {
    const [name, value] = line.split(';')[0].split('=');
    if (value) cookies[name] = value; else delete cookies[name];
  }
  return response;
}

// The person signs in and agrees, on the pages that the server ships for development.
async function codeFor(clientId) {
  let url = `${issuer}/auth?${new URLSearchParams({
    client_id: clientId, response_type: 'code', scope: 'openid offline_access', prompt: 'consent',
    redirect_uri: BACK, state: 'state', code_challenge: challenge, code_challenge_method: 'S256',
  })}`;
  let response = await browse(url);
  for (;;) {
    const location = response.headers.get('location');
    if (location?.startsWith(BACK)) return new URL(location).searchParams.get('code');
    if (location) {
      url = new URL(location, url).href;
      response = await browse(url);
    } else {
      const page = await response.text();
      const prompt = page.match(/name="prompt" value="([^"]+)"/)[1];
      url = new URL(page.match(/action="([^"]+)"/)[1], url).href;
      response = await browse(url, { prompt, login: 'person', password: 'any' });
    }
  }
}

async function tokens(clientId, form) {
  const body = new URLSearchParams({ ...form, client_id: clientId });
  if (clientId === 'confidential') body.set('client_secret', SECRET);
  const response = await fetch(`${issuer}/token`, { method: 'POST', body });
  return response.json();
}

async function lifeOf(clientId, everyDays) {
  ahead = 0;
  cookies = {}; // a browser of its own, so that the grant is its own too
  let held = await tokens(clientId, {
    grant_type: 'authorization_code', code: await codeFor(clientId), redirect_uri: BACK, code_verifier: verifier,
  });
  for (let day = everyDays, rotations = 0; day < 100; day += everyDays) {
    ahead = day * DAY;
    const answer = await tokens(clientId, { grant_type: 'refresh_token', refresh_token: held.refresh_token });
    if (answer.error) return { clientId, everyDays, day, rotations, error: answer.error };
    if (answer.refresh_token !== held.refresh_token) rotations += 1;
    held = answer;
  }
  return { clientId, everyDays, day: 'none of a hundred' };
}

console.log('Software: oidc-provider 9.13.3 with its default lives (node 24.21.0)');
console.log('Expected: refreshed every three days, and given new refresh tokens, a connection goes on');
const seen = [await lifeOf('confidential', 3), await lifeOf('public', 3), await lifeOf('public', 13)];
for (const { clientId, everyDays, day, rotations, error } of seen) {
  console.log(`Seen: ${clientId} client, a refresh every ${everyDays} days: refused on day ${day} (${error}), `
    + `after ${rotations} new refresh token(s); the last refresh that went well was ${everyDays} days before`);
}
const asRecorded = seen[0].day === 15 && seen[1].day === 15 && seen[2].day === 26
  && seen.every(({ error }) => error === 'invalid_grant') && seen[1].rotations === 4 && seen[2].rotations === 1;
console.log(asRecorded ? 'As recorded.' : 'CHANGED: no longer as recorded.');
process.exit(asRecorded ? 0 : 1);
CODE
node_modules/node/bin/node probe.mjs
