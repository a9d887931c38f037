import io.grpc.ForwardingServerCall.SimpleForwardingServerCall;
import io.grpc.HandlerRegistry;
import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerMethodDefinition;
import io.grpc.Status;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.ServerCalls;
import io.grpc.stub.StreamObserver;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;

/** The echo service, and jobs, found by their path whatever it is. */
class Server extends HandlerRegistry {
    static final int THREADS = 16;

    final Hop hop;

    Server(Hop hop) {
        this.hop = hop;
    }

    void serve() throws IOException, InterruptedException {
        var address = new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);
        var server = NettyServerBuilder.forAddress(address, InsecureServerCredentials.create())
                .executor(Executors.newFixedThreadPool(THREADS))
                .fallbackHandlerRegistry(this)
                .build()
                .start();
        System.out.println(server.getPort());
        // Netty's threads alone do not keep the process.
        server.awaitTermination();
    }

    @Override
    public ServerMethodDefinition<?, ?> lookupMethod(String name, String authority) {
        var path = "/" + name;
        var handler = path.startsWith("/job/") ? job(path) : echo(path.replaceFirst("^/chain.Echo/", ""));
        return handler == null ? null : ServerMethodDefinition.create(Raw.method(path), handler);
    }

    ServerCallHandler<byte[], byte[]> job(String path) {
        return ServerCalls.asyncUnaryCall((message, answer) -> {
            try {
                hop.work(path).whenComplete((called, error) -> {
                    if (error == null) {
                        send(answer, String.join("\n", called).getBytes(), 1);
                    } else {
                        answer.onError(Status.fromThrowable(error).asException());
                    }
                });
            } catch (InterruptedException error) {
                answer.onError(Status.ABORTED.asException());
            }
        });
    }

    /** Null for what is no method. */
    static ServerCallHandler<byte[], byte[]> echo(String method) {
        return switch (method) {
            case "Unary" -> sendingIdBack(ServerCalls.asyncUnaryCall((message, answer) -> send(answer, message, 1)));
            case "ServerStream" -> sendingIdBack(
                    ServerCalls.asyncServerStreamingCall((message, answer) -> send(answer, message, Raw.MESSAGES)));
            case "ClientStream" -> sendingIdBack(ServerCalls.asyncClientStreamingCall(Join::new));
            case "BidiStream" -> sendingIdBack(ServerCalls.asyncBidiStreamingCall(Echo::new));
            case "NotFound" -> ServerCalls.asyncUnaryCall((message, answer) ->
                    answer.onError(Status.NOT_FOUND.withDescription("there is none").asException()));
            case "DataLoss" -> ServerCalls.asyncServerStreamingCall((message, answer) -> {
                answer.onNext(message);
                answer.onError(Status.DATA_LOSS.withDescription("the rest is lost").asException());
            });
            case "DeadlineExceeded" -> ServerCalls.asyncUnaryCall((message, answer) -> untilCancelled(answer));
            case "Cancelled" -> ServerCalls.asyncServerStreamingCall((message, answer) -> {
                untilCancelled(answer);
                answer.onNext(message);
            });
            default -> null;
        };
    }

    static void send(StreamObserver<byte[]> answer, byte[] message, int times) {
        for (var time = 0; time < times; time++) {
            answer.onNext(message);
        }
        answer.onCompleted();
    }

    /** Leaves the call as it is until its client has gone. */
    static void untilCancelled(StreamObserver<byte[]> answer) {
        ((ServerCallStreamObserver<byte[]>) answer).setOnCancelHandler(() -> {});
    }

    /** With the id of the call in both of its metadata. */
    static ServerCallHandler<byte[], byte[]> sendingIdBack(ServerCallHandler<byte[], byte[]> handler) {
        return (call, given) -> handler.startCall(new SendingIdBack(call, given.get(Raw.ID)), given);
    }

    static class SendingIdBack extends SimpleForwardingServerCall<byte[], byte[]> {
        final String id;

        SendingIdBack(ServerCall<byte[], byte[]> call, String id) {
            super(call);
            this.id = id;
        }

        @Override
        public void sendHeaders(Metadata headers) {
            headers.put(Raw.ID, id);
            super.sendHeaders(headers);
        }

        @Override
        public void close(Status status, Metadata trailers) {
            trailers.put(Raw.END, id);
            super.close(status, trailers);
        }
    }

    /** Answers with all messages as one. */
    static class Join implements StreamObserver<byte[]> {
        final StreamObserver<byte[]> answer;
        final ByteArrayOutputStream all = new ByteArrayOutputStream();

        Join(StreamObserver<byte[]> answer) {
            this.answer = answer;
        }

        @Override
        public void onNext(byte[] message) {
            all.writeBytes(message);
        }

        @Override
        public void onError(Throwable error) {}

        @Override
        public void onCompleted() {
            send(answer, all.toByteArray(), 1);
        }
    }

    /** Answers each message with itself. */
    static class Echo implements StreamObserver<byte[]> {
        final StreamObserver<byte[]> answer;

        Echo(StreamObserver<byte[]> answer) {
            this.answer = answer;
        }

        @Override
        public void onNext(byte[] message) {
            answer.onNext(message);
        }

        @Override
        public void onError(Throwable error) {}

        @Override
        public void onCompleted() {
            answer.onCompleted();
        }
    }
}
