// @atproto/oauth-provider, Bluesky's, with its stores in memory. PAR, DPoP with nonces, a client
// by its own description: what stands at the site's addresses is told beforehand, since nobody
// answers there. /agree stands for its page, on which a person says yes. It holds its accounts
// itself, and is the directory in which their DIDs are looked up.
import { randomBytes } from 'node:crypto';
import http from 'node:http';
import { readFileSync } from 'node:fs';
import { oauthMiddleware } from '@atproto/oauth-provider/middleware';
import { JoseKey, Keyset, OAuthProvider } from '@atproto/oauth-provider/provider';

const told = JSON.parse(process.argv[2]);
const account = { did: 'did:plc:ewvi7nxzyoun6zhxrhs64oiz', sub: 'did:plc:ewvi7nxzyoun6zhxrhs64oiz', aud: told.url, handle: 'ada.example', email: null };
const [requests, tokens, devices] = [new Map(), new Map(), new Map()];
const seen = new Set();
const merge = (map, id, data) => map.set(id, { ...map.get(id), ...data });
const found = (test) => {
  for (const [id, held] of tokens) if (test(held)) return { id, data: held.data, account, currentRefreshToken: held.refreshToken };
  return null;
};
const stored = {
  createRequest: async (id, data) => requests.set(id, data),
  readRequest: async (id) => requests.get(id) ?? null,
  updateRequest: async (id, data) => merge(requests, id, data),
  deleteRequest: async (id) => requests.delete(id),
  consumeRequestCode: async (code) => {
    for (const [requestId, data] of requests) {
      if (data.code === code) return requests.delete(requestId) && { requestId, data };
    }
    return null;
  },
  createToken: async (id, data, refreshToken) => tokens.set(id, { data, refreshToken, spent: [] }),
  readToken: async (id) => found((held) => tokens.get(id) === held),
  deleteToken: async (id) => tokens.delete(id),
  rotateToken: async (id, newId, refreshToken, data) => {
    const held = tokens.get(id);
    tokens.delete(id);
    tokens.set(newId, { data: { ...held.data, ...data }, refreshToken, spent: [...held.spent, held.refreshToken] });
  },
  findTokenByRefreshToken: async (token) => found((held) => held.refreshToken === token || held.spent.includes(token)),
  findTokenByCode: async (code) => found((held) => held.data.code === code),
  createDevice: async (id, data) => devices.set(id, data),
  readDevice: async (id) => devices.get(id) ?? null,
  updateDevice: async (id, data) => merge(devices, id, data),
  deleteDevice: async (id) => devices.delete(id),
  getAccount: async () => ({ account, authorizedClients: new Map() }),
  listDeviceAccounts: async () => [],
  listAccountTokens: async () => [],
  unique: async (namespace, nonce) => seen.size < seen.add(`${namespace} ${nonce}`).size,
};
// What no flow here needs is there all the same, since it looks whether it is.
const store = new Proxy(stored, { get: (target, name) => target[name] ?? (async () => null) });

async function fetchAsTold(input, init) {
  const file = told.site?.[String(input.url ?? input)];
  if (!file) return fetch(input, init);
  return new Response(readFileSync(file), { headers: { 'Content-Type': 'application/json' } });
}

const provider = new OAuthProvider({
  issuer: told.url,
  keyset: new Keyset([await JoseKey.generate(['ES256'], 'key')]),
  dpopSecret: randomBytes(32),
  store,
  safeFetch: fetchAsTold,
});
const serve = oauthMiddleware(provider, { onError: (request, response, error, message) => console.log(message, error?.stack ?? error) });

async function agree(query) {
  const [uri, clientId] = [query.get('request_uri'), query.get('client_id')];
  const deviceId = `dev-${randomBytes(16).toString('hex')}`;
  const { parameters } = await provider.requestManager.get(uri, deviceId, clientId);
  const client = await provider.clientManager.getClient(clientId);
  const code = await provider.requestManager.setAuthorized(uri, client, account, deviceId, {});
  return { code, state: parameters.state, iss: provider.issuer };
}

const service = { id: '#atproto_pds', type: 'AtprotoPersonalDataServer', serviceEndpoint: told.holder ?? told.url };
const documents = {
  [`/${account.did}`]: { id: account.did, alsoKnownAs: ['at://ada.invalid'], service: [service] },
  '/.well-known/oauth-protected-resource': { resource: told.url, authorization_servers: [told.url] },
};

// A call that a server of accounts answers: it checks the token, and the proof of its key.
async function session(request, response) {
  try {
    response.setHeader('DPoP-Nonce', provider.nextDpopNonce());
    const { sub } = await provider.authenticateRequest(request.method, new URL(request.url, told.url), request.headers);
    response.end(JSON.stringify({ did: sub }));
  } catch (error) {
    response.setHeader('WWW-Authenticate', error.wwwAuthenticateHeader ?? 'DPoP error="invalid_token"');
    response.writeHead(401).end(JSON.stringify({ error: error.error ?? String(error) }));
  }
}

http.createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, told.url);
  if (pathname === '/agree') {
    try {
      response.end(JSON.stringify(await agree(searchParams)));
    } catch (error) {
      response.writeHead(500).end(error.stack);
    }
    return;
  }
  if (documents[pathname]) {
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify(documents[pathname]));
    return;
  }
  if (pathname === '/xrpc/com.atproto.server.getSession') {
    await session(request, response);
    return;
  }
  if (pathname === '/oauth/token') response.on('finish', () => console.log(`token ${response.statusCode}`));
  await serve(request, response, () => response.writeHead(404).end());
}).listen(told.port, '127.0.0.1', () => console.log('ready'));
