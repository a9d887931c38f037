package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// What was called, and how it ended.
type asker struct {
	hop    *hop
	one    sync.Mutex
	counts map[string]map[string]int
	called []string
}

func askAll() {
	connection, prefix := connect(*ask)
	asker := &asker{hop: &hop{prefix, connection}, counts: map[string]map[string]int{}}
	work := make(chan func())
	var all sync.WaitGroup
	for range *inFlight {
		all.Add(1)
		go func() {
			defer all.Done()
			for call := range work {
				call()
			}
		}()
	}
	for number := range *total {
		for _, method := range strings.Split(*methods, ",") {
			work <- func() { asker.count(method, asker.ask(method, number)) }
		}
	}
	close(work)
	all.Wait()
	if *truth != "" {
		if err := os.WriteFile(*truth, []byte(strings.Join(asker.called, "\n")+"\n"), 0o644); err != nil {
			panic(err)
		}
	}
	json.NewEncoder(os.Stdout).Encode(asker.counts)
}

func (a *asker) count(method string, err error) {
	outcome := fmt.Sprint(uint32(status.Code(err)))
	if status.Code(err) == codes.Unknown {
		outcome = "wrong answer"
		fmt.Fprintln(os.Stderr, method, err)
	}
	a.one.Lock()
	defer a.one.Unlock()
	if a.counts[method] == nil {
		a.counts[method] = map[string]int{}
	}
	a.counts[method][outcome]++
}

func (a *asker) ask(method string, number int) error {
	if method == "Job" {
		return a.job(fmt.Sprintf("/job/%s%d", *run, number))
	}
	id := fmt.Sprintf("%s-%s-%d", *run, method, number)
	message := []byte(id + strings.Repeat(".", max(0, *size-len(id))))
	within, cancel := context.WithCancel(metadata.AppendToOutgoingContext(context.Background(), "x-echo-id", id))
	defer cancel()
	path := "/chain.Echo/" + method
	switch method {
	case "ServerStream", "DataLoss":
		answers, err := a.stream(within, path, message)
		return judged(answers, err, message, messages)
	case "ClientStream":
		answers, err := a.stream(within, path, message, message, message)
		return judged(answers, err, bytes.Repeat(message, messages), 1)
	case "BidiStream":
		return a.converse(within, path, message)
	case "Cancelled":
		return a.leave(within, cancel, path, message)
	case "DeadlineExceeded":
		limit := time.Duration(*deadlineMs) * time.Millisecond
		within, cancel = context.WithTimeout(within, limit)
		defer cancel()
	}
	var answer []byte
	err := a.hop.connection.Invoke(within, path, &message, &answer)
	return judged([][]byte{answer}, err, message, 1)
}

func (a *asker) job(path string) error {
	called, err := a.hop.call(context.Background(), path)
	a.one.Lock()
	defer a.one.Unlock()
	a.called = append(a.called, called...)
	return err
}

func judged(answers [][]byte, err error, expected []byte, times int) error {
	if err != nil {
		return err
	}
	if len(answers) != times {
		return fmt.Errorf("%d answers", len(answers))
	}
	for _, answer := range answers {
		if !bytes.Equal(answer, expected) {
			return fmt.Errorf("answered %.60q", answer)
		}
	}
	return nil
}

var bothWays = &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}

// Sends them all, then receives all there is.
func (a *asker) stream(within context.Context, path string, messages ...[]byte) (answers [][]byte, err error) {
	stream, err := a.hop.connection.NewStream(within, bothWays, path)
	if err != nil {
		return nil, err
	}
	for _, message := range messages {
		// It fails with io.EOF where the call has ended; how, is received.
		if err := send(stream, message); err != nil && err != io.EOF {
			return nil, err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return nil, err
	}
	for {
		answer, err := receive(stream)
		if err == io.EOF {
			return answers, nil
		}
		if err != nil {
			return nil, err
		}
		answers = append(answers, answer)
	}
}

// Says the next only when the last was answered.
func (a *asker) converse(within context.Context, path string, message []byte) error {
	stream, err := a.hop.connection.NewStream(within, bothWays, path)
	if err != nil {
		return err
	}
	for range messages {
		if err := send(stream, message); err != nil {
			return err
		}
		answer, err := receive(stream)
		if err := judged([][]byte{answer}, err, message, 1); err != nil {
			return err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if _, err := receive(stream); err != io.EOF {
		return fmt.Errorf("not at its end: %w", err)
	}
	return nil
}

// Cancels at the first answer.
func (a *asker) leave(within context.Context, cancel func(), path string, message []byte) error {
	stream, err := a.hop.connection.NewStream(within, bothWays, path)
	if err != nil {
		return err
	}
	if err := send(stream, message); err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	answer, err := receive(stream)
	if err := judged([][]byte{answer}, err, message, 1); err != nil {
		return err
	}
	cancel()
	_, err = receive(stream)
	return err
}
