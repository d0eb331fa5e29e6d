//go:build e2e

package e2e

import (
	"context"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloudoptim/cloudoptim/pkg/pgembed"
	"github.com/cloudoptim/cloudoptim/pkg/proc"
	"github.com/cloudoptim/cloudoptim/services/lab/stage"
)

// TestInterruptionWhileTheStreamIsCut swallows every packet between the agent and
// central's gRPC and then has AWS warn: the agent polls the documented REST calls,
// the node is drained in time, and the stream comes back by itself.
func TestInterruptionWhileTheStreamIsCut(t *testing.T) {
	s := newStage(t, append(cluster("10", "60", "7"), "--spot", "0.7")...)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	line := proxyTo(t, s.Addr("central.grpc"))
	s.AgentArgs = []string{"--central.address=" + line.Listen, "--central.rest_url=" + s.Platform.Base}
	restartAgent(ctx, t, s)
	before := instances(t, s)
	victim := busiestSpotNode(t, s)

	swallow(t, line)
	warned := time.Now()
	warn(t, s, victim.InstanceID)
	event := awaitEvent(ctx, t, s, victim.InstanceID, "drained", "gone")
	if took := time.Since(warned); took > notice {
		t.Errorf("drained %s after the warning, AWS takes the node after %s", took, notice)
	}
	t.Logf("%s %s after the warning; %s", event.ActionTaken, time.Since(warned).Round(100*time.Millisecond), heldBy(t, s))
	if !saidIn(t, s.Agent, "polling instead") {
		t.Error("the agent did not poll")
	}
	for _, toxic := range []string{"up", "down"} {
		if err := line.Toxics.RemoveToxic(ctx, toxic); err != nil {
			t.Fatal(err)
		}
	}
	event = awaitEvent(ctx, t, s, victim.InstanceID, "gone")
	requireReplacement(t, s, event, before)
	requireEveryPodRuns(t, s)
	requireQuietQueue(t, s)
	until(ctx, t, "the stream is back", func() bool { return saidIn(t, s.Agent, "polling ends") })
}

// TestInterruptionWhileAReplicaDiesAndRedisHangs has two centrals; the one with the
// agent's stream is killed when it has begun, and Redis answers no more.
func TestInterruptionWhileAReplicaDiesAndRedisHangs(t *testing.T) {
	dir := newDir(t)
	database, redis := dependencies(t, dir)
	s := stageOf(t, dir, stage.Options{LabArgs: append(cluster("10", "60", "8"), "--spot", "0.7"), CentralEnv: append(database, redis.env...)})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	replica, err := s.StartReplica(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of the replica's log:\n%s", replica.Tail(25))
		}
		replica.Stop()
	})
	line := proxyTo(t, s.Addr("central.grpc"))
	s.AgentArgs = []string{"--central.address=" + line.Listen}
	restartAgent(ctx, t, s)
	before := instances(t, s)
	victim := busiestSpotNode(t, s)
	budgets, err := s.WatchBudgets(ctx)
	if err != nil {
		t.Fatal(err)
	}

	warned := time.Now()
	warn(t, s, victim.InstanceID)
	awaitEvent(ctx, t, s, victim.InstanceID, "draining", "drained", "gone")
	if err := syscall.Kill(redis.pid, syscall.SIGSTOP); err != nil { // its connections stay open, nothing answers
		t.Fatal(err)
	}
	s.Central.Kill()
	line.Stop() // as a load balancer that has noticed
	line.Upstream = s.Addr("replica.grpc")
	if err := line.Start(); err != nil {
		t.Fatal(err)
	}
	s.Admin.Base = "http://" + s.Addr("replica.http")
	s.Platform.Base = s.Admin.Base

	event := awaitEvent(ctx, t, s, victim.InstanceID, "gone")
	if took := time.Since(warned); took > notice {
		t.Errorf("the node was gone %s after the warning, AWS takes it after %s", took, notice)
	}
	t.Logf("%s %s after the warning", event.ActionTaken, time.Since(warned).Round(100*time.Millisecond))
	event = awaitSettled(ctx, t, s, victim.InstanceID)
	if event.ReplacementInstanceID != "" {
		requireReplacement(t, s, event, before)
	}
	requireEveryPodRuns(t, s)
	requireBudgetsKept(t, budgets)
	requireQuietQueue(t, s)
}

