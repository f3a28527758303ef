#!/usr/bin/env bash
# better-auth refreshes one account three times at once when three calls need its token, and ends it.
#
# Each call of getAccessToken that finds the token over presents the stored refresh token. At a server
# that rotates and takes a spent token for a theft (here oidc-provider with rotateRefreshToken on), one
# page that makes three API calls after an hour's pause costs the person the connection.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

npm install --silent --no-audit --no-fund node@24.21.0 better-auth@1.7.5 oidc-provider@9.13.3

cat > probe.mjs <<'CODE'
import crypto from 'node:crypto';
import http from 'node:http';
import { betterAuth } from 'better-auth';
import { memoryAdapter } from 'better-auth/adapters/memory';
import { genericOAuth } from 'better-auth/plugins';
import { Provider } from 'oidc-provider';

const BACK = 'http://127.0.0.1/callback';
const verifier = crypto.randomBytes(32).toString('base64url');
const challenge = crypto.createHash('sha256').update(verifier).digest('base64url');
let provider;
const server = http.createServer((request, response) => provider.callback()(request, response));
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;
console.warn = console.info = () => {}; // its notices about settings of a development server
provider = new Provider(issuer, {
  clients: [{
    client_id: 'site', client_secret: 'secret', token_endpoint_auth_method: 'client_secret_post',
    redirect_uris: [BACK], grant_types: ['authorization_code', 'refresh_token'],
  }],
  rotateRefreshToken: true,
});
let presented = 0;
provider.on('grant.success', ({ oidc }) => { presented += oidc.params.grant_type === 'refresh_token' ? 1 : 0; });
provider.on('grant.error', ({ oidc }) => { presented += oidc.params.grant_type === 'refresh_token' ? 1 : 0; });

// The person signs in and agrees, on the pages that the server ships for development.
const cookies = {};
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

async function connected() {
  let url = `${issuer}/auth?${new URLSearchParams({
    client_id: 'site', response_type: 'code', scope: 'openid offline_access', prompt: 'consent',
    redirect_uri: BACK, state: 'state', code_challenge: challenge, code_challenge_method: 'S256',
  })}`;
  let response = await browse(url);
  for (;;) {
    const location = response.headers.get('location');
    if (location?.startsWith(BACK)) {
      const code = new URL(location).searchParams.get('code');
      const body = new URLSearchParams({
        grant_type: 'authorization_code', code, redirect_uri: BACK, code_verifier: verifier,
        client_id: 'site', client_secret: 'secret',
      });
      return (await fetch(`${issuer}/token`, { method: 'POST', body })).json();
    }
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

// A site's user with that account, whose access token ended a minute ago.
async function siteWith(tokens) {
  const tables = { user: [], session: [], account: [], verification: [] };
  const site = betterAuth({
    baseURL: 'http://127.0.0.1', secret: crypto.randomBytes(32).toString('hex'), logger: { disabled: true },
    database: memoryAdapter(tables),
    plugins: [genericOAuth({
      config: [{
        providerId: 'server', clientId: 'site', clientSecret: 'secret', authentication: 'post',
        authorizationUrl: `${issuer}/auth`, tokenUrl: `${issuer}/token`, userInfoUrl: `${issuer}/me`,
      }],
    })],
  });
  const { internalAdapter } = await site.$context;
  const user = await internalAdapter.createUser({ email: 'person@site.example', name: 'Person', emailVerified: true });
  await internalAdapter.createAccount({
    userId: user.id, providerId: 'server', accountId: 'person', accessToken: tokens.access_token,
    refreshToken: tokens.refresh_token, accessTokenExpiresAt: new Date(Date.now() - 60_000),
  });
  const [account] = tables.account;
  const getAccessToken = () => site.api.getAccessToken({ body: { accountId: account.id, userId: user.id } })
    .then(() => 'a token', ({ body }) => body.code);
  const lifeEnds = () => { account.accessTokenExpiresAt = new Date(Date.now() - 60_000); };
  return { getAccessToken, lifeEnds };
}

console.log('Software: better-auth 1.7.5 (genericOAuth) as the client, oidc-provider 9.13.3 as the server');
console.log('Expected: three calls for one account make one refresh; the connection goes on');

const single = await siteWith(await connected());
const alone = [await single.getAccessToken()];
single.lifeEnds();
alone.push(await single.getAccessToken());
console.log(`Seen: one call, and one an hour later: ${alone.join(', ')}; refreshes: ${presented}`);

const { getAccessToken, lifeEnds } = await siteWith(await connected());
presented = 0;
const together = await Promise.all([getAccessToken(), getAccessToken(), getAccessToken()]);
console.log(`Seen: three calls at once: ${together.join(', ')}; refreshes: ${presented}`);
lifeEnds();
const later = await getAccessToken();
console.log(`Seen: a call an hour later: ${later}`);

const asRecorded = alone.join() === 'a token,a token' && presented === 4 && later === 'FAILED_TO_GET_ACCESS_TOKEN';
console.log(asRecorded ? 'As recorded.' : 'CHANGED: no longer as recorded.');
process.exit(asRecorded ? 0 : 1);
CODE
node_modules/node/bin/node probe.mjs
