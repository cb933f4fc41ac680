// The smallest instrumented service in Java: java -javaagent:opentelemetry-javaagent.jar App
// The agent knows the server and the client of the JDK; no line of the program is about tracing.
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Executors;

public final class App {
    private static final String NAME = System.getenv("OTEL_SERVICE_NAME");
    private static final String NEXT = System.getenv("NEXT_URL");
    private static final HttpClient CLIENT = HttpClient.newHttpClient();

    public static void main(String[] arguments) throws IOException {
        int port = Integer.parseInt(System.getenv("PORT"));
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
        server.createContext("/work", App::work);
        server.setExecutor(Executors.newFixedThreadPool(8));
        server.start();
    }

    private static void work(HttpExchange exchange) throws IOException {
        String query = exchange.getRequestURI().getQuery();
        if (("fail=" + NAME).equals(query)) {
            answer(exchange, 500, NAME + " fails as asked\n");
            return;
        }
        URI next = URI.create(NEXT + "/work" + (query == null ? "" : "?" + query));
        try {
            var response = CLIENT.send(HttpRequest.newBuilder(next).build(), BodyHandlers.ofString());
            answer(exchange, response.statusCode(), NAME + ", " + response.body());
        } catch (IOException error) {
            answer(exchange, 502, NAME + " reaches nothing: " + error + "\n");
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }

    private static void answer(HttpExchange exchange, int status, String text) throws IOException {
        byte[] body = text.getBytes(StandardCharsets.UTF_8);
        exchange.sendResponseHeaders(status, body.length);
        try (var out = exchange.getResponseBody()) {
            out.write(body);
        }
    }
}
