// Hello: an API that accepts audience tokens. Needs Node.js 20 or newer and no package.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';

const { INFRA_SERVER, CA_FILE, SERVICE, CREDENTIAL_FILE, PORT = '8080' } = process.env;
if (!SERVICE || !CREDENTIAL_FILE) stop('SERVICE or CREDENTIAL_FILE is not set');
if (!/^https:.*[^/]$/.test(INFRA_SERVER)) stop('INFRA_SERVER must be an https address without a slash at its end');

function stop(reason) {
  console.error(reason);
  process.exit(1);
}

function readAuthority(file) {
  try {
    return readFileSync(file);
  } catch (error) { return stop(`cannot use CA_FILE ${file}: ${error.message}`); }
}

// The daemon closes idle connections after 30 s: close them first.
const agent = new https.Agent({ ca: CA_FILE && readAuthority(CA_FILE), keepAlive: true, timeout: 20_000 });
const recent = new Map(); // SHA-256 of a valid token: its user, and how long to reuse the answer

// Resolves to status and body of POST /v1/introspect.
function introspect(token, credential) {
  return new Promise((resolve, reject) => {
    const options = { method: 'POST', agent, auth: `${SERVICE}:${credential}`, signal: AbortSignal.timeout(5000) };
    options.headers = { 'Content-Type': 'application/x-www-form-urlencoded' };
    const request = https.request(`${INFRA_SERVER}/v1/introspect`, options, async (response) => {
      try {
        resolve({ status: response.statusCode, body: (await response.setEncoding('utf8').toArray()).join('') });
      } catch (error) { reject(error); }
    });
    request.on('error', reject);
    request.end(new URLSearchParams({ token }).toString());
  });
}

// Resolves to the user of a token, or null if the token is invalid. Rejects if the daemon gives no answer: the token
// may be valid, so answer 503.
async function validate(token) {
  const asked = performance.now();
  const key = createHash('sha256').update(token).digest('hex');
  const known = recent.get(key);
  if (known && asked < known.until) return known.user;
  const credential = (await readFile(CREDENTIAL_FILE, 'utf8')).trim(); // each time, so that you can replace it
  const { status, body } = await introspect(token, credential);
  if (status === 413) return null; // larger than any token
  // 401: the daemon rejects the credential, not the token.
  if (status !== 200) throw new Error(`HTTP status ${status}: ${body.slice(0, 300)}`);
  const user = JSON.parse(body);
  if (!user.active) return null;
  if (recent.size >= 10_000) recent.clear();
  recent.set(key, { user, until: asked + 1000 });
  return user;
}

async function hello(request, response) {
  const token = /^bearer (.+)$/i.exec(request.headers.authorization ?? '')?.[1];
  try {
    const user = token ? await validate(token) : null;
    if (!user) {
      const challenge = token ? 'Bearer error="invalid_token"' : 'Bearer'; // RFC 6750 section 3.1
      return response.writeHead(401, { 'WWW-Authenticate': challenge }).end('no valid token\n');
    }
    response.writeHead(200, { 'Cache-Control': 'no-store' }).end(`hello ${user.username}\n`);
  } catch (error) {
    console.error(`cannot validate a token: ${error.message}`);
    response.writeHead(503, { 'Retry-After': '1' }).end('cannot validate your token: try again\n');
  }
}

const server = http.createServer(hello);
server.on('error', (error) => stop(`cannot listen on port ${PORT}: ${error.code}; set PORT to another one`));
server.listen(Number(PORT), '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${PORT}`));
