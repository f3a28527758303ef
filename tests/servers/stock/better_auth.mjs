// better-auth with @better-auth/oauth-provider on SQLite; the two pages that it leaves to its site.
import http from 'node:http';
import { DatabaseSync } from 'node:sqlite';
import { oauthProvider, oauthProviderAuthServerMetadata, oauthProviderOpenIdConfigMetadata } from '@better-auth/oauth-provider';
import { betterAuth } from 'better-auth';
import { getMigrations } from 'better-auth/db/migration';
import { toNodeHandler } from 'better-auth/node';
import { jwt } from 'better-auth/plugins';

const told = JSON.parse(process.argv[2]);
const ids = told.clients.map(({ id }) => id);
const secrets = told.clients.map(({ secret }) => secret);
const options = {
  baseURL: told.url,
  secret: 'a secret of the server that is long enough for it',
  database: new DatabaseSync(`${told.folder}/better-auth-${told.port}.sqlite3`),
  emailAndPassword: { enabled: true },
  rateLimit: { enabled: Boolean(told.limited) }, // as it is by itself in production
  plugins: [jwt(), oauthProvider({
    loginPage: '/login',
    consentPage: '/consent',
    scopes: told.scope.split(' '),
    rateLimit: typeof told.limited === 'object' ? { token: told.limited } : undefined,
    refreshTokenReuseInterval: told.reuse_interval ?? 0,
    generateClientId: () => ids.shift(),
    generateClientSecret: () => secrets.shift(),
    silenceWarnings: { oauthAuthServerConfig: true, openidConfig: true },
  })],
};
await (await getMigrations(options)).runMigrations();
const auth = betterAuth(options);
const { name, mail: email, password } = told.person;
const signedUp = await auth.api.signUpEmail({ body: { name, email, password }, asResponse: true });
const cookies = (response) => response.headers.getSetCookie();
const headers = new Headers({ cookie: cookies(signedUp).map((line) => line.split(';')[0]).join('; ') });
for (const { method } of told.clients) {
  await auth.api.adminCreateOAuthClient({
    headers,
    body: {
      redirect_uris: [told.redirect_uri],
      token_endpoint_auth_method: method,
      grant_types: ['authorization_code', 'refresh_token'],
      scope: told.scope,
      application_type: 'native', // "web" takes no plain http, not on loopback either
    },
  });
}

const form = (fields) => `<form method="post">${fields}</form>`;
const PAGES = {
  '/login': form('<input name="email"><input name="password" type="password"><button>Sign in</button>'),
  '/consent': form('<button name="allow" value="yes">Yes</button><button name="deny" value="yes">No</button>'),
};
async function answerPage(path, query, sent, cookie) {
  if (path === '/login') {
    const body = { email: sent.get('email'), password: sent.get('password') };
    const signedIn = await auth.api.signInEmail({ body, asResponse: true });
    return [`/api/auth/oauth2/authorize?${query}`, cookies(signedIn)];
  }
  const said = await auth.handler(new Request(`${told.url}/api/auth/oauth2/consent`, {
    method: 'POST',
    headers: { cookie, origin: told.url, 'content-type': 'application/json' },
    body: JSON.stringify({ accept: sent.has('allow'), oauth_query: query }),
  }));
  const answer = await said.json();
  return [answer.redirect_uri ?? answer.url, []];
}

const handler = toNodeHandler(auth);
const METADATA = {
  '/.well-known/openid-configuration': oauthProviderOpenIdConfigMetadata(auth),
  '/.well-known/oauth-authorization-server/api/auth': oauthProviderAuthServerMetadata(auth),
};
const server = http.createServer(async (request, response) => {
  const { pathname, search } = new URL(request.url, told.url);
  const document = METADATA[pathname.replace('/api/auth/.well-known', '/.well-known')];
  if (document) {
    const answer = await document(new Request(told.url + request.url));
    response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(await answer.text());
  } else if (!(pathname in PAGES)) {
    handler(request, response);
  } else if (request.method === 'GET') {
    response.setHeader('content-type', 'text/html').end(PAGES[pathname]);
  } else {
    let body = '';
    for await (const part of request) body += part;
    const [to, set] = await answerPage(pathname, search.slice(1), new URLSearchParams(body), request.headers.cookie);
    response.writeHead(303, { location: to, 'set-cookie': set }).end();
  }
});
server.listen(told.port, '127.0.0.1', () => console.log('ready'));
