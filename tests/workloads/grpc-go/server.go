package main

import (
	"fmt"
	"io"
	"net"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func serve() {
	var hop *hop
	if *next != "" {
		hop = newHop()
	}
	// Serves every method there is, so also /job/ID.
	handler := func(_ any, stream grpc.ServerStream) error {
		path, _ := grpc.MethodFromServerStream(stream)
		if strings.HasPrefix(path, "/job/") {
			return answerJob(hop, path, stream)
		}
		return answer(strings.TrimPrefix(path, "/chain.Echo/"), stream)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	server := grpc.NewServer(grpc.ForceServerCodec(raw{}), grpc.UnknownServiceHandler(handler))
	panic(server.Serve(listener))
}

func answerJob(hop *hop, path string, stream grpc.ServerStream) error {
	if _, err := receive(stream); err != nil {
		return err
	}
	called, err := hop.work(stream.Context(), path)
	if err != nil {
		return err
	}
	return send(stream, []byte(strings.Join(called, "\n")))
}

func answer(method string, stream grpc.ServerStream) error {
	switch method {
	case "Unary":
		sendIdBack(stream)
		return sendBack(stream, 1)
	case "ServerStream":
		sendIdBack(stream)
		return sendBack(stream, messages)
	case "ClientStream":
		sendIdBack(stream)
		return join(stream)
	case "BidiStream":
		sendIdBack(stream)
		return echo(stream)
	case "NotFound":
		return status.Error(codes.NotFound, "there is none")
	case "DataLoss":
		if err := sendBack(stream, 1); err != nil {
			return err
		}
		return status.Error(codes.DataLoss, "the rest is lost")
	case "DeadlineExceeded":
		<-stream.Context().Done()
		return stream.Context().Err()
	case "Cancelled":
		if err := sendBack(stream, 1); err != nil {
			return err
		}
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	return status.Errorf(codes.Unimplemented, "unknown method %s", method)
}

func sendIdBack(stream grpc.ServerStream) {
	given, _ := metadata.FromIncomingContext(stream.Context())
	id := strings.Join(given.Get("x-echo-id"), "")
	stream.SetHeader(metadata.Pairs("x-echo-id", id))
	stream.SetTrailer(metadata.Pairs("x-echo-end", id))
}

func sendBack(stream grpc.ServerStream, times int) error {
	message, err := receive(stream)
	for ; err == nil && times > 0; times-- {
		err = send(stream, message)
	}
	return err
}

func join(stream grpc.ServerStream) error {
	var all []byte
	for {
		message, err := receive(stream)
		if err == io.EOF {
			return send(stream, all)
		}
		if err != nil {
			return err
		}
		all = append(all, message...)
	}
}

func echo(stream grpc.ServerStream) error {
	for {
		message, err := receive(stream)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := send(stream, message); err != nil {
			return err
		}
	}
}
