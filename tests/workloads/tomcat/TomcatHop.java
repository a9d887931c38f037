// One hop of a chain in Java, served by Tomcat as Spring Boot has it: a servlet, in a thread of its pool or, with --threads virtual, a virtual one.
//
//     TomcatHop [--send sync|spring|url] …
//
// Otherwise as Hop, whose options it takes: calls are made by the JDK's HttpClient, by Spring's RestClient over it, which waits for what is sent
// asynchronously, or by HttpURLConnection.

import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.net.HttpURLConnection;
import java.net.URI;
import java.nio.file.Files;
import java.util.List;
import java.util.Map;
import java.util.logging.Level;
import java.util.logging.Logger;
import org.apache.catalina.LifecycleException;
import org.apache.catalina.startup.Tomcat;
import org.apache.coyote.AbstractProtocol;
import org.springframework.web.client.RestClient;

public class TomcatHop {
    static class Calls extends Hop {
        final RestClient rest = RestClient.create();
        final String send;

        Calls(Map<String, String> options) {
            super(options);
            send = options.get("--send");
        }

        @Override
        List<String> call(String path) throws IOException, InterruptedException {
            var target = URI.create(next + path);
            return switch (send) {
                case "spring" -> called(path, rest.get().uri(target).retrieve().body(String.class).lines());
                case "url" -> {
                    var connection = (HttpURLConnection) target.toURL().openConnection();
                    try (var answer = connection.getInputStream()) {
                        yield called(path, new String(answer.readAllBytes()).lines());
                    }
                }
                default -> super.call(path);
            };
        }
    }

    static class Servlet extends HttpServlet {
        final Hop hop;

        Servlet(Hop hop) {
            this.hop = hop;
        }

        @Override
        protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
            try {
                var body = String.join("\n", hop.work(request.getRequestURI())).getBytes();
                response.setContentLength(body.length);
                response.getOutputStream().write(body);
            } catch (InterruptedException error) {
                response.sendError(502);
            }
        }
    }

    public static void main(String[] arguments)
            throws IOException, LifecycleException, ReflectiveOperationException {
        var options = Hop.options(arguments);
        Logger.getLogger("").setLevel(Level.WARNING);
        var tomcat = new Tomcat();
        tomcat.setBaseDir(Files.createTempDirectory("tomcat").toString());
        tomcat.setHostname("127.0.0.1");
        tomcat.setPort(0);
        var connector = tomcat.getConnector();
        if (options.get("--threads").equals("virtual")) {
            ((AbstractProtocol<?>) connector.getProtocolHandler()).setExecutor(Hop.virtualThreads());
        }
        var context = tomcat.addContext("", null);
        Tomcat.addServlet(context, "hop", new Servlet(new Calls(options)));
        context.addServletMappingDecoded("/*", "hop");
        tomcat.start();
        System.out.println(connector.getLocalPort());
    }
}
