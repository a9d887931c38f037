package main

import (
	"context"
	"fmt"
	"math/rand"
	"net/url"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// The calls that a job causes; nil in the last hop.
type hop struct {
	prefix     string
	connection *grpc.ClientConn
}

func connect(base string) (*grpc.ClientConn, string) {
	parsed, err := url.Parse(base)
	if err != nil {
		panic(err)
	}
	connection, err := grpc.NewClient(
		"passthrough:///"+parsed.Host,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})),
	)
	if err != nil {
		panic(err)
	}
	return connection, strings.TrimSuffix(parsed.Path, "/")
}

func newHop() *hop {
	connection, prefix := connect(*next)
	return &hop{prefix, connection}
}

func think() {
	ms := *thinkMs + rand.Float64()**jitterMs
	if ms > 0 {
		time.Sleep(time.Duration(ms * float64(time.Millisecond)))
	}
}

// The paths that were called for a job, its own first.
func (h *hop) work(context context.Context, path string) ([]string, error) {
	called := []string{path}
	if h != nil {
		more, err := h.callAll(context, children(path))
		if err != nil {
			return nil, err
		}
		called = append(called, more...)
	}
	think()
	return called, nil
}

func children(path string) (children []string) {
	for number := 0; number < *calls; number++ {
		if rand.Float64() >= *skip {
			children = append(children, fmt.Sprintf("%s.%d", path, number))
		}
	}
	return children
}

func (h *hop) callAll(context context.Context, paths []string) (called []string, failed error) {
	if *order != "nested" {
		for _, path := range paths {
			think()
			more, err := h.call(context, path)
			if err != nil {
				return called, err
			}
			called = append(called, more...)
		}
		return called, nil
	}
	think()
	var all sync.WaitGroup
	var one sync.Mutex
	for _, path := range paths {
		all.Add(1)
		go func() {
			defer all.Done()
			more, err := h.call(context, path)
			one.Lock()
			defer one.Unlock()
			called = append(called, more...)
			if err != nil {
				failed = err
			}
		}()
	}
	all.Wait()
	return called, failed
}

func (h *hop) call(context context.Context, path string) ([]string, error) {
	message, answer := []byte(path), []byte(nil)
	err := h.connection.Invoke(context, h.prefix+path, &message, &answer)
	called := strings.Fields(string(answer))
	// The call itself, where a proxy is to take a segment off its path.
	if h.prefix != "" {
		called = append([]string{h.prefix + path}, called...)
	}
	return called, err
}
