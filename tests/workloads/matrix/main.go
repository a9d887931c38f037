// A server of HTTPS in Go's own net/http, or a client of one, no tracing. Go 1.21 or later.
//
//	go serve CERTIFICATE KEY TLS HTTP
//	go ask go URL CERTIFICATE HTTP METHOD PATH …
//
// As matrix.py says.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
)

var versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

func answer(response http.ResponseWriter, request *http.Request) {
	io.Copy(io.Discard, request.Body)
	path := request.URL.Path
	status, _ := strconv.Atoi(path[strings.LastIndex(path, "/")+1:])
	response.WriteHeader(status)
	io.WriteString(response, "hello")
}

func serve(certificate, key, version, protocol string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	config := &tls.Config{MinVersion: versions[version], MaxVersion: versions[version]}
	server := &http.Server{Handler: http.HandlerFunc(answer), TLSConfig: config}
	if protocol != "2" {
		server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	}
	return server.ServeTLS(listener, certificate, key)
}

func ask(url, certificate, protocol string, words []string) error {
	text, err := os.ReadFile(certificate)
	if err != nil {
		return err
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(text)
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: trusted},
		ForceAttemptHTTP2: protocol == "2",
	}}
	bufio.NewReader(os.Stdin).ReadString('\n')
	for ; len(words) > 1; words = words[2:] {
		method, path := words[0], words[1]
		var body io.Reader
		if method == "POST" {
			body = strings.NewReader(strings.Repeat("X", 3000))
		}
		request, err := http.NewRequest(method, url+path, body)
		if err != nil {
			return err
		}
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		spoken := map[int]string{1: "1.1", 2: "2"}[answer.ProtoMajor]
		fmt.Println(method, path, answer.StatusCode, spoken)
	}
	return nil
}

func main() {
	words := os.Args[2:]
	var err error
	if os.Args[1] == "serve" {
		err = serve(words[0], words[1], words[2], words[3])
	} else {
		err = ask(words[1], words[2], words[3], words[4:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
