// An OpenID Provider for the tests: npm's certified implementation, over HTTPS on loopback, with Okta's paths.
//
// OP_MODE   custom: /oauth2/default/v1/…, as an Okta custom authorization server; org: /oauth2/v1/…, as the
//           organization's own server
// OP_PORT   the port; 0 for a free one
// OP_CERT, OP_KEY   PEM files
// OP_READY  a file with the issuer, written when the server is ready
// OP_INACTIVE  a file of deactivated users, one per line
// OP_LOGIN  form: shows a sign-in page; auto: signs alice in

import crypto from 'node:crypto';
import fs from 'node:fs';
import https from 'node:https';
import Provider, { interactionPolicy } from 'oidc-provider';

const env = process.env;
const secret = 'infra-test-secret-0123456789abcdef';
const password = 'password';
const people = new Map([
  ['alice', { name: 'Alice', groups: ['Everyone', 'engineering'] }],
  ['bob', { name: 'Bob', groups: ['Everyone', 'support'] }],
]);

const isCustom = env.OP_MODE !== 'org';
const base = isCustom ? '/oauth2/default' : '';
const routes = isCustom ? '/v1' : '/oauth2/v1';

const server = https.createServer({ cert: fs.readFileSync(env.OP_CERT), key: fs.readFileSync(env.OP_KEY) });
await new Promise((resolve) => server.listen(Number(env.OP_PORT ?? 0), '127.0.0.1', resolve));
const issuer = `https://127.0.0.1:${server.address().port}${base}`;

function signingKey() {
  const { privateKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), alg: 'RS256', use: 'sig', kid: crypto.randomUUID() };
}

// Native applications may use any port of the loopback address (RFC 8252 §7.3). Okta also compares ports.
function client(id, authentication) {
  return {
    client_id: id,
    client_secret: secret,
    token_endpoint_auth_method: authentication,
    application_type: 'native',
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    redirect_uris: ['http://127.0.0.1/callback'],
  };
}

// A service that gets its own tokens and may introspect tokens.
const service = {
  ...client('infra-service', 'client_secret_basic'),
  application_type: 'web',
  grant_types: ['client_credentials'],
  response_types: [],
  redirect_uris: [],
};

// Reads the list at each account lookup: one deactivated user per line.
function isInactive(sub) {
  if (!env.OP_INACTIVE || !fs.existsSync(env.OP_INACTIVE)) return false;
  return fs.readFileSync(env.OP_INACTIVE, 'utf8').split('\n').includes(sub);
}

const provider = new Provider(issuer, {
  clients: [client('infra-basic', 'client_secret_basic'), client('infra-post', 'client_secret_post'), service],
  jwks: { keys: [signingKey()] },
  cookies: { keys: [crypto.randomBytes(32).toString('hex')] },
  pkce: { required: () => true },
  scopes: ['openid', 'profile', 'email', 'groups', 'offline_access'],
  claims: {
    openid: ['sub'],
    profile: ['name', 'preferred_username'],
    email: ['email', 'email_verified'],
    groups: ['groups'],
  },
  async findAccount(_context, sub) {
    const person = people.get(sub);
    if (!person || isInactive(sub)) return undefined;
    const email = `${sub}@example.test`;
    const claims = { sub, ...person, preferred_username: sub, email, email_verified: true };
    return { accountId: sub, claims: async () => claims };
  },
  routes: {
    authorization: `${routes}/authorize`,
    token: `${routes}/token`,
    jwks: `${routes}/keys`,
    userinfo: `${routes}/userinfo`,
    revocation: `${routes}/revoke`,
    introspection: `${routes}/introspect`,
  },
  interactions: { policy: interactionPolicy.base(), url: (_context, interaction) => `${base}/interaction/${interaction.uid}` },
  ttl: { AuthorizationCode: 60, AccessToken: 3600, IdToken: 3600, RefreshToken: 86400, Interaction: 600, Session: 3600, Grant: 3600 },
  features: { devInteractions: { enabled: false }, revocation: { enabled: true }, introspection: { enabled: true }, clientCredentials: { enabled: true } },
  rotateRefreshToken: true,
});
provider.on('server_error', (_context, error) => console.error('server error:', error));
provider.on('grant.error', (_context, error) => console.error('grant refused:', error.message, error.error_description));

const page = `<!doctype html><title>Sign in</title><form method="post">
<label>User name <input name="username"></label><label>Password <input name="password" type="password"></label>
<button name="go">Sign in</button><button name="deny" value="1">Cancel</button></form>`;

async function form(request) {
  let text = '';
  for await (const piece of request) text += piece;
  return new URLSearchParams(text);
}

async function signIn(request, response) {
  if (env.OP_LOGIN !== 'form') return { login: { accountId: 'alice' } };
  if (request.method !== 'POST') {
    response.setHeader('content-type', 'text/html');
    response.end(page);
    return undefined;
  }
  const fields = await form(request);
  if (fields.get('deny')) return { error: 'access_denied' };
  if (people.has(fields.get('username')) && fields.get('password') === password) {
    return { login: { accountId: fields.get('username') } };
  }
  response.statusCode = 401;
  response.end('wrong user name or password');
  return undefined;
}

async function consent({ session, params, prompt }) {
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope((prompt.details.missingOIDCScope ?? []).join(' '));
  grant.addOIDCClaims(prompt.details.missingOIDCClaims ?? []);
  return { consent: { grantId: await grant.save() } };
}

async function interact(request, response) {
  const interaction = await provider.interactionDetails(request, response);
  const result = interaction.prompt.name === 'login' ? await signIn(request, response) : await consent(interaction);
  if (result) await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: !result.error });
}

const answer = provider.callback();
server.on('request', (request, response) => {
  if (!request.url.startsWith(base)) {
    response.statusCode = 404;
    response.end();
  } else if (request.url.startsWith(`${base}/interaction/`)) {
    interact(request, response).catch((error) => {
      console.error(error);
      response.statusCode = 500;
      response.end();
    });
  } else {
    // OpenID Connect Core §11 requires consent to offline access each time. Okta requires only the scope.
    if (request.url.startsWith(`${base}${routes}/authorize?`) && request.url.includes('offline_access')) {
      request.url += '&prompt=consent';
    }
    request.originalUrl = request.url;
    request.url = request.url.slice(base.length) || '/';
    answer(request, response);
  }
});

if (env.OP_READY) {
  // Renamed into place, so that a reader never sees a partial file.
  fs.writeFileSync(`${env.OP_READY}.new`, issuer);
  fs.renameSync(`${env.OP_READY}.new`, env.OP_READY);
}
process.on('SIGTERM', () => process.exit(0));
