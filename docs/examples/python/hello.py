"""Hello: an API that accepts audience tokens. Needs Python 3.9 or newer and no package."""
import base64, hashlib, http.client, http.server, json, os, ssl, sys, time, urllib.error, urllib.parse, urllib.request

for name in ["INFRA_SERVER", "SERVICE", "CREDENTIAL_FILE"]:
    if name not in os.environ:
        sys.exit(f"{name} is not set")
SERVER, SERVICE = os.environ["INFRA_SERVER"], os.environ["SERVICE"]
if not SERVER.startswith("https://") or SERVER.endswith("/"):
    sys.exit("INFRA_SERVER must be an https address without a slash at its end")
try:
    TLS = ssl.create_default_context(cafile=os.environ.get("CA_FILE"))
except OSError as error:
    sys.exit(f"cannot use CA_FILE {os.environ.get('CA_FILE')}: {error.strerror}")
recent = {}  # SHA-256 of a valid token: its user, and how long to reuse the answer


class Unavailable(Exception):
    """The daemon gave no answer. The token may be valid: answer 503."""


def validate(token):
    """Returns the user of a token, or None if the token is invalid."""
    asked, key = time.monotonic(), hashlib.sha256(token.encode()).digest()
    user, until = recent.get(key, (None, 0))
    if asked < until:
        return user
    try:
        with open(os.environ["CREDENTIAL_FILE"]) as file:  # read each time, so that you can replace it
            credential = base64.b64encode(f"{SERVICE}:{file.read().strip()}".encode()).decode()
        request = urllib.request.Request(
            SERVER + "/v1/introspect",
            data=urllib.parse.urlencode({"token": token}).encode(),
            headers={"Authorization": "Basic " + credential},
        )
        with urllib.request.urlopen(request, timeout=5, context=TLS) as response:
            answer = json.load(response)
    except urllib.error.HTTPError as error:
        if error.code == 413:  # larger than any token
            return None
        # 401: the daemon rejects the credential, not the token.
        raise Unavailable(f"{error}: {error.read(300)}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Unavailable(error) from error
    if not answer["active"]:
        return None
    if len(recent) >= 10_000:
        recent.clear()
    recent[key] = (answer, asked + 1)
    return answer


class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        try:
            token = token if scheme.lower() == "bearer" else ""
            user = validate(token) if token else None
        except Unavailable as error:
            print(f"cannot validate a token: {error}", file=sys.stderr)
            return self.answer(503, "cannot validate your token: try again\n", "Retry-After", "1")
        if user is None:
            challenge = 'Bearer error="invalid_token"' if token else "Bearer"  # RFC 6750 section 3.1
            return self.answer(401, "no valid token\n", "WWW-Authenticate", challenge)
        self.answer(200, f"hello {user['username']}\n", "Cache-Control", "no-store")

    def answer(self, status, text, name, value):
        self.send_response(status)
        self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_request(self, code="-", size="-"):
        """Logs no query: callers put tokens there by mistake."""
        print(f"{self.command} {self.path.partition('?')[0]!r} {code}", file=sys.stderr)


port = int(os.environ.get("PORT", "8080"))
try:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Hello)
except OSError as error:
    sys.exit(f"cannot listen on port {port}: {error.strerror}; set PORT to another one")
print(f"listening on http://127.0.0.1:{port}", flush=True)
try:
    server.serve_forever()
except KeyboardInterrupt:
    pass
