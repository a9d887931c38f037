// A server of HTTPS in the JDK's own HttpsServer, or a client in its HttpClient, no tracing.
//
//     Matrix serve CERTIFICATE KEY TLS HTTP
//     Matrix ask java URL CERTIFICATE HTTP METHOD PATH …
//
// As matrix.py says; as a server it speaks HTTP/1.1 alone.

import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsParameters;
import com.sun.net.httpserver.HttpsServer;
import java.io.ByteArrayInputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.concurrent.Executors;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class Matrix {
    static final char[] PASSWORD = "password".toCharArray();

    static Certificate certificate(String file) throws Exception {
        var bytes = Files.readAllBytes(Path.of(file));
        return CertificateFactory.getInstance("X.509").generateCertificate(new ByteArrayInputStream(bytes));
    }

    static KeyStore store() throws Exception {
        var store = KeyStore.getInstance("PKCS12");
        store.load(null, PASSWORD);
        return store;
    }

    static KeyManager[] identity(String certificate, String key) throws Exception {
        var text = Files.readString(Path.of(key)).replaceAll("-----[A-Z ]+-----|\\s", "");
        var spec = new PKCS8EncodedKeySpec(Base64.getDecoder().decode(text));
        var store = store();
        var chain = new Certificate[] {certificate(certificate)};
        store.setKeyEntry("own", KeyFactory.getInstance("EC").generatePrivate(spec), PASSWORD, chain);
        var managers = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        managers.init(store, PASSWORD);
        return managers.getKeyManagers();
    }

    static void serve(String certificate, String key, String version) throws Exception {
        var context = SSLContext.getInstance("TLS");
        context.init(identity(certificate, key), null, null);
        var server = HttpsServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 64);
        server.setHttpsConfigurator(new HttpsConfigurator(context) {
            @Override
            public void configure(HttpsParameters parameters) {
                var chosen = context.getDefaultSSLParameters();
                chosen.setProtocols(new String[] {"TLSv" + version});
                parameters.setSSLParameters(chosen);
            }
        });
        server.createContext("/", exchange -> {
            exchange.getRequestBody().readAllBytes();
            var path = exchange.getRequestURI().getPath();
            exchange.sendResponseHeaders(Integer.parseInt(path.substring(path.lastIndexOf('/') + 1)), 5);
            exchange.getResponseBody().write("hello".getBytes());
            exchange.close();
        });
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.start();
        System.out.println(server.getAddress().getPort());
    }

    static void ask(String url, String certificate, String http, String[] words) throws Exception {
        var store = store();
        store.setCertificateEntry("server", certificate(certificate));
        var trusted = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trusted.init(store);
        var context = SSLContext.getInstance("TLS");
        context.init(null, trusted.getTrustManagers(), null);
        var version = http.equals("2") ? HttpClient.Version.HTTP_2 : HttpClient.Version.HTTP_1_1;
        var client = HttpClient.newBuilder().sslContext(context).version(version).build();
        System.in.read();
        for (var at = 5; at < words.length; at += 2) {
            var body = words[at].equals("POST") ? BodyPublishers.ofString("X".repeat(3000)) : BodyPublishers.noBody();
            var request = HttpRequest.newBuilder(URI.create(url + words[at + 1])).method(words[at], body).build();
            var answer = client.send(request, BodyHandlers.discarding());
            var spoken = answer.version() == HttpClient.Version.HTTP_2 ? "2" : "1.1";
            System.out.println(words[at] + " " + words[at + 1] + " " + answer.statusCode() + " " + spoken);
        }
    }

    public static void main(String[] words) throws Exception {
        if (words[0].equals("serve")) {
            serve(words[1], words[2], words[3]);
        } else {
            ask(words[2], words[3], words[4], words);
        }
    }
}
