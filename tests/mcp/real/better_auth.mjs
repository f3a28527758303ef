// better-auth with @better-auth/oauth-provider: a refresh token that comes again ends the grant at
// once. Signs everybody in as one person who agrees to all; `/refreshes` says how many were asked.
import http from 'node:http';
import { DatabaseSync } from 'node:sqlite';
import { oauthProvider, oauthProviderAuthServerMetadata } from '@better-auth/oauth-provider';
import { oauthProviderResourceClient } from '@better-auth/oauth-provider/resource-client';
import { getRequestListener } from '@hono/node-server';
import { betterAuth } from 'better-auth';
import { getMigrations } from 'better-auth/db/migration';
import { answer, needed } from './tools.mjs';

const port = Number(process.argv[2]);
const url = `http://127.0.0.1:${port}`;
const resource = `${url}/mcp`;
const scopes = ['read', 'write', 'offline_access'];
const options = {
  baseURL: url,
  secret: 'a secret of the server that is long enough for it',
  database: new DatabaseSync(':memory:'),
  emailAndPassword: { enabled: true },
  rateLimit: { enabled: false },
  plugins: [oauthProvider({
    loginPage: '/login',
    consentPage: '/consent',
    scopes,
    resources: [resource],
    clientRegistrationDefaultResources: [resource],
    allowDynamicClientRegistration: true,
    allowUnauthenticatedClientRegistration: true,
    disableJwtPlugin: true, // else a token is good until it expires, whatever was revoked
    silenceWarnings: { oauthAuthServerConfig: true, openidConfig: true },
  })],
};
await (await getMigrations(options)).runMigrations();
const auth = betterAuth(options);
const person = { name: 'ada', email: 'ada@example.org', password: 'ada-s-Long-password-1' };
const cookieOf = (response) => response.headers.getSetCookie().map((line) => line.split(';')[0]).join('; ');
const cookie = cookieOf(await auth.api.signUpEmail({ body: person, asResponse: true }));
const guard = await auth.api.adminCreateOAuthClient({
  headers: new Headers({ cookie }),
  body: { redirect_uris: [`${url}/none`], application_type: 'native', token_endpoint_auth_method: 'client_secret_post' },
});
const { verifyAccessTokenRequest } = oauthProviderResourceClient(auth).getActions();
const about = oauthProviderAuthServerMetadata(auth);
const leadTo = (location) => new Response(null, { status: 303, headers: { location } });
let refreshes = 0;

const PAGES = {
  '/refreshes': () => Response.json(refreshes),
  '/.well-known/oauth-authorization-server/api/auth': about,
  '/.well-known/oauth-protected-resource/mcp': () =>
    Response.json({ resource, authorization_servers: [`${url}/api/auth`], scopes_supported: ['read'] }),
  '/login': (request) => leadTo(`/api/auth/oauth2/authorize${new URL(request.url).search}`),
  async '/consent'(request) {
    const said = await auth.handler(new Request(`${url}/api/auth/oauth2/consent`, {
      method: 'POST',
      headers: { cookie, origin: url, 'content-type': 'application/json' },
      body: JSON.stringify({ accept: true, oauth_query: new URL(request.url).search.slice(1) }),
    }));
    const told = await said.json();
    return leadTo(told.redirect_uri ?? told.url);
  },
  async '/mcp'(request) {
    const body = await request.clone().json();
    try {
      await verifyAccessTokenRequest(request, {
        verifyOptions: { audience: resource, issuer: `${url}/api/auth` },
        requiredScopes: needed(body),
        remoteVerify: {
          introspectUrl: `${url}/api/auth/oauth2/introspect`,
          clientId: guard.client_id,
          clientSecret: guard.client_secret,
          force: true,
        },
      });
    } catch (error) {
      if (!error.statusCode) console.error(error);
      return new Response(JSON.stringify(error.body ?? {}), { status: error.statusCode ?? 500, headers: error.headers });
    }
    return answer(request);
  },
};

async function respond(request) {
  const { pathname } = new URL(request.url);
  if (pathname in PAGES) return PAGES[pathname](request);
  if (pathname.endsWith('/oauth2/token')) {
    const sent = new URLSearchParams(await request.clone().text());
    refreshes += sent.get('grant_type') === 'refresh_token';
  }
  if (!pathname.endsWith('/oauth2/authorize')) return auth.handler(request);
  return auth.handler(new Request(request.url, { headers: { cookie } }));
}
http.createServer(getRequestListener(respond)).listen(port, '127.0.0.1', () => console.log('ready'));
