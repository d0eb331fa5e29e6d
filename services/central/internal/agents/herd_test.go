package agents

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"

	"github.com/cloudoptim/cloudoptim/services/central/internal/bus"
)

// herdAt makes this program a herd of agents of the clusters that it reads, a line
// each; it writes "welcome" and "twice" (a task begun twice) as they happen. It is a
// process of its own, for each process may hold only so many connections.
const herdAt = "CLOUDOPTIM_TEST_HERD"

// deaf, when it is set, makes them agents that never read.
const deaf = "CLOUDOPTIM_TEST_HERD_DEAF"

func herd(address string) {
	var out sync.Mutex
	say := func(word string) {
		out.Lock()
		defer out.Unlock()
		fmt.Println(word)
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		one := &sheep{cluster: in.Text(), address: address, say: say, done: map[string]*fleetv1.TaskResult{}}
		go one.live()
	}
	select {}
}

// sheep is an agent that knows the protocol and does its tasks by answering.
type sheep struct {
	cluster, address string
	say              func(string)
	done             map[string]*fleetv1.TaskResult
	spread           time.Duration
}

func (s *sheep) live() {
	failures := 0
	for {
		lived, err := s.session()
		delay := time.Duration(0)
		if lived {
			failures = 0
			delay = rand.N(s.spread + time.Second)
		} else {
			failures++
			delay = rand.N(min(time.Second<<min(failures-1, 6), time.Minute))
		}
		if info := retryInfo(err); info != nil {
			delay = max(delay, info.GetRetryDelay().AsDuration())
		}
		<-time.After(delay)
	}
}

func (s *sheep) session() (welcomed bool, err error) {
	conn, err := grpc.NewClient(s.address, append(rpc.Keepalive(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithReadBufferSize(0), grpc.WithWriteBufferSize(1<<10))...)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+s.cluster))
	defer cancel()
	stream, err := agentv1.NewAgentServiceClient(conn).Connect(ctx)
	if err != nil {
		return false, err
	}
	if err := stream.Send(hello(uuid.MustParse(s.cluster), 0)); err != nil {
		_, err = stream.Recv()
		return false, err
	}
	if os.Getenv(deaf) != "" {
		<-ctx.Done()
	}
	var sending sync.Mutex
	send := func(msg *agentv1.ConnectRequest) {
		sending.Lock()
		defer sending.Unlock()
		_ = stream.Send(msg)
	}
	beating := time.NewTicker(5 * time.Second)
	defer beating.Stop()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-beating.C:
				send(&agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_Heartbeat{Heartbeat: &agentv1.Heartbeat{Status: "healthy"}}})
			}
		}
	}()
	for {
		msg, err := stream.Recv()
		if err != nil {
			return welcomed, err
		}
		switch kind := msg.GetKind().(type) {
		case *agentv1.ConnectResponse_Welcome:
			welcomed = true
			header, _ := stream.Header()
			for _, text := range header.Get(spreadHeader) {
				seconds, _ := strconv.ParseFloat(text, 64)
				s.spread = time.Duration(seconds * float64(time.Second))
			}
			s.say("welcome")
		case *agentv1.ConnectResponse_Task:
			if s.done[kind.Task.GetTaskId()] != nil && kind.Task.GetAttempt() == 1 {
				s.say("twice")
			}
			result := &fleetv1.TaskResult{TaskId: kind.Task.GetTaskId(), Attempt: kind.Task.GetAttempt(), Status: "success"}
			s.done[kind.Task.GetTaskId()] = result
			send(&agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_TaskResult{TaskResult: result}})
		}
	}
}

// startHerd starts a process of agents and returns what it says.
func startHerd(t *testing.T, address string, clusters []string, env ...string) io.Reader {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	child := exec.Command(self)
	child.Env = append(append(os.Environ(), herdAt+"="+address), env...)
	child.Stdin = strings.NewReader(strings.Join(clusters, "\n"))
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	t.Cleanup(func() { _ = child.Process.Kill(); _ = child.Wait() })
	return out
}

// storm loses the replica that holds n agents and returns when 95 of 100 were
// back on another, having checked that all are and that no task was lost.
func storm(t *testing.T, n, perSecond int) time.Duration {
	t.Helper()
	h := newHouse(t)
	customer := uuid.Nil
	must(t, h.db.Pool.QueryRow(t.Context(), "SELECT customer_id FROM clusters WHERE cluster_id = $1", h.cluster).Scan(&customer))
	rows, err := h.db.Pool.Query(t.Context(), `INSERT INTO clusters (customer_id, cluster_name, region)
		SELECT $1, 'storm-' || i, 'us-east-1' FROM generate_series(1, $2) i RETURNING cluster_id::text`, customer, n)
	must(t, err)
	var clusters []string
	for rows.Next() {
		var id string
		must(t, rows.Scan(&id))
		clusters = append(clusters, id)
	}
	must(t, rows.Err())
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := lis.Addr().String()
	rate := func(cfg *Config) { cfg.StreamsPerSecond = perSecond }
	first := h.replica(t, bus.New(), DefaultSettings(), rate)
	go func() { _ = first.server.Server.Serve(lis) }()

	out := startHerd(t, address, clusters)
	words := make(chan string, 4*n)
	go func() {
		for in := bufio.NewScanner(out); in.Scan(); {
			words <- in.Text()
		}
	}()
	back := func(what string) []time.Duration {
		began := time.Now()
		var took []time.Duration
		limit := time.After(8 * time.Minute)
		for len(took) < n {
			select {
			case word := <-words:
				if word != "welcome" {
					t.Fatal(word)
				}
				took = append(took, time.Since(began))
			case <-limit:
				t.Fatalf("%s: %d of %d agents came", what, len(took), n)
			}
		}
		return took
	}
	back("at first")
	second := h.replica(t, bus.New(), DefaultSettings(), rate)
	first.die()
	_, err = h.db.Pool.Exec(t.Context(), `INSERT INTO tasks (task_id, cluster_id, task_type, parameters, priority, deadline)
		SELECT gen_random_uuid(), cluster_id, 'cordon_node', '{}', 1, now() + interval '10 minutes' FROM clusters WHERE cluster_name LIKE 'storm-%'`)
	must(t, err)
	lis, err = net.Listen("tcp", address)
	must(t, err)
	go func() { _ = second.server.Server.Serve(lis) }()
	took := back("after the loss")
	slices.Sort(took)
	for deadline := time.Now().Add(4 * time.Minute); ; <-time.After(200 * time.Millisecond) {
		var done int
		must(t, h.db.Pool.QueryRow(t.Context(), "SELECT count(*) FROM tasks WHERE status = 'success'").Scan(&done))
		if done == n {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d tasks were done", done, n)
		}
	}
	t.Logf("%d agents: half back after %s, 95 of 100 after %s, all after %s", n,
		took[n/2].Round(time.Millisecond), took[n*95/100].Round(time.Millisecond), took[n-1].Round(time.Millisecond))
	return took[n*95/100]
}

func TestF31AgentsComeBackAndNoTaskIsLost(t *testing.T) {
	t.Parallel()
	if p95 := storm(t, 300, 100); p95 > time.Minute {
		t.Errorf("95 of 100 were back after %s", p95)
	}
}
