// HTTPS by Go's own crypto/tls, no tracing.
//
//	tls serve CERT,KEY                               prints its port, answers with the path, and serves until it is terminated
//	tls hop CERT,KEY CERT PORT PROTOCOL              the same, and asks another for the path before it answers
//	tls ask CERT PORT SETTLE TIMES CONNECTIONS EACH  as live/tls_loop.py, by HTTP/1.1
//	tls ask2 CERT PORT SETTLE TIMES AT-ONCE EACH     the same by HTTP/2, on one connection
//
// PROTOCOL is 1 or 2: a connection for each request at once, or one for all.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

func newClient(certificate string, http2 bool) *http.Client {
	text, err := os.ReadFile(certificate)
	if err != nil {
		panic(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(text)
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: trusted},
		ForceAttemptHTTP2:   http2,
		MaxIdleConnsPerHost: 1024,
	}}
}

func get(client *http.Client, port, path string) error {
	answer, err := client.Get("https://127.0.0.1:" + port + path)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && string(body) != path {
		err = fmt.Errorf("%s is answered with %s", path, body)
	}
	return err
}

func serve(both string, answer func(path string) error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	handler := func(response http.ResponseWriter, request *http.Request) {
		if err := answer(request.URL.Path); err != nil {
			http.Error(response, err.Error(), http.StatusBadGateway)
			return
		}
		io.WriteString(response, request.URL.Path)
	}
	certificate, key, _ := strings.Cut(both, ",")
	panic(http.ServeTLS(listener, http.HandlerFunc(handler), certificate, key))
}

func ask(words []string, http2 bool) error {
	var numbers [4]int
	for place := range numbers {
		number, err := strconv.Atoi(words[2+place])
		if err != nil {
			return err
		}
		numbers[place] = number
	}
	settle, times, atOnce, each := numbers[0], numbers[1], numbers[2], numbers[3]
	time.Sleep(time.Duration(settle) * time.Second)
	shared := newClient(words[0], http2)
	var failed []error
	var lock sync.Mutex
	for round := range times {
		var all sync.WaitGroup
		for number := range atOnce {
			all.Add(1)
			go func() {
				defer all.Done()
				client := shared
				if !http2 {
					client = newClient(words[0], false)
					defer client.CloseIdleConnections()
				}
				for request := range each {
					if err := get(client, words[1], fmt.Sprintf("/%d.%d.%d", round, number, request)); err != nil {
						lock.Lock()
						failed = append(failed, err)
						lock.Unlock()
					}
				}
			}()
		}
		all.Wait()
	}
	return errors.Join(failed...)
}

func main() {
	words := os.Args[2:]
	switch act := os.Args[1]; act {
	case "serve":
		serve(words[0], func(string) error {
			time.Sleep(time.Millisecond)
			return nil
		})
	case "hop":
		client := newClient(words[1], words[3] == "2")
		serve(words[0], func(path string) error { return get(client, words[2], path) })
	case "ask", "ask2":
		if err := ask(words, act == "ask2"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
