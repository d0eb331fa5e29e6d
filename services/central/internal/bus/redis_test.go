package bus

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cloudoptim/cloudoptim/pkg/proc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a real Redis on a port of its own.
type server struct {
	t    *testing.T
	port int
	cmd  *exec.Cmd
}

func startRedis(t *testing.T) *server {
	t.Helper()
	ports, err := proc.FreePorts(1) // it is started anew on the same one
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, port: ports[0]}
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *server) start() {
	s.t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		s.t.Fatal("these tests need the program redis-server: install Debian's package redis-server")
	}
	s.cmd = exec.Command(path, "--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", s.t.TempDir())
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, "redis-server answers", func() bool {
		conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

func (s *server) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// replica is one central's bus, running and connected.
func (s *server) replica() *Bus {
	s.t.Helper()
	b := NewRedis(RedisConfig{Host: "127.0.0.1", Port: s.port}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("the bus ended with %v", err)
		}
	})
	eventually(s.t, "the replica is connected", b.relay.connected.Load)
	return b
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never became true: %s", what)
}

func receive(t *testing.T, c <-chan []byte) string {
	t.Helper()
	select {
	case payload := <-c:
		return string(payload)
	case <-time.After(10 * time.Second):
		t.Fatal("no message came")
		return ""
	}
}

func TestAMessageReachesEveryReplicaOnceIncludingItsOwn(t *testing.T) {
	redis := startRedis(t)
	replicas := []*Bus{redis.replica(), redis.replica(), redis.replica()}
	var subs []*Subscription
	for _, b := range replicas {
		subs = append(subs, b.Listen("tasks"))
	}
	for i := range 50 {
		if err := replicas[i%3].Publish(t.Context(), "tasks", fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	for n, sub := range subs {
		seen := map[string]int{}
		for range 50 {
			seen[receive(t, sub.C)]++
		}
		if len(seen) != 50 || sub.Missed() != 0 || len(sub.C) != 0 {
			t.Errorf("replica %d got %d different messages, missed %d, %d too many", n, len(seen), sub.Missed(), len(sub.C))
		}
	}
}

func TestTheBusSurvivesAKilledRedisAndSaysThatSomethingMayBeLost(t *testing.T) {
	redis := startRedis(t)
	here, there := redis.replica(), redis.replica()
	mine, other := here.Listen("tasks"), there.Listen("tasks")

	redis.kill()
	eventually(t, "both notice", func() bool { return !here.relay.connected.Load() && !there.relay.connected.Load() })
	began := time.Now()
	if err := here.Publish(t.Context(), "tasks", []byte("alone")); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, mine.C); got != "alone" || time.Since(began) > time.Second {
		t.Errorf("without Redis its own subscriber got %q after %s", got, time.Since(began))
	}

	redis.start()
	eventually(t, "both are back", func() bool { return here.relay.connected.Load() && there.relay.connected.Load() })
	if err := here.Publish(t.Context(), "tasks", []byte("together")); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, other.C); got != "together" {
		t.Errorf("after the restart the other replica got %q", got)
	}
	if other.Missed() == 0 {
		t.Error("the subscriber was not told that the line had been broken")
	}
}

func TestPublishingNeverWaitsForARedisThatHangs(t *testing.T) {
	redis := startRedis(t)
	b := redis.replica()
	stop := exec.Command("kill", "-STOP", strconv.Itoa(redis.cmd.Process.Pid))
	if err := stop.Run(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for range 5000 {
		_ = b.Publish(t.Context(), "tasks", []byte("x")) // crowded, in time
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("5,000 messages into a Redis that hangs took %s", took)
	}
	began = time.Now()
	if _, ok := b.Limiter().Allow(t.Context(), "k", 60); !ok || time.Since(began) > time.Second {
		t.Errorf("the limiter answered %v after %s", ok, time.Since(began))
	}
	eventually(t, "the silence is noticed", func() bool { return !b.relay.connected.Load() })
}

func TestReplicasCountCallsTogether(t *testing.T) {
	redis := startRedis(t)
	here, there := redis.replica().Limiter(), redis.replica().Limiter()
	allowed := 0
	for range 20 {
		for _, l := range []*Limiter{here, there} {
			if _, ok := l.Allow(t.Context(), "key", 10); ok {
				allowed++
			}
		}
	}
	if allowed != 10 {
		t.Errorf("two replicas let through %d calls together, want 10", allowed)
	}
	wait, ok := there.Allow(t.Context(), "key", 10)
	if ok || wait <= 4*time.Second || wait > 6*time.Second {
		t.Errorf("the next call waits %s, want about 6 s", wait)
	}
	if _, ok := there.Allow(t.Context(), "another", 10); !ok {
		t.Error("another key was refused")
	}
}

func TestWithRedisAwayEachReplicaCountsAlone(t *testing.T) {
	redis := startRedis(t)
	b := redis.replica()
	redis.kill()
	allowed := 0
	for range 25 {
		if _, ok := b.Limiter().Allow(t.Context(), "key", 10); ok {
			allowed++
		}
	}
	if allowed != 10 {
		t.Errorf("%d calls were let through, want 10", allowed)
	}
}
