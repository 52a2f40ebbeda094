package hello;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;

/** A webhook with nothing but the JDK. */
public final class Server {
    private Server() {}

    public static void main(String[] arguments) throws IOException {
        int port = Integer.parseInt(setting("PORT", "8080"));
        HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 0);
        server.createContext("/readyz", exchange -> answer(exchange, "ready\n"));
        server.createContext("/", exchange -> answer(exchange, greeting(body(exchange))));
        server.start();
        System.out.println("listening on port " + port);
    }

    /** Where it runs, which commit, and what was sent. */
    static String greeting(String body) {
        String commit = setting("HOOKWRIGHT_COMMIT", "unknown");
        String place = setting("HOOKWRIGHT_ENVIRONMENT", "nowhere");
        String text = "Hello from Java in " + place + ", commit " + commit.substring(0, Math.min(7, commit.length()));
        return text + (body.isEmpty() ? "" : ": " + body) + "\n";
    }

    private static String setting(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? otherwise : value;
    }

    private static String body(HttpExchange exchange) throws IOException {
        return new String(exchange.getRequestBody().readNBytes(1 << 20), StandardCharsets.UTF_8);
    }

    private static void answer(HttpExchange exchange, String text) throws IOException {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        exchange.sendResponseHeaders(200, bytes.length);
        try (var stream = exchange.getResponseBody()) {
            stream.write(bytes);
        }
    }
}
