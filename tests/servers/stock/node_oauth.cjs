// @node-oauth/oauth2-server by its Express wrapper, with the model of its documentation in memory.
const express = require('express');
const OAuthServer = require('@node-oauth/express-oauth-server');

const told = JSON.parse(process.argv[2]);
const clients = new Map(told.clients.map(({ id, secret }) => [id, {
  id, secret, grants: ['authorization_code', 'refresh_token'], redirectUris: [told.redirect_uri],
}]));
const codes = new Map();
const tokens = new Map();
const allowed = told.scope.split(' ');

const model = {
  getClient: async (id, secret) => {
    const client = clients.get(id);
    return client && (secret == null || secret === client.secret) ? client : null;
  },
  saveAuthorizationCode: async (code, client, user) => {
    const kept = { ...code, client, user };
    codes.set(code.authorizationCode, kept);
    return kept;
  },
  getAuthorizationCode: async (code) => codes.get(code),
  revokeAuthorizationCode: async (code) => codes.delete(code.authorizationCode),
  saveToken: async (token, client, user) => {
    const kept = { ...token, client, user };
    tokens.set(token.accessToken, kept);
    return kept;
  },
  getAccessToken: async (access) => tokens.get(access),
  getRefreshToken: async (refresh) => [...tokens.values()].find((one) => one.refreshToken === refresh),
  revokeToken: async (token) => tokens.delete(token.accessToken),
  validateScope: async (user, client, scope = []) => scope.every((one) => allowed.includes(one)) && scope,
  verifyScope: async () => true,
};

const app = express();
app.use(express.urlencoded({ extended: false }));
const oauth = new OAuthServer({ model });
const ada = { id: '1' };
app.get('/authorize', (request, response) => response.send(
  '<form method="post"><button name="allow" value="yes">Yes</button><button name="deny" value="yes">No</button></form>',
));
app.post('/authorize', (request, response, next) => {
  if (request.body.deny) request.query.allowed = 'false';
  next();
}, oauth.authorize({ authenticateHandler: { handle: async () => ada } }));
app.post('/token', oauth.token());
app.get('/me', oauth.authenticate(), (request, response) => response.json({ sub: '1', email: 'ada@example.org' }));
app.listen(told.port, '127.0.0.1', () => console.log('ready'));
