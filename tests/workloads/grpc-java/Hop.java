// One hop of a chain in grpc-java, on the Netty that comes with it, or a client that tries every kind of call, no tracing.
//
//     Hop [--next URL] [--send sync] [--calls 1] [--order sequential] [--think-ms 0] [--jitter-ms 0]
//     Hop --ask URL --methods Unary,… [--total 20] [--in-flight 1] [--size 0] [--run r] [--truth FILE]
//
// The server of echoes.py, or a client of it; otherwise as ../hop_grpc.py, whose options it takes. Handlers run in a pool
// of threads. With --send async they return at once, and the answer is sent by whatever thread the last call ends in.

import io.grpc.CallOptions;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.StreamObserver;
import java.net.URI;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import java.util.stream.Stream;

public class Hop {
    static final Map<String, String> DEFAULTS = Map.ofEntries(
            Map.entry("--next", ""),
            Map.entry("--client", "pool"),
            Map.entry("--send", "sync"),
            Map.entry("--calls", "1"),
            Map.entry("--skip", "0"),
            Map.entry("--late", "0"),
            Map.entry("--order", "sequential"),
            Map.entry("--think-ms", "0"),
            Map.entry("--jitter-ms", "0"),
            Map.entry("--ask", ""),
            Map.entry("--methods", "Unary"),
            Map.entry("--total", "20"),
            Map.entry("--in-flight", "1"),
            Map.entry("--size", "0"),
            Map.entry("--deadline-ms", "200"),
            Map.entry("--run", "r"),
            Map.entry("--truth", ""));

    final ManagedChannel channel;
    final String prefix;
    final int calls;
    final double skip;
    final boolean isNested;
    final boolean isAsync;
    final double thinkMs;
    final double jitterMs;

    /** The calls of a job to the server there; none where there is no URL. */
    Hop(Map<String, String> options, String url) {
        var base = URI.create(url);
        channel = url.isEmpty()
                ? null
                : Grpc.newChannelBuilder(base.getAuthority(), InsecureChannelCredentials.create()).build();
        prefix = base.getPath();
        calls = Integer.parseInt(options.get("--calls"));
        skip = Double.parseDouble(options.get("--skip"));
        isNested = options.get("--order").equals("nested");
        isAsync = options.get("--send").equals("async");
        thinkMs = Double.parseDouble(options.get("--think-ms"));
        jitterMs = Double.parseDouble(options.get("--jitter-ms"));
    }

    List<String> children(String path) {
        return IntStream.range(0, channel == null ? 0 : calls)
                .filter(number -> ThreadLocalRandom.current().nextDouble() >= skip)
                .mapToObj(number -> path + "." + number)
                .toList();
    }

    long thinkMicros() {
        return (long) ((thinkMs + ThreadLocalRandom.current().nextDouble() * jitterMs) * 1000);
    }

    void think() throws InterruptedException {
        TimeUnit.MICROSECONDS.sleep(thinkMicros());
    }

    /** The paths that were called for a job, its own first; the call itself, where a proxy takes a segment off its path. */
    List<String> called(String path, byte[] answer) {
        return Stream.concat(Stream.of(prefix + path).filter(called -> !prefix.isEmpty()), new String(answer).lines())
                .toList();
    }

    List<String> call(String path) {
        var method = Raw.method(prefix + path);
        return called(path, ClientCalls.blockingUnaryCall(channel, method, CallOptions.DEFAULT, path.getBytes()));
    }

    CompletableFuture<List<String>> callAsync(String path) {
        var answer = new CompletableFuture<byte[]>();
        var call = channel.newCall(Raw.method(prefix + path), CallOptions.DEFAULT);
        ClientCalls.asyncUnaryCall(call, path.getBytes(), new StreamObserver<>() {
            @Override
            public void onNext(byte[] message) {
                answer.complete(message);
            }

            @Override
            public void onError(Throwable error) {
                answer.completeExceptionally(error);
            }

            @Override
            public void onCompleted() {}
        });
        return answer.thenApply(message -> called(path, message));
    }

    CompletableFuture<List<List<String>>> callAll(String path) {
        var answers = children(path).stream().map(this::callAsync).toList();
        return CompletableFuture.allOf(answers.toArray(CompletableFuture[]::new))
                .thenApply(done -> answers.stream().map(CompletableFuture::join).toList());
    }

    CompletableFuture<List<String>> work(String path) throws InterruptedException {
        if (isAsync) {
            return workAsync(path);
        }
        List<String> called = new ArrayList<>(List.of(path));
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
        return CompletableFuture.completedFuture(called);
    }

    CompletableFuture<Void> thinkAsync() {
        var micros = thinkMicros();
        return micros == 0
                ? CompletableFuture.completedFuture(null)
                : CompletableFuture.runAsync(() -> {}, CompletableFuture.delayedExecutor(micros, TimeUnit.MICROSECONDS));
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

    public static void main(String[] arguments) throws Exception {
        Map<String, String> options = new HashMap<>(DEFAULTS);
        for (var at = 0; at < arguments.length; at += 2) {
            if (options.replace(arguments[at], arguments[at + 1]) == null) {
                throw new IllegalArgumentException(arguments[at]);
            }
        }
        if (options.get("--ask").isEmpty()) {
            new Server(new Hop(options, options.get("--next"))).serve();
        } else {
            new Asker(options).askAll();
        }
    }
}
