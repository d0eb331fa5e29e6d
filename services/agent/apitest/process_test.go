package apitest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/proc"
)

const apiKey = "co_test_0123456789"

// central is the other end of a real agent's line.
type central struct {
	agentv1.UnimplementedAgentServiceServer
	t       *testing.T
	address string

	mu      sync.Mutex
	hellos  []*agentv1.Hello
	heard   []msg
	ack     bool
	stop    *agentv1.SafetyStop
	streams map[string]agentv1.AgentService_ConnectServer // by agent id, while open
}

func startCentral(t *testing.T) *central {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require(t, err)
	c := &central{t: t, address: lis.Addr().String(), streams: map[string]agentv1.AgentService_ConnectServer{}}
	srv := grpc.NewServer(grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}))
	agentv1.RegisterAgentServiceServer(srv, c)
	go func() { _ = srv.Serve(lis) }()
	t.Cleanup(srv.Stop)
	return c
}

func (c *central) Connect(str agentv1.AgentService_ConnectServer) error {
	md, _ := metadata.FromIncomingContext(str.Context())
	if got := md.Get("authorization"); !slices.Equal(got, []string{"Bearer " + apiKey}) {
		c.t.Errorf("authorization %q", got)
	}
	first, err := str.Recv()
	if err != nil {
		return err
	}
	hello := first.GetHello()
	err = str.Send(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_Welcome{Welcome: &agentv1.Welcome{
		SessionId: "s", NeedInventory: hello.GetInventorySequence() == 0,
		Settings: &agentv1.Settings{HeartbeatSeconds: 0.5, MetricsSeconds: 1, ProgressSeconds: 0.2, InventorySeconds: 0.2},
	}}})
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.hellos = append(c.hellos, hello)
	c.streams[hello.GetAgentId()] = str
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.streams, hello.GetAgentId())
	}()
	for {
		m, err := str.Recv()
		if err != nil {
			return nil
		}
		if err := c.answer(str, m); err != nil {
			return err
		}
	}
}

func (c *central) answer(str agentv1.AgentService_ConnectServer, m msg) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = append(c.heard, m)
	switch kind := m.GetKind().(type) {
	case *agentv1.ConnectRequest_Heartbeat:
		return str.Send(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_HeartbeatAck{HeartbeatAck: &agentv1.HeartbeatAck{Stop: c.stop}}})
	case *agentv1.ConnectRequest_InventorySnapshot:
		if kind.InventorySnapshot.GetLast() {
			return str.Send(inventoryAck(kind.InventorySnapshot.GetInventorySequence()))
		}
	case *agentv1.ConnectRequest_InventoryDelta:
		return str.Send(inventoryAck(kind.InventoryDelta.GetInventorySequence()))
	case *agentv1.ConnectRequest_TaskResult:
		if c.ack {
			return str.Send(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_ResultAck{
				ResultAck: &agentv1.ResultAck{TaskId: kind.TaskResult.GetTaskId(), Accepted: true},
			}})
		}
	}
	return nil
}

func inventoryAck(sequence int64) *agentv1.ConnectResponse {
	return &agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_InventoryAck{InventoryAck: &agentv1.InventoryAck{InventorySequence: sequence}}}
}

// order sets the stop that the next heartbeat is answered with.
func (c *central) order(stop *agentv1.SafetyStop) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop = stop
}

// forget empties what was heard.
func (c *central) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = nil
}

func (c *central) awaitHeard(what string, is func(msg) bool) {
	c.t.Helper()
	await(c.t, what, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return slices.ContainsFunc(c.heard, is)
	})
}

func (c *central) connected() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []string
	for id := range c.streams {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (c *central) lastHello() *agentv1.Hello {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hellos[len(c.hellos)-1]
}

func (c *central) send(agent string, task *fleetv1.Task) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	require(c.t, c.streams[agent].Send(&agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_Task{Task: task}}))
}

// process is a running agent.
type process struct {
	*exec.Cmd
	http, grpc string
	log        *bytes.Buffer
	ended      chan error
}

