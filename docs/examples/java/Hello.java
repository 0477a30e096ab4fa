// Hello: an API that accepts audience tokens. Needs Java 17 or newer and Gson 2.
import com.google.gson.Gson;
import com.google.gson.JsonParseException;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

import static java.nio.charset.StandardCharsets.UTF_8;

public class Hello {
    /** A part of the answer of POST /v1/introspect. */
    static class User {
        boolean active;
        String username;
        List<String> groups;
    }

    record Answer(User user, long until) {}

    static final Map<String, String> ENV = System.getenv();
    /** By the SHA-256 of a valid token. */
    static final Map<String, Answer> recent = new ConcurrentHashMap<>();

    final HttpClient client;

    Hello(HttpClient client) {
        this.client = client;
    }

    /**
     * Returns the user of a token, or null if the token is invalid. An IOException means that the daemon gave no answer:
     * the token may be valid, so answer 503.
     */
    User validate(String token) throws Exception {
        long asked = System.nanoTime();
        byte[] hash = MessageDigest.getInstance("SHA-256").digest(token.getBytes(UTF_8));
        String key = Base64.getEncoder().encodeToString(hash);
        Answer known = recent.get(key);
        if (known != null && asked - known.until() < 0) return known.user();
        // Read each time, so that you can replace it.
        String credential = ENV.get("SERVICE") + ":" + Files.readString(Path.of(ENV.get("CREDENTIAL_FILE"))).strip();
        var request = HttpRequest.newBuilder(URI.create(ENV.get("INFRA_SERVER") + "/v1/introspect"))
            .timeout(Duration.ofSeconds(5))
            .header("Authorization", "Basic " + Base64.getEncoder().encodeToString(credential.getBytes(UTF_8)))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .POST(HttpRequest.BodyPublishers.ofString("token=" + URLEncoder.encode(token, UTF_8)));
        var response = client.send(request.build(), BodyHandlers.ofString());
        if (response.statusCode() == 413) return null; // larger than any token
        if (response.statusCode() != 200) { // 401: the daemon rejects the credential, not the token
            throw new IOException("HTTP status " + response.statusCode() + ": " + response.body());
        }
        User user;
        try {
            user = new Gson().fromJson(response.body(), User.class);
        } catch (JsonParseException error) {
            throw new IOException(error);
        }
        if (!user.active) return null;
        if (recent.size() >= 10_000) recent.clear();
        recent.put(key, new Answer(user, asked + 1_000_000_000L));
        return user;
    }

    void hello(HttpExchange exchange) throws IOException {
        String[] sent = String.valueOf(exchange.getRequestHeaders().getFirst("Authorization")).split(" ", 2);
        try {
            String token = sent.length == 2 && sent[0].equalsIgnoreCase("Bearer") ? sent[1] : "";
            User user = token.isEmpty() ? null : validate(token);
            if (user == null) {
                String challenge = token.isEmpty() ? "Bearer" : "Bearer error=\"invalid_token\""; // RFC 6750 section 3.1
                answer(exchange, 401, "no valid token\n", "WWW-Authenticate", challenge);
            } else {
                answer(exchange, 200, "hello " + user.username + "\n", "Cache-Control", "no-store");
            }
        } catch (Exception error) {
            System.err.println("cannot validate a token: " + error);
            answer(exchange, 503, "cannot validate your token: try again\n", "Retry-After", "1");
        }
    }

    static void answer(HttpExchange exchange, int status, String text, String name, String value) throws IOException {
        exchange.getResponseHeaders().set(name, value);
        exchange.sendResponseHeaders(status, text.getBytes(UTF_8).length);
        exchange.getResponseBody().write(text.getBytes(UTF_8));
        exchange.close();
    }

    static HttpClient client(String caFile) throws Exception {
        var builder = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(3));
        if (caFile == null) return builder.build();
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (var pem = Files.newInputStream(Path.of(caFile))) {
            for (var certificate : CertificateFactory.getInstance("X.509").generateCertificates(pem)) {
                store.setCertificateEntry("infrad-" + store.size(), certificate);
            }
        } catch (IOException error) {
            stop("cannot use CA_FILE " + caFile + ": " + error);
        }
        var trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        SSLContext tls = SSLContext.getInstance("TLS");
        tls.init(null, trust.getTrustManagers(), null);
        return builder.sslContext(tls).build();
    }

    static void stop(String reason) {
        System.err.println(reason);
        System.exit(1);
    }

    public static void main(String[] arguments) throws Exception {
        for (String name : List.of("INFRA_SERVER", "SERVICE", "CREDENTIAL_FILE")) {
            if (!ENV.containsKey(name)) stop(name + " is not set");
        }
        if (!ENV.get("INFRA_SERVER").matches("https://.*[^/]")) {
            stop("INFRA_SERVER must be an https address without a slash at its end");
        }
        // The daemon closes idle connections after 30 s: close them first.
        System.setProperty("jdk.httpclient.keepalive.timeout", "20");
        Hello hello = new Hello(client(ENV.get("CA_FILE")));
        int port = Integer.parseInt(ENV.getOrDefault("PORT", "8080"));
        HttpServer server = HttpServer.create();
        try {
            server.bind(new InetSocketAddress("127.0.0.1", port), 0);
        } catch (IOException error) {
            stop("cannot listen on port " + port + ": " + error.getMessage() + "; set PORT to another one");
        }
        server.createContext("/", hello::hello);
        server.setExecutor(Executors.newFixedThreadPool(16));
        server.start();
        System.out.println("listening on http://127.0.0.1:" + port);
    }
}
