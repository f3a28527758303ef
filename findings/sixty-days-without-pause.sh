#!/usr/bin/env bash
# @badgateway/oauth2-client refreshes a token of sixty days without a pause.
#
# Its session sets a timer for a minute before the end, by default. Node's timers go to 24.8 days, and
# a longer one fires at once: the token is refreshed, the new one lives sixty days too, and so on, for
# as long as the process runs, dozens of times a second and more, until the server throttles it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

npm install --silent --no-audit --no-fund node@24.21.0 @badgateway/oauth2-client@3.3.1

cat > probe.mjs <<'CODE'
import http from 'node:http';
import { OAuth2Client, OAuth2Fetch } from '@badgateway/oauth2-client';

const DAY = 24 * 3600;
let refreshes = 0;
let life;
const server = http.createServer((request, response) => {
  refreshes += 1;
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify({
    access_token: `access${refreshes}`, token_type: 'Bearer', expires_in: life, refresh_token: `refresh${refreshes}`,
  }));
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const client = new OAuth2Client({
  server: `http://127.0.0.1:${server.address().port}`, clientId: 'site', clientSecret: 'secret', tokenEndpoint: '/token',
});
process.removeAllListeners('warning'); // Node's own, about the timer

/** Refreshes within a second of a session whose token has ended: one is needed. Fifty are enough to see. */
async function refreshesOf(days) {
  refreshes = 0;
  life = days * DAY;
  const options = {
    client,
    getNewToken: () => null,
    getStoredToken: () => ({ accessToken: 'access', refreshToken: 'refresh', expiresAt: Date.now() - 1000 }),
    storeToken: () => { if (refreshes >= 50) options.scheduleRefresh = false; }, // enough is seen
  };
  await new OAuth2Fetch(options).getAccessToken();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  return refreshes;
}

console.log(`Software: @badgateway/oauth2-client 3.3.1, Node ${process.version}`);
console.log('Expected: whatever the life of a token, one refresh, and the next ahead of its end');
const seen = [await refreshesOf(1 / 24), await refreshesOf(24), await refreshesOf(60)];
console.log(`Seen: refreshes in a second, of tokens of an hour, 24 days and 60 days: ${seen.join(', ')}`);

const asRecorded = seen[0] === 1 && seen[1] === 1 && seen[2] >= 10;
console.log(asRecorded ? 'As recorded.' : 'CHANGED: no longer as recorded.');
process.exit(asRecorded ? 0 : 1);
CODE
node_modules/.bin/node probe.mjs
