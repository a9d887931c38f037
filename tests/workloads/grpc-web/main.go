// A service that answers gRPC and gRPC-Web, a proxy that takes gRPC-Web and calls by gRPC, and a client of either, no tracing.
//
//	grpc-web
//	grpc-web --before URL
//	grpc-web --ask URL [--http 1.1] [--methods Unary,…] [--total 20] [--in-flight 1] [--run r]
//
// The service and the client are connectrpc.com/connect, the proxy is improbable-eng/grpc-web before net/http's. The methods are those of
// echoes.py that have one request and one answer; what answers and the proxy speak HTTP/1.1 and cleartext HTTP/2.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"

	"connectrpc.com/connect"
	"github.com/improbable-eng/grpc-web/go/grpcweb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

var (
	ask      = flag.String("ask", "", "be a client of this service")
	before   = flag.String("before", "", "be a proxy before this service")
	version  = flag.String("http", "1.1", "what the client speaks: 1.1 or 2")
	methods  = flag.String("methods", "Unary,NotFound,DataLoss,Unimplemented", "what the client calls")
	total    = flag.Int("total", 20, "calls of each method")
	inFlight = flag.Int("in-flight", 1, "calls at once")
	run      = flag.String("run", "r", "word that the ids begin with")
)

type (
	message = wrapperspb.StringValue
	method  = func(context.Context, *connect.Request[message]) (*connect.Response[message], error)
)

func unary(_ context.Context, request *connect.Request[message]) (*connect.Response[message], error) {
	return connect.NewResponse(request.Msg), nil
}

func fails(code connect.Code) method {
	return func(context.Context, *connect.Request[message]) (*connect.Response[message], error) {
		return nil, connect.NewError(code, errors.New("as it must be"))
	}
}

// The message back, then an error.
func dataLoss(_ context.Context, request *connect.Request[message], stream *connect.ServerStream[message]) error {
	if err := stream.Send(request.Msg); err != nil {
		return err
	}
	return connect.NewError(connect.CodeDataLoss, errors.New("the rest is lost"))
}

func echo() http.Handler {
	const unaryPath, notFoundPath, dataLossPath = "/chain.Echo/Unary", "/chain.Echo/NotFound", "/chain.Echo/DataLoss"
	mux := http.NewServeMux()
	mux.Handle(unaryPath, connect.NewUnaryHandler(unaryPath, unary))
	mux.Handle(notFoundPath, connect.NewUnaryHandler(notFoundPath, fails(connect.CodeNotFound)))
	mux.Handle(dataLossPath, connect.NewServerStreamHandler(dataLossPath, dataLoss))
	unimplemented := fails(connect.CodeUnimplemented)
	mux.Handle("/", connect.NewUnaryHandler("/chain.Echo/Unimplemented", unimplemented))
	return mux
}

func protocols(http1, http2 bool) *http.Protocols {
	var protocols http.Protocols
	protocols.SetHTTP1(http1)
	protocols.SetUnencryptedHTTP2(http2)
	return &protocols
}

func proxy(next *url.URL) http.Handler {
	to := &httputil.ReverseProxy{
		Rewrite: func(request *httputil.ProxyRequest) {
			request.SetURL(next)
			// The status comes in them.
			request.Out.Header.Set("Te", "trailers")
		},
		Transport:     &http.Transport{Protocols: protocols(false, true)},
		FlushInterval: -1,
	}
	return grpcweb.WrapHandler(to, grpcweb.WithEndpointsFunc(func() []string { return nil }))
}

func serve(handler http.Handler) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	server := &http.Server{Handler: handler, Protocols: protocols(true, true)}
	return server.Serve(listener)
}

// Calls a method once: the number of the status it ends with.
func call(client connect.HTTPClient, name string, text string) (uint32, error) {
	calls := connect.NewClient[message, message](client, *ask+"/chain.Echo/"+name, connect.WithGRPCWeb())
	request := connect.NewRequest(wrapperspb.String(text))
	var answers []string
	var err error
	if name == "DataLoss" {
		stream, failed := calls.CallServerStream(context.Background(), request)
		if failed != nil {
			return 0, failed
		}
		for stream.Receive() {
			answers = append(answers, stream.Msg().Value)
		}
		err = stream.Err()
		stream.Close()
	} else if response, failed := calls.CallUnary(context.Background(), request); failed == nil {
		answers = append(answers, response.Msg.Value)
	} else {
		err = failed
	}
	ended := new(connect.Error)
	switch {
	case err == nil && len(answers) == 1 && answers[0] == text:
		return 0, nil
	case errors.As(err, &ended) && connect.IsWireError(err):
		return uint32(ended.Code()), nil
	default:
		return 0, fmt.Errorf("%s: %v %w", name, answers, err)
	}
}

func askAll() error {
	client := &http.Client{Transport: &http.Transport{
		Protocols:           protocols(*version == "1.1", *version == "2"),
		MaxIdleConnsPerHost: *inFlight,
	}}
	counts := map[string]map[uint32]int{}
	work := make(chan func() error)
	failures := make(chan error, *inFlight)
	var one sync.Mutex
	for range *inFlight {
		go func() {
			var failure error
			for each := range work {
				failure = errors.Join(failure, each())
			}
			failures <- failure
		}()
	}
	for number := range *total {
		for _, name := range strings.Split(*methods, ",") {
			work <- func() error {
				status, err := call(client, name, fmt.Sprintf("%s-%s-%d", *run, name, number))
				if err != nil {
					return err
				}
				one.Lock()
				defer one.Unlock()
				if counts[name] == nil {
					counts[name] = map[uint32]int{}
				}
				counts[name][status]++
				return nil
			}
		}
	}
	close(work)
	var failure error
	for range *inFlight {
		failure = errors.Join(failure, <-failures)
	}
	json.NewEncoder(os.Stdout).Encode(counts)
	return failure
}

func main() {
	flag.Parse()
	next, err := url.Parse(*before)
	switch {
	case err != nil:
	case *ask != "":
		err = askAll()
	case *before != "":
		err = serve(proxy(next))
	default:
		err = serve(echo())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
