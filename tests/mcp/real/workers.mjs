// @cloudflare/workers-oauth-provider in a Worker of miniflare, as its README's "One Worker"; the tools
// are a service beside it.
import { readFile } from 'node:fs/promises';
import { Miniflare } from 'miniflare';
import { answer, needed } from './tools.mjs';

const port = Number(process.argv[2]);
const url = `http://127.0.0.1:${port}`;
const library = await readFile(new URL('./node_modules/@cloudflare/workers-oauth-provider/dist/oauth-provider.js', import.meta.url), 'utf8');
const worker = `
import { insufficientScope, OAuthProvider } from './oauth-provider.js';

const needed = ${needed};

export default new OAuthProvider({
  apiRoute: '/mcp',
  apiHandler: {
    async fetch(request, env, context) {
      const wanted = needed(request.method === 'POST' ? await request.clone().json() : null);
      const has = wanted.every((scope) => context.auth.scope.includes(scope));
      return has ? env.TOOLS.fetch(request) : insufficientScope(context.auth, wanted);
    },
  },
  defaultHandler: {
    async fetch(request, env) {
      if (new URL(request.url).pathname !== '/authorize') return new Response('nothing here', { status: 404 });
      const asked = await env.OAUTH_PROVIDER.parseAuthRequest(request);
      const { redirectTo } = await env.OAUTH_PROVIDER.completeAuthorization({
        request: asked, userId: 'ada', metadata: {}, scope: asked.scope, props: {},
      });
      return Response.redirect(redirectTo);
    },
  },
  authorizeEndpoint: '/authorize',
  tokenEndpoint: '/token',
  clientRegistrationEndpoint: '/register',
  scopesSupported: ['read', 'write', 'offline_access'],
  resourceMetadata: { resource: '${url}/mcp', authorization_servers: ['${url}'] },
  requiredScopes: ['read'],
});
`;
const miniflare = new Miniflare({
  host: '127.0.0.1',
  port,
  compatibilityDate: '2026-01-01',
  compatibilityFlags: ['nodejs_compat', 'global_fetch_strictly_public'],
  kvNamespaces: ['OAUTH_KV'],
  serviceBindings: { TOOLS: (request) => answer(new Request(request.url, request)) },
  modules: [
    { type: 'ESModule', path: 'worker.js', contents: worker },
    { type: 'ESModule', path: 'oauth-provider.js', contents: library },
  ],
});
await miniflare.ready;
console.log('ready');
process.on('SIGTERM', async () => { await miniflare.dispose(); process.exit(0); });
