import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.Marshaller;
import io.grpc.MethodDescriptor.MethodType;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;

/** Calls whose messages are bytes as they are. */
class Raw implements Marshaller<byte[]> {
    static final Metadata.Key<String> ID = Metadata.Key.of("x-echo-id", Metadata.ASCII_STRING_MARSHALLER);
    static final Metadata.Key<String> END = Metadata.Key.of("x-echo-end", Metadata.ASCII_STRING_MARSHALLER);
    /** Of one call that streams. */
    static final int MESSAGES = 3;

    @Override
    public InputStream stream(byte[] message) {
        return new ByteArrayInputStream(message);
    }

    @Override
    public byte[] parse(InputStream stream) {
        try {
            return stream.readAllBytes();
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    /** A method by its path, which begins with a slash on the wire only. */
    static MethodDescriptor<byte[], byte[]> method(String path) {
        var name = path.substring(path.lastIndexOf('/') + 1);
        var raw = new Raw();
        return MethodDescriptor.newBuilder(raw, raw)
                .setType(type(name))
                .setFullMethodName(path.substring(1))
                .build();
    }

    static MethodType type(String method) {
        return switch (method) {
            case "ServerStream", "DataLoss", "Cancelled" -> MethodType.SERVER_STREAMING;
            case "ClientStream" -> MethodType.CLIENT_STREAMING;
            case "BidiStream" -> MethodType.BIDI_STREAMING;
            default -> MethodType.UNARY;
        };
    }
}
