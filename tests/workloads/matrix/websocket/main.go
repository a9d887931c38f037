// A server of WebSocket over TLS in gorilla/websocket, or a client in it or in coder/websocket, no tracing.
//
//	websocket serve CERTIFICATE KEY TLS websocket
//	websocket ask gorilla|coder URL CERTIFICATE websocket METHOD PATH …
//
// As matrix.py says.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"
)

var versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

func echo(response http.ResponseWriter, request *http.Request) {
	connection, err := new(gorilla.Upgrader).Upgrade(response, request, nil)
	if err != nil {
		return
	}
	defer connection.Close()
	for {
		kind, message, err := connection.ReadMessage()
		if err != nil || connection.WriteMessage(kind, message) != nil {
			return
		}
	}
}

func serve(certificate, key, version string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	config := &tls.Config{MinVersion: versions[version], MaxVersion: versions[version]}
	server := &http.Server{Handler: http.HandlerFunc(echo), TLSConfig: config}
	return server.ServeTLS(listener, certificate, key)
}

// As messages of matrix.py.
func messages(path string) []string {
	request := "GET " + path + "/within HTTP/1.1\r\nHost: localhost\r\n\r\n"
	return []string{"hello", request, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", strings.Repeat("X", 100000)}
}

// Sends each message and takes it back.
func talk(path string, there func(string) error, back func() (string, error)) error {
	for _, message := range messages(path) {
		if err := there(message); err != nil {
			return err
		}
		if answer, err := back(); err != nil || answer != message {
			return fmt.Errorf("%s: another message came back: %w", path, err)
		}
	}
	return nil
}

func byGorilla(url, path string, config *tls.Config) (int, error) {
	dialer := gorilla.Dialer{TLSClientConfig: config}
	connection, response, err := dialer.Dial(url+path, nil)
	if err != nil {
		return 0, err
	}
	defer connection.Close()
	there := func(text string) error { return connection.WriteMessage(gorilla.TextMessage, []byte(text)) }
	back := func() (string, error) {
		_, message, err := connection.ReadMessage()
		return string(message), err
	}
	return response.StatusCode, talk(path, there, back)
}

func byCoder(url, path string, config *tls.Config) (int, error) {
	ctx := context.Background()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	connection, response, err := coder.Dial(ctx, url+path, &coder.DialOptions{HTTPClient: client})
	if err != nil {
		return 0, err
	}
	connection.SetReadLimit(-1)
	there := func(text string) error { return connection.Write(ctx, coder.MessageText, []byte(text)) }
	back := func() (string, error) {
		_, message, err := connection.Read(ctx)
		return string(message), err
	}
	if err := talk(path, there, back); err != nil {
		return 0, err
	}
	return response.StatusCode, connection.Close(coder.StatusNormalClosure, "")
}

func ask(name, url, certificate string, words []string) error {
	text, err := os.ReadFile(certificate)
	if err != nil {
		return err
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(text)
	by := map[string]func(string, string, *tls.Config) (int, error){"gorilla": byGorilla, "coder": byCoder}[name]
	bufio.NewReader(os.Stdin).ReadString('\n')
	url = strings.Replace(url, "https:", "wss:", 1)
	for ; len(words) > 1; words = words[2:] {
		status, err := by(url, words[1], &tls.Config{RootCAs: trusted})
		if err != nil {
			return err
		}
		fmt.Println(words[0], words[1], status, "1.1")
	}
	return nil
}

func main() {
	words := os.Args[2:]
	var err error
	if os.Args[1] == "serve" {
		err = serve(words[0], words[1], words[2])
	} else {
		err = ask(words[0], words[1], words[2], words[4:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
