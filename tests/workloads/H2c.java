// A client of cleartext HTTP/2 in the JDK's own java.net.http, no tracing. It begins in HTTP/1.1 and upgrades, which is the
// only way it knows without TLS.
//
//     H2c --ask URL [--total 20] [--in-flight 1] [--header-bytes 0] [--body-bytes 1000]
//
// As h2c.py says.

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;

public class H2c {
    static final Map<String, String> DEFAULTS = Map.of(
            "--ask", "", "--total", "20", "--in-flight", "1", "--header-bytes", "0", "--body-bytes", "1000");

    final HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_2).build();
    final Map<String, Integer> counts = new TreeMap<>();
    final String server;
    final String fill;

    H2c(String server, int headerBytes) {
        this.server = server;
        fill = "X".repeat(headerBytes);
    }

    String ended(String method, String path, BodyPublisher body) {
        var request = HttpRequest.newBuilder(URI.create(server + path)).method(method, body);
        if (!fill.isEmpty()) {
            request.header("x-fill", fill);
        }
        try {
            var answer = client.send(request.build(), BodyHandlers.discarding());
            var version = answer.version() == HttpClient.Version.HTTP_2 ? "" : " " + answer.version();
            return method + " " + answer.statusCode() + version;
        } catch (Exception error) {
            error.printStackTrace();
            return "failed";
        }
    }

    void send(String method, String path, BodyPublisher body) {
        var ended = ended(method, path, body);
        synchronized (counts) {
            counts.merge(ended, 1, Integer::sum);
        }
    }

    public static void main(String[] arguments) throws InterruptedException {
        Map<String, String> options = new HashMap<>(DEFAULTS);
        for (var at = 0; at < arguments.length; at += 2) {
            if (options.replace(arguments[at], arguments[at + 1]) == null) {
                throw new IllegalArgumentException(arguments[at]);
            }
        }
        var bodyBytes = Integer.parseInt(options.get("--body-bytes"));
        var asker = new H2c(options.get("--ask"), Integer.parseInt(options.get("--header-bytes")));
        var body = BodyPublishers.ofString("X".repeat(bodyBytes));
        var threads = Executors.newFixedThreadPool(Integer.parseInt(options.get("--in-flight")));
        // The first upgrades its connection alone: what is sent meanwhile would have connections of its own.
        asker.send("GET", "/bytes/" + bodyBytes, BodyPublishers.noBody());
        for (var number = 0; number < Integer.parseInt(options.get("--total")); number++) {
            if (number > 0) {
                threads.execute(() -> asker.send("GET", "/bytes/" + bodyBytes, BodyPublishers.noBody()));
            }
            threads.execute(() -> asker.send("POST", "/up", body));
            threads.execute(() -> asker.send("GET", "/missing", BodyPublishers.noBody()));
        }
        threads.shutdown();
        threads.awaitTermination(1, TimeUnit.HOURS);
        System.out.println(asker.counts.entrySet().stream()
                .map(count -> "\"" + count.getKey() + "\": " + count.getValue())
                .collect(Collectors.joining(", ", "{", "}")));
    }
}
