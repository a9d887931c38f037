// One hop of a chain in grpc-go, or a client that tries every kind of call, no tracing.
//
//	hop [--next URL] [--calls 1] [--order sequential] [--think-ms 0] [--jitter-ms 0]
//	hop --ask URL --methods Unary,… [--total 20] [--in-flight 1] [--size 0] [--run r] [--truth FILE]
//
// The server of echoes.py, or a client of it; otherwise as ../hop_grpc.py, whose options it takes. Its content type is
// application/grpc+proto, as if the bytes of its messages were of protobuf.
package main

import "flag"

var (
	next       = flag.String("next", "", "the hop it calls; without it, it is the last")
	_          = flag.String("client", "pool", "has no effect: calls share one connection")
	calls      = flag.Int("calls", 1, "calls for each request")
	skip       = flag.Float64("skip", 0, "how likely each of them is not made")
	_          = flag.Int("late", 0, "calls after the answer; there are none")
	order      = flag.String("order", "sequential", "sequential or nested")
	thinkMs    = flag.Float64("think-ms", 0, "before each call and after the last")
	jitterMs   = flag.Float64("jitter-ms", 0, "at most this is added to each think time")
	ask        = flag.String("ask", "", "be a client of this server")
	methods    = flag.String("methods", "Unary", "what it calls there, separated by commas")
	total      = flag.Int("total", 20, "calls of each method")
	inFlight   = flag.Int("in-flight", 1, "calls at once, on one connection")
	size       = flag.Int("size", 0, "bytes of a message, at least those of its id")
	deadlineMs = flag.Int("deadline-ms", 200, "of DeadlineExceeded")
	run        = flag.String("run", "r", "word that the ids begin with")
	truth      = flag.String("truth", "", "where the paths go that jobs called")
)

// Of one call that streams.
const messages = 3

// Messages are bytes as they are.
type raw struct{}

func (raw) Marshal(message any) ([]byte, error) {
	return *message.(*[]byte), nil
}

func (raw) Unmarshal(data []byte, message any) error {
	*message.(*[]byte) = data
	return nil
}

func (raw) Name() string {
	return "proto"
}

func main() {
	flag.Parse()
	if *ask != "" {
		askAll()
	} else {
		serve()
	}
}

// A stream of either end.
type stream interface {
	SendMsg(message any) error
	RecvMsg(message any) error
}

func send(stream stream, message []byte) error {
	return stream.SendMsg(&message)
}

func receive(stream stream) (message []byte, err error) {
	err = stream.RecvMsg(&message)
	return message, err
}
