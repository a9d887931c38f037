// A server of cleartext HTTP/2 in Go's own net/http, or a client of one, no tracing. Go 1.24 or later.
//
//	h2c
//	h2c --ask URL [--total 20] [--in-flight 1] [--header-bytes 0] [--body-bytes 1000]
//
// As h2c.py says.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
)

var (
	ask         = flag.String("ask", "", "be a client of this server")
	total       = flag.Int("total", 20, "requests of each kind")
	inFlight    = flag.Int("in-flight", 1, "requests at once, on one connection")
	headerBytes = flag.Int("header-bytes", 0, "of one field of each request")
	bodyBytes   = flag.Int("body-bytes", 1000, "of each body, up and down")
)

func unencrypted() *http.Protocols {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	return &protocols
}

func answer(response http.ResponseWriter, request *http.Request) {
	switch size, isGet := strings.CutPrefix(request.URL.Path, "/bytes/"); {
	case isGet:
		count, _ := strconv.Atoi(size)
		io.WriteString(response, strings.Repeat("X", count))
	case request.URL.Path == "/up":
		io.Copy(io.Discard, request.Body)
	default:
		http.NotFound(response, request)
	}
}

func serve() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	server := &http.Server{Handler: http.HandlerFunc(answer), Protocols: unencrypted()}
	panic(server.Serve(listener))
}

func send(client *http.Client, method, path, body string) (string, error) {
	request, err := http.NewRequest(method, *ask+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	if *headerBytes > 0 {
		request.Header.Set("X-Fill", strings.Repeat("X", *headerBytes))
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return fmt.Sprintf("%s %d", method, response.StatusCode), err
}

func askAll() {
	client := &http.Client{Transport: &http.Transport{Protocols: unencrypted()}}
	counts := map[string]int{}
	work := make(chan func() (string, error))
	var all sync.WaitGroup
	var one sync.Mutex
	for range *inFlight {
		all.Add(1)
		go func() {
			defer all.Done()
			for send := range work {
				ended, err := send()
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					ended = "failed"
				}
				one.Lock()
				counts[ended]++
				one.Unlock()
			}
		}()
	}
	for range *total {
		work <- func() (string, error) { return send(client, "GET", fmt.Sprintf("/bytes/%d", *bodyBytes), "") }
		work <- func() (string, error) { return send(client, "POST", "/up", strings.Repeat("X", *bodyBytes)) }
		work <- func() (string, error) { return send(client, "GET", "/missing", "") }
	}
	close(work)
	all.Wait()
	json.NewEncoder(os.Stdout).Encode(counts)
}

func main() {
	flag.Parse()
	if *ask != "" {
		askAll()
	} else {
		serve()
	}
}
