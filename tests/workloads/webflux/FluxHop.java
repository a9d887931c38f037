// One hop of a chain in Java, in Spring WebFlux: served by reactor-netty, and called by Spring's WebClient on the same event loops.
//
// Otherwise as Hop, whose options it takes but for --send and --threads: nothing waits in a thread. What follows a think time is done by a
// thread of Reactor's timers, as Mono.delay has it.

import java.net.URI;
import java.time.Duration;
import java.time.temporal.ChronoUnit;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.springframework.http.server.reactive.HttpHandler;
import org.springframework.http.server.reactive.ReactorHttpHandlerAdapter;
import org.springframework.web.reactive.function.client.WebClient;
import org.springframework.web.reactive.function.server.RouterFunctions;
import org.springframework.web.reactive.function.server.ServerRequest;
import org.springframework.web.reactive.function.server.ServerResponse;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.netty.http.server.HttpServer;

public class FluxHop extends Hop {
    final WebClient web = WebClient.create();

    FluxHop(Map<String, String> options) {
        super(options);
    }

    Mono<Void> thinking() {
        var micros = thinkMicros();
        return micros == 0 ? Mono.empty() : Mono.delay(Duration.of(micros, ChronoUnit.MICROS)).then();
    }

    Flux<String> calling(String path) {
        return web.get()
                .uri(URI.create(next + path))
                .retrieve()
                .bodyToMono(String.class)
                .flatMapIterable(answer -> called(path, answer.lines()));
    }

    Flux<String> working(String path) {
        var children = Flux.fromIterable(children(path));
        var calls = isNested
                ? thinking().thenMany(children.flatMap(this::calling))
                : children.concatMap(child -> thinking().thenMany(calling(child)));
        return Flux.concat(Mono.just(path), calls, thinking().cast(String.class));
    }

    Flux<String> late(String path) {
        return Flux.fromIterable(lateChildren(path));
    }

    Mono<ServerResponse> serve(ServerRequest request) {
        var late = late(request.path()).flatMapIterable(child -> called(child, Stream.of(child)));
        return working(request.path())
                .concatWith(late)
                .collect(Collectors.joining("\n"))
                .flatMap(ServerResponse.ok()::bodyValue);
    }

    public static void main(String[] arguments) {
        var hop = new FluxHop(options(arguments));
        var routes = RouterFunctions.route().GET("/**", hop::serve).build();
        var handler = RouterFunctions.toHttpHandler(routes);
        HttpHandler andLate = (request, response) -> handler.handle(request, response)
                .doOnSuccess(done -> hop.late(request.getPath().value()).flatMap(hop::calling).subscribe());
        var server = HttpServer.create()
                .host("127.0.0.1")
                .port(0)
                .handle(new ReactorHttpHandlerAdapter(andLate))
                .bindNow();
        System.out.println(server.port());
        server.onDispose().block();
    }
}
