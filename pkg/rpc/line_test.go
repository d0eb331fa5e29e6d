package rpc

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

func TestF33ClientsPingNoMoreOftenThanServersAllowAndADeadPathIsSeenWithinTwentySeconds(t *testing.T) {
	if PingEvery < PingMinTime || PingEvery < 10*time.Second {
		t.Errorf("pings every %s, allowed every %s, and grpc-go raises what is below 10 s", PingEvery, PingMinTime)
	}
	if PingEvery+PingTimeout > 20*time.Second {
		t.Errorf("a dead path is seen after %s", PingEvery+PingTimeout)
	}
}

func TestF32ConnectionsWithinTheProcessDoNotAge(t *testing.T) {
	srv := NewServer(ServerConfig{Log: slog.New(slog.DiscardHandler), Authorizer: &bouncer{}, MaxConnectionAge: 200 * time.Millisecond})
	agentv1.RegisterAgentServiceServer(srv, agents{})
	within, err := InProcess(srv)
	if err != nil {
		t.Fatal(err)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = srv.Server.Serve(lis) }()
	without, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = within.Close(); _ = without.Close(); srv.Stop() })
	aged := func(conn *grpc.ClientConn) bool {
		conn.Connect()
		for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() {
			conn.WaitForStateChange(t.Context(), state)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return conn.WaitForStateChange(ctx, connectivity.Ready)
	}
	if !aged(without) {
		t.Error("a connection over the network did not age")
	}
	if aged(within) {
		t.Error("the connection that REST uses aged")
	}
}

func TestWhatComesBeforeTheStopIsWaitedFor(t *testing.T) {
	srv := NewServer(ServerConfig{Log: slog.New(slog.DiscardHandler), Authorizer: &bouncer{}})
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan bool, 1)
	srv.BeforeStop(func(ctx context.Context) { said <- ctx.Err() == nil })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, lis) }()
	conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil {
		t.Fatal(err) // it serves before it stops
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if alive := <-said; !alive {
		t.Error("it had no time")
	}
}

func TestARefusalSaysInGRPCsWordsWhenToComeAgain(t *testing.T) {
	client := serve(t, ServerConfig{Authorizer: &bouncer{}, Limiter: scarce{}})
	_, err := client.ListTasks(keyed(t), &agentv1.ListTasksRequest{ClusterId: someID})
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok && info.GetRetryDelay().AsDuration() == 2*time.Second {
			return
		}
	}
	t.Fatalf("no RetryInfo of 2 s in %v", err)
}

func TestMessagesAreWrittenInBuffersOfTheirOwnSize(t *testing.T) {
	task := &fleetv1.Task{TaskId: someID, CreatedBy: "x"}
	written, err := exact{}.Marshal(task)
	if err != nil {
		t.Fatal(err)
	}
	if held := cap(written[0].ReadOnlyData()); held > 2*proto.Size(task) {
		t.Errorf("%d bytes are held for %d", held, proto.Size(task))
	}
	raw := written.Materialize()
	split := mem.BufferSlice{mem.SliceBuffer(raw[:5]), mem.SliceBuffer(raw[5:])}
	got := &fleetv1.Task{}
	if err := (exact{}).Unmarshal(split, got); err != nil || !proto.Equal(task, got) {
		t.Fatalf("read %v, %v", got, err)
	}
	if _, err := (exact{}).Marshal(io.EOF); err == nil {
		t.Error("what is no message was written")
	}
}
