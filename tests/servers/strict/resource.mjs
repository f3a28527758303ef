// A resource server that lets oauth4webapi check the access token and, if it is bound, its proof. It
// says who guards it, and answers whoever speaks MCP.
import http from 'node:http';
import { allowInsecureRequests, validateJwtAccessToken } from 'oauth4webapi';

const told = JSON.parse(process.argv[2]);
const server = { issuer: told.issuer, jwks_uri: `${told.issuer}/jwks` };

http.createServer(async (incoming, outgoing) => {
  const answer = (status, body, headers = {}) => {
    outgoing.writeHead(status, { 'Content-Type': 'application/json', ...headers });
    outgoing.end(JSON.stringify(body));
  };
  if (incoming.url === '/.well-known/oauth-protected-resource') {
    answer(200, { resource: told.audience, authorization_servers: [told.issuer], scopes_supported: ['read'] });
    return;
  }
  const request = new Request(new URL(incoming.url, told.url), { method: incoming.method, headers: incoming.headers });
  try {
    const options = { requireDPoP: told.require_dpop, [allowInsecureRequests]: true };
    const claims = await validateJwtAccessToken(server, request, told.audience, options);
    const result = { serverInfo: { name: 'Notes', version: '1' } };
    answer(200, incoming.method === 'POST' ? { jsonrpc: '2.0', id: 1, result } : { sub: claims.sub, cnf: claims.cnf });
  } catch (error) {
    answer(401, { why: error.message }, { 'WWW-Authenticate': 'DPoP error="invalid_token", algs="ES256"' });
  }
}).listen(told.port, '127.0.0.1', () => console.log('ready'));
