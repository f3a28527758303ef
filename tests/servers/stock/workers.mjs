// @cloudflare/workers-oauth-provider in miniflare: one Worker, as its README's "One Worker".
import { readFile } from 'node:fs/promises';
import { Miniflare } from 'miniflare';

const told = JSON.parse(process.argv[2]);
const library = await readFile(new URL('./node_modules/@cloudflare/workers-oauth-provider/dist/oauth-provider.js', import.meta.url), 'utf8');
const worker = `
import { OAuthProvider } from './oauth-provider.js';

const BUTTONS = '<button name="allow" value="yes">Yes</button><button name="deny" value="yes">No</button>';

async function authorize(request, oauth) {
  if (request.method === 'GET') {
    const consent = await oauth.beginConsent(await oauth.parseAuthRequest(request));
    consent.headers.set('Content-Type', 'text/html');
    const handle = '<input type="hidden" name="handle" value="' + consent.handle + '">';
    return new Response('<form method="post">' + handle + BUTTONS + '</form>', { headers: consent.headers });
  }
  const form = await request.formData();
  const handle = String(form.get('handle'));
  if (!form.get('allow')) {
    const denied = await oauth.denyConsent(request, handle);
    return new Response(null, { status: 302, headers: denied.headers });
  }
  const approved = await oauth.approveConsent(request, handle);
  const { redirectTo } = await oauth.completeAuthorization({
    request: approved.request, userId: 'ada', metadata: {}, scope: approved.request.scope, props: { userId: 'ada' },
  });
  approved.headers.set('Location', redirectTo);
  return new Response(null, { status: 302, headers: approved.headers });
}

const defaultHandler = {
  async fetch(request, env) {
    const oauth = env.OAUTH_PROVIDER;
    const { pathname } = new URL(request.url);
    if (pathname === '/authorize') return authorize(request, oauth);
    if (pathname !== '/made-client') return new Response('nothing here', { status: 404 });
    const made = await oauth.createClient({ redirectUris: ['${told.redirect_uri}'], tokenEndpointAuthMethod: '${told.clients[0].method}' });
    return Response.json({ id: made.clientId, secret: made.clientSecret });
  },
};

export default new OAuthProvider({
  apiRoute: '/api/',
  apiHandler: { fetch: async (request, env, context) => Response.json({ sub: context.props.userId }) },
  defaultHandler,
  authorizeEndpoint: '/authorize',
  tokenEndpoint: '/token',
  scopesSupported: ${JSON.stringify(told.scope.split(' '))},
  resourceMetadata: { resource: '${told.url}/api/', authorization_servers: ['${told.url}'] },
});
`;
const miniflare = new Miniflare({
  host: '127.0.0.1',
  port: told.port,
  compatibilityDate: '2026-01-01',
  compatibilityFlags: ['nodejs_compat', 'global_fetch_strictly_public'],
  kvNamespaces: ['OAUTH_KV'],
  modules: [
    { type: 'ESModule', path: 'worker.js', contents: worker },
    { type: 'ESModule', path: 'oauth-provider.js', contents: library },
  ],
});
await miniflare.ready;
// It makes ids and secrets up itself.
const made = await (await fetch(`${told.url}/made-client`)).json();
console.log(`ready ${JSON.stringify({ main: made })}`);
process.on('SIGTERM', async () => { await miniflare.dispose(); process.exit(0); });
