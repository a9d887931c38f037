import io.grpc.CallOptions;
import io.grpc.ClientInterceptors;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.BlockingClientCall;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.MetadataUtils;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;

/** A client that calls each method so often, and counts how the calls ended. */
class Asker {
    final Map<String, String> options;
    final Hop hop;
    final Map<String, Map<String, Integer>> counts = new TreeMap<>();
    final List<String> called = new ArrayList<>();

    Asker(Map<String, String> options) {
        this.options = options;
        hop = new Hop(options, options.get("--ask"));
    }

    int number(String option) {
        return Integer.parseInt(options.get(option));
    }

    void askAll() throws Exception {
        var threads = Executors.newFixedThreadPool(number("--in-flight"));
        for (var number = 0; number < number("--total"); number++) {
            for (var method : options.get("--methods").split(",")) {
                var at = number;
                threads.execute(() -> count(method, at));
            }
        }
        threads.shutdown();
        threads.awaitTermination(1, TimeUnit.HOURS);
        hop.channel.shutdown().awaitTermination(10, TimeUnit.SECONDS);
        if (!options.get("--truth").isEmpty()) {
            Files.write(Path.of(options.get("--truth")), called);
        }
        System.out.println(json());
    }

    void count(String method, int number) {
        var status = end(method, number);
        synchronized (this) {
            counts.computeIfAbsent(method, key -> new TreeMap<>()).merge(status, 1, Integer::sum);
        }
    }

    String end(String method, int number) {
        try {
            if (method.equals("Job")) {
                var paths = hop.call("/job/" + options.get("--run") + number);
                synchronized (this) {
                    called.addAll(paths);
                }
                return "0";
            }
            var id = options.get("--run") + "-" + method + "-" + number;
            var message = (id + ".".repeat(Math.max(0, number("--size") - id.length()))).getBytes();
            return isRight(method, message, ask(method, id, message)) ? "0" : "wrong answer";
        } catch (StatusRuntimeException | StatusException error) {
            return Integer.toString(Status.fromThrowable(error).getCode().value());
        } catch (Exception error) {
            error.printStackTrace();
            return "wrong answer";
        }
    }

    static boolean isRight(String method, byte[] message, List<byte[]> answers) {
        var text = new String(message);
        var expected =
                switch (method) {
                    case "ServerStream", "BidiStream" -> Collections.nCopies(Raw.MESSAGES, text);
                    case "ClientStream" -> List.of(text.repeat(Raw.MESSAGES));
                    default -> List.of(text);
                };
        return answers.stream().map(String::new).toList().equals(expected);
    }

    List<byte[]> ask(String method, String id, byte[] message) throws Exception {
        var metadata = new Metadata();
        metadata.put(Raw.ID, id);
        var channel = ClientInterceptors.intercept(hop.channel, MetadataUtils.newAttachHeadersInterceptor(metadata));
        var descriptor = Raw.method("/chain.Echo/" + method);
        var now = CallOptions.DEFAULT;
        return switch (method) {
            case "ServerStream", "DataLoss" -> {
                List<byte[]> answers = new ArrayList<>();
                ClientCalls.blockingServerStreamingCall(channel, descriptor, now, message)
                        .forEachRemaining(answers::add);
                yield answers;
            }
            case "ClientStream" -> {
                var call = ClientCalls.blockingClientStreamingCall(channel, descriptor, now);
                for (var time = 0; time < Raw.MESSAGES; time++) {
                    call.write(message);
                }
                call.halfClose();
                yield all(call);
            }
            case "BidiStream" -> {
                var call = ClientCalls.blockingBidiStreamingCall(channel, descriptor, now);
                List<byte[]> answers = new ArrayList<>();
                // Says the next only when the last was answered.
                for (var time = 0; time < Raw.MESSAGES; time++) {
                    call.write(message);
                    answers.add(call.read());
                }
                call.halfClose();
                answers.addAll(all(call));
                yield answers;
            }
            case "Cancelled" -> {
                var call = ClientCalls.blockingV2ServerStreamingCall(channel, descriptor, now, message);
                call.read();
                call.cancel("by this client", null);
                throw Status.CANCELLED.asRuntimeException();
            }
            default -> {
                var limit = now.withDeadlineAfter(number("--deadline-ms"), TimeUnit.MILLISECONDS);
                var given = method.equals("DeadlineExceeded") ? limit : now;
                yield List.of(ClientCalls.blockingUnaryCall(channel, descriptor, given, message));
            }
        };
    }

    static List<byte[]> all(BlockingClientCall<byte[], byte[]> call) throws Exception {
        List<byte[]> answers = new ArrayList<>();
        for (var answer = call.read(); answer != null; answer = call.read()) {
            answers.add(answer);
        }
        return answers;
    }

    String json() {
        return counts.entrySet().stream()
                .map(method -> quoted(method.getKey()) + method.getValue().entrySet().stream()
                        .map(status -> quoted(status.getKey()) + status.getValue())
                        .collect(Collectors.joining(", ", "{", "}")))
                .collect(Collectors.joining(", ", "{", "}"));
    }

    static String quoted(String key) {
        return '"' + key + "\": ";
    }
}
