// oidc-provider as its documentation starts it: stores in memory, its own development pages.
import { Provider } from 'oidc-provider';

const told = JSON.parse(process.argv[2]);
const provider = new Provider(told.url, {
  clients: told.clients.map(({ id, secret, method }) => ({
    client_id: id,
    client_secret: secret,
    redirect_uris: [told.redirect_uri],
    grant_types: ['authorization_code', 'refresh_token'],
    token_endpoint_auth_method: method,
  })),
  scopes: ['openid', 'offline_access', 'read'],
  claims: { openid: ['sub'], email: ['email'] },
  features: { revocation: { enabled: true }, ...told.features },
  ...told.configuration,
});
provider.listen(told.port, '127.0.0.1', () => console.log('ready'));