func startAgent(t *testing.T, c *central, id, stateDir string, flags ...string) *process {
	t.Helper()
	p := &process{http: freePort(t), grpc: freePort(t), log: &bytes.Buffer{}, ended: make(chan error, 1)}
	p.Cmd = exec.Command(kube.binary, append([]string{
		"--environment=development", "--central.address=" + c.address, "--agent.cluster_id=" + clusterID, "--agent.id=" + id,
		"--agent.kubeconfig=" + kube.kubeconfig, "--agent.state_dir=" + stateDir,
		"--server.http_address=" + p.http, "--server.grpc_address=" + p.grpc,
	}, flags...)...)
	p.Env = []string{"CLOUDOPTIM_AGENT_API_KEY=" + apiKey, "PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	p.Stdout, p.Stderr = p.log, p.log
	require(t, p.Start())
	go func() { p.ended <- p.Wait() }()
	t.Cleanup(func() {
		p.end(t, syscall.SIGKILL)
		if t.Failed() {
			t.Logf("agent %s said:\n%s", id, p.log)
		}
		if strings.Contains(p.log.String(), apiKey) {
			t.Error("the API key is in the log")
		}
	})
	return p
}

// end sends a signal and waits; a second call finds it ended.
func (p *process) end(t *testing.T, sig syscall.Signal) {
	t.Helper()
	_ = p.Process.Signal(sig)
	select {
	case err := <-p.ended:
		if sig == syscall.SIGTERM && err != nil {
			t.Errorf("asked to stop, the agent ended with %v", err)
		}
		p.ended <- nil
	case <-time.After(30 * time.Second):
		_ = p.Process.Kill()
		t.Error("the agent did not stop")
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	address, err := proc.FreeAddress()
	require(t, err)
	return address
}

func TestF23AnAgentKilledInTheMiddleLosesNothing(t *testing.T) {
	p := newPlot(t)
	node := p.addNode("a")
	p.deploy("web", 2, nil)
	p.budget("web", 2)
	c, dir := startCentral(t), filepath.Join(t.TempDir(), "state")
	agent := startAgent(t, c, "one", dir)
	await(t, "the agent to connect", func() bool { return slices.Equal(c.connected(), []string{"one"}) })
	hello := c.lastHello()
	if hello.GetProtocol() != 1 || hello.GetClusterId() != clusterID || !strings.HasPrefix(hello.GetKubernetesVersion(), "v1.") || len(hello.GetTaskTypes()) != 6 {
		t.Fatalf("hello %v", hello)
	}
	checkDoors(t, agent)

	task := newTask(t, "drain_node", 300, &fleetv1.DrainNodeParameters{NodeName: node, InstanceId: instanceOf(node)})
	c.send("one", task)
	c.awaitHeard("the acceptance", func(m msg) bool { return m.GetTaskAccepted().GetTaskId() == task.TaskId })
	c.awaitHeard("the budget to hold it", func(m msg) bool { return m.GetTaskProgress().GetDrain().GetBlocked() == 2 })
	c.awaitHeard("the inventory", func(m msg) bool {
		return slices.ContainsFunc(m.GetInventorySnapshot().GetNodes(), func(n *fleetv1.NodeMetric) bool { return n.GetNodeName() == node })
	})
	c.awaitHeard("metrics", func(m msg) bool { return m.GetMetrics().GetTotalNodes() > 0 })
	before := record(t, p.node(node))
	agent.end(t, syscall.SIGKILL)
	c.forget()

	agent = startAgent(t, c, "one", dir)
	c.awaitHeard("the second process to go on", func(m msg) bool { return m.GetTaskProgress().GetDrain().GetBlocked() == 2 })
	if r := c.lastHello().GetRunning(); len(r) != 1 || r[0].GetTaskId() != task.TaskId {
		t.Fatalf("the second hello has %v in hand", r)
	}
	if after := record(t, p.node(node)); !after.Deadline.Equal(before.Deadline) || !after.Started.Equal(before.Started) {
		t.Fatalf("record %+v, before %+v", after, before)
	}
	require(t, kube.admin.PolicyV1().PodDisruptionBudgets(p.name).Delete(t.Context(), "web", metav1.DeleteOptions{}))
	isResult := func(m msg) bool { return m.GetTaskResult().GetTaskId() == task.TaskId }
	c.awaitHeard("the result", isResult) // and central does not acknowledge it
	agent.end(t, syscall.SIGKILL)
	c.forget()

	c.mu.Lock()
	c.ack = true
	c.mu.Unlock()
	agent = startAgent(t, c, "one", dir)
	c.awaitHeard("the result again", func(m msg) bool {
		return isResult(m) && m.GetTaskResult().GetStatus() == "success" && report(t, m.GetTaskResult()).GetEvicted() == 2
	})
	c.send("one", task) // and a late duplicate
	await(t, "the acknowledgement to be written down", func() bool {
		text, err := os.ReadFile(filepath.Join(dir, "tasks", task.TaskId+".json"))
		return err == nil && !strings.Contains(string(text), `"acked":"0001-`)
	})
	agent.end(t, syscall.SIGTERM)
	c.forget()
	agent = startAgent(t, c, "one", dir)
	c.awaitHeard("a heartbeat", func(m msg) bool { return m.GetHeartbeat().GetStatus() == "healthy" })
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.ContainsFunc(c.heard, isResult) {
		t.Fatal("an acknowledged result was sent again")
	}
}

// checkDoors looks at what the kubelet, Prometheus and grpcurl see.
func checkDoors(t *testing.T, agent *process) {
	t.Helper()
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		resp, err := http.Get("http://" + agent.http + path)
		require(t, err)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s answers %d", path, resp.StatusCode)
		}
	}
	conn, err := grpc.NewClient(agent.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require(t, err)
	defer func() { _ = conn.Close() }()
	health, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil || health.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("gRPC health: %v, %v", health, err)
	}
}

func TestOneAgentOfManyWorks(t *testing.T) {
	c := startCentral(t)
	flags := []string{"--agent.leader_election=true", "--agent.namespace=cloudoptim"}
	agents := map[string]*process{}
	for _, id := range []string{"a", "b", "c"} {
		agents[id] = startAgent(t, c, id, filepath.Join(t.TempDir(), id), flags...)
	}
	leader := func(before ...string) string {
		var ids []string
		await(t, "one agent to work", func() bool {
			ids = c.connected()
			return len(ids) == 1 && !slices.Contains(before, ids[0])
		})
		for range 20 { // and only one, for as long as it lives
			time.Sleep(50 * time.Millisecond)
			if now := c.connected(); !slices.Equal(now, ids) {
				t.Fatalf("agents %v and then %v are connected", ids, now)
			}
		}
		return ids[0]
	}
	first := leader()
	agents[first].end(t, syscall.SIGTERM)
	asked := time.Now()
	second := leader(first)
	if took := time.Since(asked); took > 10*time.Second {
		t.Fatalf("%s follows after %s: a lease that is given back is free at once", second, took)
	}
	agents[second].end(t, syscall.SIGKILL)
	third := leader(first, second)
	lease, err := kube.admin.CoordinationV1().Leases("cloudoptim").Get(context.Background(), "cloudoptim-agent", metav1.GetOptions{})
	require(t, err)
	if fmt.Sprint(*lease.Spec.HolderIdentity) != third {
		t.Fatalf("the lease says %s", *lease.Spec.HolderIdentity)
	}
}
