// The SDK's router of an authorization server, with the grants that it leaves to its site in memory.
// A refresh token is good once.
import { randomUUID } from 'node:crypto';
import { getRequestListener } from '@hono/node-server';
import { requireBearerAuth } from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js';
import { InvalidGrantError, InvalidTokenError } from '@modelcontextprotocol/sdk/server/auth/errors.js';
import { getOAuthProtectedResourceMetadataUrl, mcpAuthRouter } from '@modelcontextprotocol/sdk/server/auth/router.js';
import express from 'express';
import { answer, needed } from './tools.mjs';

const url = `http://127.0.0.1:${process.argv[2]}`;
const resource = new URL(`${url}/mcp`);
const clients = new Map();
const codes = new Map();
const grants = new Map(); // by each of their two tokens

function taken(kept, key, client) {
  const found = kept.get(key);
  if (found?.client !== client.client_id) throw new InvalidGrantError('unknown, or used before');
  kept.delete(key);
  return found;
}

function issue(grant) {
  grants.delete(grant.access);
  Object.assign(grant, { access: randomUUID(), refresh: randomUUID() });
  grants.set(grant.access, grant).set(grant.refresh, grant);
  const scope = grant.scopes.join(' ');
  return { access_token: grant.access, refresh_token: grant.refresh, token_type: 'bearer', expires_in: 3600, scope };
}

const provider = {
  clientsStore: {
    getClient: (id) => clients.get(id),
    registerClient: (client) => { clients.set(client.client_id, client); return client; },
  },
  async authorize(client, { scopes = [], codeChallenge, redirectUri, state, resource: named }, response) {
    const code = randomUUID();
    codes.set(code, { client: client.client_id, scopes, codeChallenge, resource: named });
    const back = new URL(redirectUri);
    back.search = new URLSearchParams({ code, state });
    response.redirect(back.href);
  },
  challengeForAuthorizationCode: async (client, code) => codes.get(code)?.codeChallenge ?? '',
  exchangeAuthorizationCode: async (client, code) => issue(taken(codes, code, client)),
  exchangeRefreshToken: async (client, token) => issue(taken(grants, token, client)),
  async verifyAccessToken(token) {
    const grant = grants.get(token);
    if (grant?.access !== token) throw new InvalidTokenError('unknown');
    const expiresAt = Math.floor(Date.now() / 1000) + 60;
    return { token, clientId: grant.client, scopes: grant.scopes, expiresAt, resource: grant.resource };
  },
  async revokeToken(client, { token }) {
    const grant = grants.get(token);
    if (grant) [grant.access, grant.refresh].forEach((one) => grants.delete(one));
  },
};

const app = express();
app.use(mcpAuthRouter({ provider, issuerUrl: new URL(url), resourceServerUrl: resource, scopesSupported: ['read', 'write'] }));
app.post('/mcp', express.text({ type: '*/*' }), (request, response, next) => {
  const requiredScopes = needed(JSON.parse(request.body));
  const resourceMetadataUrl = getOAuthProtectedResourceMetadataUrl(resource);
  requireBearerAuth({ verifier: provider, requiredScopes, resourceMetadataUrl, expectedResource: resource })(request, response, next);
}, (request, response) => {
  const { method, headers, body } = request;
  return getRequestListener(() => answer(new Request(resource, { method, headers, body })))(request, response);
});
app.listen(Number(process.argv[2]), '127.0.0.1', () => console.log('ready'));
