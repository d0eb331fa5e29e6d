// Package mototest gives the tests of a package an AWS that they share.
package mototest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"

	"github.com/cloudoptim/cloudoptim/pkg/moto"
)

// Region is where test queues are.
const Region = "us-east-1"

// shared is the process's moto. A failed start is remembered: it would fail
// again for every test, at the same length.
var shared struct {
	sync.Mutex
	server *moto.Server
	dir    string
	err    error
}

// Main runs a package's tests and ends what they started.
func Main(m *testing.M) {
	code := m.Run()
	if err := Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping moto:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// Server is the process's moto, started at the first call. Where moto is not
// installed the test fails: `make lab` builds it.
func Server(tb testing.TB) *moto.Server {
	tb.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil && shared.err == nil {
		shared.server, shared.dir, shared.err = start()
	}
	if shared.err != nil {
		tb.Fatalf("starting moto: %v", shared.err)
	}
	return shared.server
}

// Stop ends moto. Main calls it; call it yourself only from a TestMain that
// does more than Main.
func Stop() error {
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		return nil
	}
	shared.server.Stop()
	shared.server = nil
	return os.RemoveAll(shared.dir)
}

func start() (*moto.Server, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	python, err := moto.Installed(ctx)
	if err != nil {
		return nil, "", err
	}
	dir, err := os.MkdirTemp("", "cloudoptim-mototest-")
	if err != nil {
		return nil, "", err
	}
	server, err := moto.Start(ctx, python, dir)
	if err != nil {
		return nil, "", errors.Join(err, os.RemoveAll(dir))
	}
	return server, dir, nil
}

// Queue makes a queue of the test's own and returns its URL. Attributes are
// those of CreateQueue.
func Queue(tb testing.TB, attributes map[string]string) string {
	tb.Helper()
	name := strings.Map(plain, tb.Name())
	name = name[:min(len(name), 40)] + "-" + uuid.NewString()[:8]
	out, err := Server(tb).SQS(Region).CreateQueue(tb.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		tb.Fatalf("creating a queue: %v", err)
	}
	return *out.QueueUrl
}

// plain keeps what a queue's name may have.
func plain(r rune) rune {
	if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
		return r
	}
	return '-'
}
