package link

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// door is central's REST side: it has tasks and notes what it is told.
type door struct {
	mu    sync.Mutex
	open  map[string]bool
	calls []string
	fail  int // status to answer with, 0: as it should
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer key" || r.ProtoMajor != 1 {
		http.Error(w, "who?", http.StatusUnauthorized)
		return
	}
	if d.fail != 0 {
		w.Header().Set("Retry-After", "30")
		http.Error(w, "busy", d.fail)
		d.calls = append(d.calls, "refused")
		return
	}
	what := r.Method + " " + strings.TrimPrefix(r.URL.Path, "/api/v1/client/")
	d.calls = append(d.calls, what)
	switch {
	case strings.HasSuffix(what, "/tasks"), what == "GET tasks":
		var list []json.RawMessage
		for id := range d.open {
			list = append(list, json.RawMessage(`{"task_id":"`+id+`","remaining_seconds":3600,"a_field_of_later":1}`))
		}
		_ = json.NewEncoder(w).Encode(append([]json.RawMessage{}, list...))
	case strings.HasSuffix(what, "/result"):
		id := strings.Split(what, "/")[1]
		accepted := d.open[id]
		delete(d.open, id)
		_ = json.NewEncoder(w).Encode(map[string]any{"task_id": id, "status": "success", "accepted": accepted})
	case what == "POST heartbeat":
		_ = json.NewEncoder(w).Encode(map[string]any{"pending_tasks": len(d.open)})
	default:
		_, _ = w.Write([]byte("{}"))
	}
}

func (d *door) count(what string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, call := range d.calls {
		if call == what {
			n++
		}
	}
	return n
}

func (d *door) all() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.calls)
}

func (d *door) set(change func()) { d.mu.Lock(); defer d.mu.Unlock(); change() }

// worker ends each task it is offered at once, and counts how often it began.
type worker struct {
	*rooms
	began map[string]int
}

func (w *worker) Offer(t *fleetv1.Task) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.began[t.GetTaskId()] == 0 {
		w.results[t.GetTaskId()] = &fleetv1.TaskResult{TaskId: t.GetTaskId(), Status: "success"}
	}
	w.began[t.GetTaskId()]++
	return nil
}

func (w *worker) times(task string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.began[task]
}

func (w *worker) Running() []*agentv1.RunningTask { return nil }

// polls runs a client whose streams are cut while cut is true.
func polls(t *testing.T, d *door, cut *atomic.Bool, r *rooms, change ...func(*Config)) (*central, *Outbox) {
	t.Helper()
	lis := bufconn.Listen(1 << 16)
	srv := &http.Server{Handler: d}
	go func() { _ = srv.Serve(lis) }()
	c := &central{}
	c.play = func(_ int, s *served) error {
		if cut.Load() {
			return status.Error(codes.Unavailable, "a proxy that knows no HTTP/2")
		}
		s.welcome(&agentv1.Welcome{})
		return s.beating()
	}
	out := line(t, c, r, append([]func(*Config){func(cfg *Config) {
		cfg.REST = &REST{Base: "http://central", Key: func() (string, error) { return "key", nil }, dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return lis.DialContext(ctx)
		}}
	}}, change...)...)
	t.Cleanup(func() { _ = srv.Close(); _ = lis.Close() })
	return c, out
}

func TestWhereHTTP2IsCutTheAgentPollsAndComesBackToTheStreamByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cut atomic.Bool
		cut.Store(true)
		d := &door{open: map[string]bool{"t1": true}}
		w := &worker{rooms: &rooms{results: map[string]*fleetv1.TaskResult{}}, began: map[string]int{}}
		seen := &notices{changed: make(chan struct{}, 1)}
		_, out := polls(t, d, &cut, w.rooms, func(cfg *Config) { cfg.Tasks, cfg.Notices = w, seen })
		wait(pollAfter - time.Second)
		if len(d.all()) != 0 {
			t.Fatalf("polled too early: %v", d.all())
		}
		wait(15 * time.Second)
		if n := d.count("POST tasks/t1/result"); n != 1 || w.times("t1") != 1 || len(w.Results()) != 0 {
			t.Fatalf("result sent %d times, begun %d times, %d left; calls %v", n, w.times("t1"), len(w.Results()), d.all())
		}
		// A task that is written now is done within the time between two heartbeats.
		d.set(func() { d.open["t2"] = true })
		wait(beatEvery + time.Second)
		if d.count("POST tasks/t2/result")+w.times("t2") == 0 {
			t.Fatal("a new task was not seen")
		}
		seen.add("notice")
		wait(100 * time.Millisecond)
		if d.count("POST events") != 1 || len(seen.Pending()) != 0 {
			t.Fatalf("the notice was posted %d times", d.count("POST events"))
		}
		out.Metrics(&agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_Metrics{Metrics: &fleetv1.ClusterMetrics{}}})
		wait(time.Second)
		if d.count("POST metrics") != 1 || !slices.Contains(w.heard(), "whole") {
			t.Fatal("the report was not posted as the whole inventory")
		}
		wait(20 * time.Second)
		cut.Store(false)
		wait(90 * time.Second)
		quiet := len(d.all())
		wait(5 * time.Minute)
		if len(d.all()) != quiet {
			t.Fatalf("still polling: %v", d.all()[quiet:])
		}
		if w.times("t1") != 1 || w.times("t2") != 1 {
			t.Fatalf("begun %v", d.all())
		}
		if said := w.heard(); said[len(said)-1] == "disconnected" {
			t.Fatalf("said %v", said)
		}
		cut.Store(true)
	})
}

func TestATaskThatIsNoLongerListedIsStoppedButNotTheAgentsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cut atomic.Bool
		cut.Store(true)
		d := &door{open: map[string]bool{"theirs": true}}
		r := &rooms{}
		polls(t, d, &cut, r, func(cfg *Config) { cfg.Tasks = both{r} })
		wait(pollAfter + 2*time.Second)
		d.set(func() { d.open = map[string]bool{} })
		wait(30 * time.Second)
		r.mu.Lock()
		defer r.mu.Unlock()
		if !slices.Equal(r.cancelled, []string{"theirs"}) {
			t.Fatalf("stopped %v", r.cancelled)
		}
	})
}

// both runs a task of central's and one of its own.
type both struct{ *rooms }

func (both) Running() []*agentv1.RunningTask {
	return []*agentv1.RunningTask{{TaskId: "theirs"}, {TaskId: "own"}}
}

func TestF44RetryAfterIsHonouredWhenPolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cut atomic.Bool
		cut.Store(true)
		d := &door{fail: http.StatusTooManyRequests}
		polls(t, d, &cut, &rooms{})
		wait(pollAfter + 2*time.Minute)
		// One round is two calls: heartbeat, which is refused, ends it but for results and notices.
		if n := d.count("refused"); n < 3 || n > 6 {
			t.Fatalf("%d calls in two minutes, though asked to wait for 30 s", n)
		}
	})
}
