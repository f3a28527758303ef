// oidc-provider, demanding what it is told to: par, dpop (with nonces), private_key_jwt, mtls. With an
// alias it asks for certificates there alone, and with registers the site makes itself a client.
// Each grant that it gives or refuses is a line of its log.
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { Provider } from 'oidc-provider';

const told = JSON.parse(process.argv[2]);
const demands = (name) => told.demands.includes(name);
const certificateOf = (ctx) => ctx.socket.getPeerX509Certificate?.();
const certified = (ctx) => ctx.socket.authorized === true;

const client = {
  client_id: told.client.id,
  redirect_uris: [told.redirect_uri],
  grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
  token_endpoint_auth_method: 'client_secret_basic',
  client_secret: told.client.secret,
  dpop_bound_access_tokens: demands('dpop'),
};
if (demands('private_key_jwt')) {
  Object.assign(client, { token_endpoint_auth_method: 'private_key_jwt', client_secret: undefined, jwks: told.client.jwks });
} else if (demands('mtls')) {
  Object.assign(client, {
    token_endpoint_auth_method: 'tls_client_auth',
    client_secret: undefined,
    tls_client_auth_subject_dn: 'CN=site',
    tls_client_certificate_bound_access_tokens: true,
  });
}

const at = (url) => ({
  token_endpoint: `${url}/token`,
  registration_endpoint: `${url}/reg`,
  revocation_endpoint: `${url}/token/revocation`,
  userinfo_endpoint: `${url}/me`,
  pushed_authorization_request_endpoint: `${url}/request`,
});

const provider = new Provider(told.url, {
  clients: told.registers ? [] : [client],
  scopes: ['openid', 'offline_access', 'read'],
  claims: { openid: ['sub'], email: ['email'] },
  clientAuthMethods: [client.token_endpoint_auth_method],
  ...(told.alias && { discovery: { mtls_endpoint_aliases: at(told.alias.url) } }),
  features: {
    registration: { enabled: Boolean(told.registers) },
    revocation: { enabled: true },
    clientCredentials: { enabled: true },
    pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: demands('par') },
    dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => true },
    mTLS: {
      enabled: demands('mtls'),
      certificateBoundAccessTokens: true,
      tlsClientAuth: true,
      getCertificate: certificateOf,
      certificateAuthorized: certified,
      certificateSubjectMatches: (ctx, property, expected) => certificateOf(ctx).subject === expected,
    },
    resourceIndicators: {
      enabled: Boolean(told.resource),
      defaultResource: () => told.resource,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({ scope: 'read', audience: told.resource, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } }),
    },
  },
});

// Whoever has no certificate gets nothing but the pages for people.
provider.use(async (ctx, next) => {
  const forClients = ['/token', '/request', '/me'].some((path) => ctx.path.startsWith(path));
  if (demands('mtls') && forClients && !certified(ctx)) {
    ctx.status = 401;
    ctx.body = { error: 'invalid_client', error_description: 'a certificate is demanded' };
    return;
  }
  await next();
  const { error } = ctx.body ?? {};
  if (ctx.path === '/token') console.log(`token ${ctx.oidc?.params?.grant_type} ${error ?? 'given'}`);
});
provider.on('server_error', (ctx, error) => console.log(error.stack));

const ready = () => console.log('ready');
if (told.tls) {
  const files = Object.fromEntries(Object.entries(told.tls).map(([name, path]) => [name, readFileSync(path)]));
  const asking = { ...files, requestCert: true, rejectUnauthorized: false };
  if (told.alias) https.createServer(asking, provider.callback()).listen(told.alias.port, '127.0.0.1');
  https.createServer(told.alias ? files : asking, provider.callback()).listen(told.port, '127.0.0.1', ready);
} else {
  http.createServer(provider.callback()).listen(told.port, '127.0.0.1', ready);
}
