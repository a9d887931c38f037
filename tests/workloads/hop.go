// One hop of a chain in goroutines: Go's own net/http, no tracing.
//
//	hop [--next URL] [--client pool|oneshot] [--calls 1] [--order sequential] [--think-ms 0] [--jitter-ms 0]
//
// Prints its port and serves until it is terminated; otherwise as hop.py, whose options it takes. With --order nested
// every call is made by a goroutine of its own.
package main

import (
	"flag"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

var (
	next     = flag.String("next", "", "the hop it calls; without it, it is the last")
	client   = flag.String("client", "pool", "pool or oneshot")
	calls    = flag.Int("calls", 1, "calls for each request")
	skip     = flag.Float64("skip", 0, "how likely each of them is not made")
	late     = flag.Int("late", 0, "calls after the answer to each request")
	order    = flag.String("order", "sequential", "sequential or nested")
	thinkMs  = flag.Float64("think-ms", 0, "before each call and after the last")
	jitterMs = flag.Float64("jitter-ms", 0, "at most this is added to each think time")
)

func think() {
	ms := *thinkMs + rand.Float64()**jitterMs
	if ms > 0 {
		time.Sleep(time.Duration(ms * float64(time.Millisecond)))
	}
}

type caller struct {
	base   *url.URL
	client *http.Client
}

func newCaller() *caller {
	base, err := url.Parse(*next)
	if err != nil {
		panic(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 1024, DisableKeepAlives: *client == "oneshot"}
	return &caller{base, &http.Client{Transport: transport}}
}

func (c *caller) call(path string) ([]string, error) {
	prefix := strings.TrimSuffix(c.base.Path, "/")
	answer, err := c.client.Get("http://" + c.base.Host + prefix + path)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%d: %s", answer.StatusCode, body)
	}
	return append(c.via(path), strings.Fields(string(body))...), err
}

// The call itself, where a proxy is to take a segment off its path.
func (c *caller) via(path string) []string {
	if prefix := strings.TrimSuffix(c.base.Path, "/"); prefix != "" {
		return []string{prefix + path}
	}
	return nil
}

func children(path string) (children []string) {
	for number := 0; number < *calls; number++ {
		if rand.Float64() >= *skip {
			children = append(children, fmt.Sprintf("%s.%d", path, number))
		}
	}
	return children
}

func lateChildren(path string) (children []string) {
	for number := 0; number < *late; number++ {
		children = append(children, fmt.Sprintf("%s.late%d", path, number))
	}
	return children
}

func (c *caller) callAll(paths []string) (called []string, failed error) {
	if *order != "nested" {
		for _, path := range paths {
			think()
			more, err := c.call(path)
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
		go func(path string) {
			defer all.Done()
			more, err := c.call(path)
			one.Lock()
			defer one.Unlock()
			called = append(called, more...)
			if err != nil {
				failed = err
			}
		}(path)
	}
	all.Wait()
	return called, failed
}

func callLate(caller *caller, paths []string) {
	for _, path := range paths {
		if _, err := caller.call(path); err != nil {
			panic(err)
		}
	}
}

func main() {
	flag.Parse()
	var caller *caller
	if *next != "" {
		caller = newCaller()
	}
	answer := func(response http.ResponseWriter, request *http.Request) {
		path := request.URL.Path
		called := []string{path}
		calls := caller != nil && !strings.Contains(path, ".late")
		if calls {
			more, err := caller.callAll(children(path))
			if err != nil {
				http.Error(response, err.Error(), http.StatusBadGateway)
				return
			}
			called = append(called, more...)
			for _, child := range lateChildren(path) {
				called = append(append(called, caller.via(child)...), child)
			}
		}
		think()
		body := strings.Join(called, "\n")
		response.Header().Set("Content-Length", strconv.Itoa(len(body)))
		io.WriteString(response, body)
		if calls && *late > 0 {
			response.(http.Flusher).Flush()
			go callLate(caller, lateChildren(path))
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	panic(http.Serve(listener, http.HandlerFunc(answer)))
}
