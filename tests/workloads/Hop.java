// One hop of a chain in Java: the JDK's own server (com.sun.net.httpserver) and client (java.net.http), no tracing.
//
//     Hop [--next URL] [--send sync] [--threads pool] [--calls 1] [--order sequential] [--think-ms 0] [--jitter-ms 0]
//
// Prints its port and serves until it is terminated; otherwise as hop.py, whose options it takes; its connections are
// kept alive in a pool, whatever --client says. Requests are served by a fixed pool of threads or, with --threads virtual, by a virtual
// thread each, which takes Java 21. With --send async the handler returns at once and the answer is sent by whatever
// thread the last call ends in; with --send sync it waits for each call, with --order nested for all that it began.

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;

public class Hop {
    static final int THREADS = 16;
    static final Map<String, String> DEFAULTS = Map.of(
            "--next", "",
            "--client", "pool",
            "--send", "sync",
            "--threads", "pool",
            "--calls", "1",
            "--skip", "0",
            "--late", "0",
            "--order", "sequential",
            "--think-ms", "0",
            "--jitter-ms", "0");

    final HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    final String next;
    final String prefix;
    final int calls;
    final double skip;
    final int late;
    final boolean isNested;
    final double thinkMs;
    final double jitterMs;

    Hop(Map<String, String> options) {
        next = options.get("--next");
        prefix = URI.create(next).getPath();
        calls = Integer.parseInt(options.get("--calls"));
        skip = Double.parseDouble(options.get("--skip"));
        late = Integer.parseInt(options.get("--late"));
        isNested = options.get("--order").equals("nested");
        thinkMs = Double.parseDouble(options.get("--think-ms"));
        jitterMs = Double.parseDouble(options.get("--jitter-ms"));
    }

    static Map<String, String> options(String[] arguments) {
        Map<String, String> options = new HashMap<>(DEFAULTS);
        for (var at = 0; at < arguments.length; at += 2) {
            if (options.replace(arguments[at], arguments[at + 1]) == null) {
                throw new IllegalArgumentException(arguments[at]);
            }
        }
        return options;
    }

    boolean isLast(String path) {
        return next.isEmpty() || path.contains(".late");
    }

    List<String> children(String path) {
        return IntStream.range(0, isLast(path) ? 0 : calls)
                .filter(number -> ThreadLocalRandom.current().nextDouble() >= skip)
                .mapToObj(number -> path + "." + number)
                .toList();
    }

    List<String> lateChildren(String path) {
        return IntStream.range(0, isLast(path) ? 0 : late)
                .mapToObj(number -> path + ".late" + number)
                .toList();
    }

    long thinkMicros() {
        return (long) ((thinkMs + ThreadLocalRandom.current().nextDouble() * jitterMs) * 1000);
    }

    HttpRequest request(String path) {
        return HttpRequest.newBuilder(URI.create(next + path)).build();
    }

    List<String> called(String path, HttpResponse<String> answer) {
        if (answer.statusCode() != 200) {
            throw new IllegalStateException(answer.statusCode() + ": " + answer.body());
        }
        return called(path, answer.body().lines());
    }

    /** The paths that were called for this one: also its own, where a proxy takes a segment off it. */
    List<String> called(String path, Stream<String> behind) {
        return Stream.concat(Stream.of(prefix + path).filter(called -> !prefix.isEmpty()), behind).toList();
    }

    void think() throws InterruptedException {
        TimeUnit.MICROSECONDS.sleep(thinkMicros());
    }

    List<String> call(String path) throws IOException, InterruptedException {
        return called(path, client.send(request(path), BodyHandlers.ofString()));
    }

    List<String> work(String path) throws IOException, InterruptedException {
        var called = new ArrayList<>(List.of(path));
        if (isNested) {
            think();
            callAll(path).join().forEach(called::addAll);
        } else {
            for (var child : children(path)) {
                think();
                called.addAll(call(child));
            }
        }
        think();
        return called;
    }

    CompletableFuture<Void> thinkAsync() {
        var micros = thinkMicros();
        return micros == 0
                ? CompletableFuture.completedFuture(null)
                : CompletableFuture.runAsync(() -> {}, CompletableFuture.delayedExecutor(micros, TimeUnit.MICROSECONDS));
    }

    CompletableFuture<List<String>> callAsync(String path) {
        return client.sendAsync(request(path), BodyHandlers.ofString()).thenApply(answer -> called(path, answer));
    }

    CompletableFuture<List<List<String>>> callAll(String path) {
        var answers = children(path).stream().map(this::callAsync).toList();
        return CompletableFuture.allOf(answers.toArray(CompletableFuture[]::new))
                .thenApply(done -> answers.stream().map(CompletableFuture::join).toList());
    }

    CompletableFuture<List<String>> workAsync(String path) {
        List<String> called = new ArrayList<>(List.of(path));
        CompletableFuture<Void> work = CompletableFuture.completedFuture(null);
        if (isNested) {
            work = thinkAsync()
                    .thenCompose(done -> callAll(path))
                    .thenAccept(answers -> answers.forEach(called::addAll));
        } else {
            for (var child : children(path)) {
                work = work.thenCompose(done -> thinkAsync())
                        .thenCompose(done -> callAsync(child))
                        .thenAccept(called::addAll);
            }
        }
        return work.thenCompose(done -> thinkAsync()).thenApply(done -> called);
    }

    static void answer(HttpExchange exchange, int status, String text) {
        var body = text.getBytes();
        try (exchange) {
            exchange.sendResponseHeaders(status, body.length);
            exchange.getResponseBody().write(body);
        } catch (IOException error) {
            error.printStackTrace();
        }
    }

    void answer(HttpExchange exchange, List<String> called) {
        var late = lateChildren(path(exchange)).stream().flatMap(child -> called(child, Stream.of(child)).stream());
        answer(exchange, 200, Stream.concat(called.stream(), late).collect(Collectors.joining("\n")));
    }

    static String path(HttpExchange exchange) {
        return exchange.getRequestURI().getPath();
    }

    void serve(HttpExchange exchange) {
        try {
            answer(exchange, work(path(exchange)));
            for (var child : lateChildren(path(exchange))) {
                call(child);
            }
        } catch (Exception error) {
            answer(exchange, 502, error.toString());
        }
    }

    void serveAsync(HttpExchange exchange) {
        workAsync(path(exchange))
                .thenAccept(called -> answer(exchange, called))
                .thenRun(() -> lateChildren(path(exchange)).forEach(this::callAsync))
                .exceptionally(error -> {
                    answer(exchange, 502, error.toString());
                    return null;
                });
    }

    /** By name, so that Java 17 compiles it. */
    static ExecutorService virtualThreads() throws ReflectiveOperationException {
        return (ExecutorService) Executors.class.getMethod("newVirtualThreadPerTaskExecutor").invoke(null);
    }

    public static void main(String[] arguments) throws IOException, ReflectiveOperationException {
        var options = options(arguments);
        var hop = new Hop(options);
        // Head and body go out in two writes; without this the second waits for the first one's acknowledgement.
        System.setProperty("sun.net.httpserver.nodelay", "true");
        var server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 1024);
        var isVirtual = options.get("--threads").equals("virtual");
        server.setExecutor(isVirtual ? virtualThreads() : Executors.newFixedThreadPool(THREADS));
        var isAsync = options.get("--send").equals("async");
        server.createContext("/", isAsync ? hop::serveAsync : hop::serve);
        server.start();
        System.out.println(server.getAddress().getPort());
    }
}
