// HTTPS by Go's own crypto/tls, no tracing.
//
//	tls serve CERT,KEY                               prints its port, answers with the path, and serves until it is terminated,
//	                                                 not before what it answers is written
//	tls wrapped CERT,KEY                             the same, with connections within others, below TLS and above
//	tls hop CERT,KEY CERT PORT PROTOCOL              as serve, and asks another for the path before it answers
//	tls ask CERT PORT SETTLE TIMES CONNECTIONS EACH  as live/tls_loop.py, by HTTP/1.1
//	tls raw CERT PORT SETTLE TIMES CONNECTIONS EACH  the same without net/http, into memory on the stack
//	tls ask2 CERT PORT SETTLE TIMES AT-ONCE EACH     by HTTP/2, on one connection
//
// PROTOCOL is 1 or 2: a connection for each request at once, or one for all. For Go 1.19 and later.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
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

// Asks on a connection of its own, and reads into an array that does not leave the stack: what is called for that makes the stack grow.
func raw(certificate, port string, paths []string) error {
	transport := newClient(certificate, false).Transport.(*http.Transport)
	connection, err := tls.Dial("tcp", "127.0.0.1:"+port, transport.TLSClientConfig)
	if err != nil {
		return err
	}
	defer connection.Close()
	for _, path := range paths {
		if _, err := connection.Write([]byte("GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n")); err != nil {
			return err
		}
		var piece [2048]byte
		whole := ""
		for !strings.HasSuffix(whole, "\r\n\r\n"+path) {
			count, err := connection.Read(piece[:])
			if err != nil {
				return fmt.Errorf("%s is answered with %q: %w", path, whole, err)
			}
			whole += string(piece[:count])
		}
	}
	return nil
}

// A listener whose connections are within another, as those are that are counted.
type wrapped struct{ net.Listener }

type within struct {
	net.Conn
	count int
}

func (l wrapped) Accept() (net.Conn, error) {
	connection, err := l.Listener.Accept()
	return &within{Conn: connection}, err
}

func serve(both string, wraps bool, answer func(path string) error) {
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
	server := &http.Server{Handler: http.HandlerFunc(handler)}
	done := make(chan error)
	go func() {
		asked := make(chan os.Signal, 1)
		signal.Notify(asked, syscall.SIGTERM)
		<-asked
		done <- server.Shutdown(context.Background())
	}()
	ended := func(err error) {
		if err == http.ErrServerClosed {
			err = <-done
		}
		if err != nil {
			panic(err)
		}
	}
	if !wraps {
		ended(server.ServeTLS(listener, certificate, key))
		return
	}
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		panic(err)
	}
	// net/http does not see that it is TLS: the first read agrees on keys.
	inside := tls.NewListener(wrapped{listener}, &tls.Config{Certificates: []tls.Certificate{pair}})
	ended(server.Serve(wrapped{inside}))
}

func ask(act string, words []string) error {
	http2 := act == "ask2"
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
	failed := make(chan error, times*atOnce*each)
	for round := 0; round < times; round++ {
		var all sync.WaitGroup
		for number := 0; number < atOnce; number++ {
			var paths []string
			for request := 0; request < each; request++ {
				paths = append(paths, fmt.Sprintf("/%d.%d.%d", round, number, request))
			}
			all.Add(1)
			go func() {
				defer all.Done()
				if act == "raw" {
					failed <- raw(words[0], words[1], paths)
					return
				}
				client := shared
				if !http2 {
					client = newClient(words[0], false)
					defer client.CloseIdleConnections()
				}
				for _, path := range paths {
					failed <- get(client, words[1], path)
				}
			}()
		}
		all.Wait()
	}
	close(failed)
	for err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}

func main() {
	words := os.Args[2:]
	switch act := os.Args[1]; act {
	case "serve", "wrapped":
		serve(words[0], act == "wrapped", func(string) error {
			time.Sleep(time.Millisecond)
			return nil
		})
	case "hop":
		client := newClient(words[1], words[3] == "2")
		serve(words[0], false, func(path string) error { return get(client, words[2], path) })
	case "ask", "ask2", "raw":
		if err := ask(act, words); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