// proxyTo is a line that can misbehave.
func proxyTo(t *testing.T, to string) *toxiproxy.Proxy {
	t.Helper()
	return proxyAt(t, "127.0.0.1:0", to)
}

// proxyAt is proxyTo that listens at an address that was told before.
func proxyAt(t *testing.T, address, to string) *toxiproxy.Proxy {
	t.Helper()
	line := toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), "line", address, to)
	if err := line.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(line.Stop)
	return line
}

// swallow lets nothing through and closes nothing.
func swallow(t *testing.T, line *toxiproxy.Proxy) {
	t.Helper()
	for name, stream := range map[string]string{"up": "upstream", "down": "downstream"} {
		_, err := line.Toxics.AddToxicJson(strings.NewReader(`{"name":"` + name + `","type":"timeout","stream":"` + stream + `","attributes":{"timeout":0}}`))
		if err != nil {
			t.Fatal(err)
		}
	}
}

// restartAgent lets the agent have its new arguments, and waits for its stream.
func restartAgent(ctx context.Context, t *testing.T, s *stage.Stage) {
	t.Helper()
	s.Agent.Stop()
	connected := saidTimes(t, s.Agent, "connected to central")
	if err := s.StartAgent(ctx); err != nil {
		t.Fatal(err)
	}
	until(ctx, t, "the agent is connected", func() bool { return saidTimes(t, s.Agent, "connected to central") > connected })
}

func saidIn(t *testing.T, p *stage.Process, what string) bool {
	t.Helper()
	return saidTimes(t, p, what) > 0
}

func saidTimes(t *testing.T, p *stage.Process, what string) int {
	t.Helper()
	return strings.Count(p.Tail(100_000), what)
}

func until(ctx context.Context, t *testing.T, what string, is func() bool) {
	t.Helper()
	for !is() {
		select {
		case <-ctx.Done():
			t.Fatalf("waiting: %s: %v", what, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// redisServer is a real one.
type redisServer struct {
	env []string
	pid int
}

// dependencies are a database and a Redis that outlive any central, and what
// central's environment must say of them.
func dependencies(t *testing.T, dir string) (database []string, redis redisServer) {
	t.Helper()
	postgres, err := pgembed.Start(t.Context(), pgembed.Config{DataDir: filepath.Join(dir, "database"), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = postgres.Stop() })
	at, err := url.Parse(postgres.CentralDSN())
	if err != nil {
		t.Fatal(err)
	}
	password, _ := at.User.Password()
	database = []string{
		"CLOUDOPTIM_DATABASE_HOST=" + at.Hostname(), "CLOUDOPTIM_DATABASE_PORT=" + at.Port(), "CLOUDOPTIM_DATABASE_SSL_MODE=disable",
		"CLOUDOPTIM_DATABASE_NAME=" + strings.TrimPrefix(at.Path, "/"), "CLOUDOPTIM_DATABASE_USER=" + at.User.Username(), "CLOUDOPTIM_DATABASE_PASSWORD=" + password,
	}
	ports, err := proc.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(ports[0])
	server := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir)
	child, err := proc.StartLogged("redis", filepath.Join(dir, "redis.log"), server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(child.Kill)
	return database, redisServer{env: []string{"CLOUDOPTIM_REDIS_HOST=127.0.0.1", "CLOUDOPTIM_REDIS_PORT=" + port}, pid: server.Process.Pid}
}

// heldBy is what drains said of pods they could not move at once.
func heldBy(t *testing.T, s *stage.Stage) string {
	t.Helper()
	client, err := s.Kubernetes()
	if err != nil {
		t.Fatal(err)
	}
	events, err := client.CoreV1().Events("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range events.Items {
		if e.Source.Component == "cloudoptim-agent" && e.InvolvedObject.Kind == "Pod" {
			out = append(out, e.InvolvedObject.Name+" "+e.Reason+": "+e.Message)
		}
	}
	return strings.Join(out, "; ")
}
