// @jmondi/oauth2-server by its Express adapter, with repositories in memory as its example has them.
import express from 'express';
import { AuthorizationServer, DateInterval, generateRandomToken } from '@jmondi/oauth2-server';
import { handleExpressError, handleExpressResponse, requestFromExpress } from '@jmondi/oauth2-server/express';

const told = JSON.parse(process.argv[2]);
const scopes = told.scope.split(' ').map((name) => ({ name }));
const grants = ['authorization_code', 'refresh_token', ...(told.more_grants ?? ['client_credentials'])];
const clients = new Map(told.clients.map(({ id, secret }) => [id, {
  id, secret, name: id, redirectUris: [told.redirect_uri], allowedGrants: grants, scopes,
}]));
// Introspection asks for this grant, which the site's client may not have.
clients.set(told.guard.id, { ...told.guard, name: 'guard', redirectUris: [], allowedGrants: ['client_credentials'], scopes });
const codes = new Map();
const tokens = new Map();
const ada = { id: 'ada' };

const clientRepository = {
  getByIdentifier: async (id) => clients.get(id),
  isClientValid: async (grant, client, secret) => client.secret === secret && client.allowedGrants.includes(grant),
};
const scopeRepository = {
  getAllByIdentifiers: async (names) => scopes.filter(({ name }) => names.includes(name)),
  finalize: async (asked) => asked,
};
const codeRepository = {
  issueAuthCode: (client, user, asked) => ({
    code: generateRandomToken(), user, client, scopes: asked, expiresAt: new DateInterval('15m').getEndDate(),
  }),
  persist: async (code) => { codes.set(code.code, code); },
  getByIdentifier: async (code) => codes.get(code),
  isRevoked: async (code) => Date.now() > codes.get(code).expiresAt.getTime(),
  revoke: async (code) => { codes.get(code).expiresAt = new Date(0); },
};
const tokenRepository = {
  issueToken: async (client, asked, user) => ({
    accessToken: generateRandomToken(), accessTokenExpiresAt: new DateInterval('2h').getEndDate(), client, user, scopes: asked,
  }),
  issueRefreshToken: async (token) => {
    token.refreshToken = generateRandomToken();
    token.refreshTokenExpiresAt = new DateInterval('2h').getEndDate();
    return token;
  },
  persist: async (token) => { tokens.set(token.accessToken, token); },
  revoke: async (token) => {
    token.accessTokenExpiresAt = new Date(0);
    token.refreshTokenExpiresAt = new Date(0);
  },
  isRefreshTokenRevoked: async (token) => Date.now() > (token.refreshTokenExpiresAt?.getTime() ?? 0),
  getByRefreshToken: async (refresh) => {
    const found = [...tokens.values()].find((one) => one.refreshToken === refresh);
    if (!found) throw new Error('refresh token not found');
    return found;
  },
  getByAccessToken: async (access) => {
    const found = tokens.get(access);
    if (!found) throw new Error('token not found');
    return found;
  },
};

const server = new AuthorizationServer(clientRepository, tokenRepository, scopeRepository, 'a secret key of the server');
server.enableGrantTypes(
  'client_credentials', 'refresh_token',
  { grant: 'authorization_code', authCodeRepository: codeRepository, userRepository: { getUserByCredentials: async () => ada } },
);
const app = express();
app.use(express.urlencoded({ extended: false }));
const answering = (work) => async (request, response) => {
  try {
    handleExpressResponse(response, await work(request));
  } catch (error) {
    handleExpressError(error, response);
  }
};
app.get('/authorize', (request, response) => response.send(
  '<form method="post"><button name="allow" value="yes">Yes</button><button name="deny" value="yes">No</button></form>',
));
app.post('/authorize', answering(async (request) => {
  const asked = await server.validateAuthorizationRequest(requestFromExpress(request));
  asked.user = ada;
  asked.isAuthorizationApproved = Boolean(request.body.allow);
  return server.completeAuthorizationRequest(asked);
}));
app.post('/token', answering((request) => server.respondToAccessTokenRequest(request)));
app.post('/token/revoke', answering((request) => server.revoke(request)));
app.post('/token/introspect', answering((request) => server.introspect(request)));
app.listen(told.port, '127.0.0.1', () => console.log('ready'));
