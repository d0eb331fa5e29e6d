package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
)

// The bench runs itself as these, for a process may hold only so many
// connections, and memory is measured by process.
const (
	partBare = "link-bare"
	partHerd = "link-herd"
)

// linkPart runs a part, if args ask for one.
func linkPart(args []string) (asked bool, err error) {
	if len(args) != 2 {
		return false, nil
	}
	switch args[0] {
	case partBare:
		return true, serveBare(args[1])
	case partHerd:
		runHerd(args[1])
		return true, nil
	}
	return false, nil
}

// bareServer answers each message at once and knows nothing.
type bareServer struct {
	agentv1.UnimplementedAgentServiceServer
}

// Connect answers heartbeats, and whatever else with a task.
func (bareServer) Connect(stream grpc.BidiStreamingServer[agentv1.ConnectRequest, agentv1.ConnectResponse]) error {
	task := sampleTask()
	for {
		msg, err := stream.Recv()
		if err != nil {
			return err
		}
		answer := &agentv1.ConnectResponse{}
		switch msg.GetKind().(type) {
		case *agentv1.ConnectRequest_Hello:
			answer.Kind = &agentv1.ConnectResponse_Welcome{Welcome: &agentv1.Welcome{}}
		case *agentv1.ConnectRequest_Heartbeat:
			answer.Kind = &agentv1.ConnectResponse_HeartbeatAck{HeartbeatAck: &agentv1.HeartbeatAck{ServerTime: timestamppb.Now()}}
		default:
			answer.Kind = &agentv1.ConnectResponse_Task{Task: task}
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}

// sampleTask is like those that central writes.
func sampleTask() *fleetv1.Task {
	parameters := &structpb.Struct{}
	_ = protojson.Unmarshal([]byte(drainParameters), parameters) // a constant of ours
	return &fleetv1.Task{
		TaskId: "7f9c24e8-3b1a-4a6e-9d57-0c1f3a2b4d5e", ClusterId: "7f9c24e8-3b1a-4a6e-9d57-0c1f3a2b4d5e", TaskType: "drain_node",
		Parameters: parameters, Priority: 1, Deadline: timestamppb.Now(), CreatedAt: timestamppb.Now(), Attempt: 1, LeaseSeconds: 30, RemainingSeconds: 120,
	}
}

func serveBare(address string) error {
	lis, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	srv := grpc.NewServer(append(rpc.SmallBuffers(),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: rpc.PingEvery, Timeout: rpc.PingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: rpc.PingMinTime, PermitWithoutStream: true}))...)
	agentv1.RegisterAgentServiceServer(srv, bareServer{})
	return srv.Serve(lis)
}

// runHerd is many agents; each line of its input is one, "cluster key", or "ping",
// which lets one of them ask the bare server.
func runHerd(address string) {
	h := &flock{address: address}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		cluster, key, ok := strings.Cut(in.Text(), " ")
		if !ok {
			h.ping()
			continue
		}
		s := &sheep{flock: h, cluster: cluster, key: key, spread: time.Second, pinged: make(chan time.Time, 1)}
		h.all = append(h.all, s)
		go s.live()
	}
}

type flock struct {
	address string
	all     []*sheep
	mu      sync.Mutex
}

func (h *flock) say(w word) {
	w.At = time.Now()
	raw, err := json.Marshal(w)
	if err != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	_, _ = fmt.Println(string(raw))
}

func (h *flock) ping() {
	s := h.all[rand.IntN(len(h.all))]
	s.pinged <- time.Now()
	s.send(&agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_TaskAccepted{}})
}

// sheep is an agent that knows the protocol and ends its tasks at once.
type sheep struct {
	flock        *flock
	cluster, key string
	spread       time.Duration
	pinged       chan time.Time

	mu     sync.Mutex
	stream grpc.BidiStreamingClient[agentv1.ConnectRequest, agentv1.ConnectResponse]
}

func (s *sheep) send(msg *agentv1.ConnectRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stream != nil {
		_ = s.stream.Send(msg)
	}
}

// live connects again and again, as agents do: over as long as central wants the
// first time, then with full jitter, or when it is asked to.
func (s *sheep) live() {
	time.Sleep(rand.N(10 * time.Second)) // not a storm at first
	for failures := 0; ; {
		welcomed, err := s.session()
		failures++
		delay := rand.N(min(time.Second<<min(failures-1, 6), time.Minute))
		if welcomed {
			failures, delay = 0, rand.N(s.spread)
		}
		for _, detail := range status.Convert(err).Details() {
			if info, ok := detail.(*errdetails.RetryInfo); ok {
				delay = max(delay, info.GetRetryDelay().AsDuration())
			}
		}
		time.Sleep(delay)
	}
}

func (s *sheep) session() (welcomed bool, err error) {
	conn, err := grpc.NewClient(s.flock.address, append(rpc.Keepalive(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithReadBufferSize(0), grpc.WithWriteBufferSize(1<<10))...)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+s.key))
	defer cancel()
	stream, err := agentv1.NewAgentServiceClient(conn).Connect(ctx)
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	s.stream = stream
	s.mu.Unlock()
	s.send(&agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_Hello{Hello: &agentv1.Hello{Protocol: 1, ClusterId: s.cluster, AgentId: "bench"}}})
	go s.beat(ctx)
	for {
		msg, err := stream.Recv()
		if err != nil {
			return welcomed, err
		}
		welcomed = s.obey(msg, stream) || welcomed
	}
}

func (s *sheep) beat(ctx context.Context) {
	const every = 5 * time.Second
	wait := time.NewTimer(rand.N(every))
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
			wait.Reset(every)
			s.send(&agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_Heartbeat{Heartbeat: &agentv1.Heartbeat{Status: "healthy"}}})
		}
	}
}

// obey reports true at the welcome.
func (s *sheep) obey(msg *agentv1.ConnectResponse, stream grpc.ClientStream) bool {
	switch kind := msg.GetKind().(type) {
	case *agentv1.ConnectResponse_Welcome:
		header, err := stream.Header()
		if err != nil {
			return false
		}
		for _, text := range header.Get("cloudoptim-reconnect-spread") {
			if v, err := strconv.ParseFloat(text, 64); err == nil && v > 0 {
				s.spread = time.Duration(v * float64(time.Second))
			}
		}
		s.flock.say(word{What: "welcome"})
		return true
	case *agentv1.ConnectResponse_Task:
		select {
		case began := <-s.pinged:
			s.flock.say(word{What: "pong", Took: time.Since(began)})
			return false
		default:
		}
		s.flock.say(word{What: "task " + kind.Task.GetTaskId()})
		s.send(&agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_TaskResult{TaskResult: &fleetv1.TaskResult{
			TaskId: kind.Task.GetTaskId(), Attempt: kind.Task.GetAttempt(), Status: "success",
		}}})
	}
	return false
}
