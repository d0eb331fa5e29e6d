package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/drain"
)

const ours = "5a0b3f0e-3b1e-4c55-9a5b-0c9f5f6f7a01"

// outbox keeps what is sent.
type outbox struct {
	mu   sync.Mutex
	msgs []*agentv1.ConnectRequest
}

func (o *outbox) Control(m *agentv1.ConnectRequest) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.msgs = append(o.msgs, proto.CloneOf(m))
}

func (o *outbox) results(id string) (out []*fleetv1.TaskResult) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, m := range o.msgs {
		if r := m.GetTaskResult(); r.GetTaskId() == id {
			out = append(out, r)
		}
	}
	return out
}

func (o *outbox) count(is func(*agentv1.ConnectRequest) bool) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, m := range o.msgs {
		if is(m) {
			n++
		}
	}
	return n
}

// api is an API server with nodes that take patches; fail may answer first.
type api struct {
	mu      sync.Mutex
	patches map[string]int // by node
	fail    func(r *http.Request) *apierrors.StatusError
}

// goAway makes it answer nothing of use; a restarted Runner may be asking already.
func (a *api) goAway() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fail = func(*http.Request) *apierrors.StatusError { return apierrors.NewServiceUnavailable("away") }
}

func (a *api) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	if a.fail != nil {
		if err := a.fail(r); err != nil {
			err.ErrStatus.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
			w.WriteHeader(int(err.ErrStatus.Code))
			_ = json.NewEncoder(w).Encode(err.ErrStatus)
			return w.Result(), nil
		}
	}
	name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	if r.Method == http.MethodPatch {
		a.patches[name]++
		_, _ = io.Copy(io.Discard, r.Body)
	}
	_ = json.NewEncoder(w).Encode(corev1.Node{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Node"},
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: "u"},
	})
	return w.Result(), nil
}

// empty is a cluster of which the informers have seen nothing.
type empty struct{}

func (empty) PodsOn(string) []*corev1.Pod                      { return nil }
func (empty) Node(string) (*corev1.Node, bool)                 { return nil, false }
func (empty) Nodes() []*corev1.Node                            { return nil }
func (empty) Watch(string) (<-chan struct{}, func())           { return nil, func() {} }
func (empty) Attached(string, []*corev1.Pod) ([]string, error) { return nil, nil }
func (empty) Local(*corev1.Pod) bool                           { return false }

// bench is a Runner with all around it.
type bench struct {
	t   *testing.T
	dir string
	api *api
	out *outbox
	*Runner
	stop func()
}

func start(t *testing.T, dir string) *bench {
	t.Helper()
	return startFenced(t, dir, nil)
}

func startFenced(t *testing.T, dir string, fence drain.Fence) *bench {
	t.Helper()
	return startWith(t, dir, fence, nil)
}

func startWith(t *testing.T, dir string, fence drain.Fence, stop *agentv1.SafetyStop) *bench {
	t.Helper()
	b := &bench{t: t, dir: dir, api: &api{patches: map[string]int{}}, out: &outbox{}}
	client, err := kubernetes.NewForConfig(&rest.Config{
		Host: "http://api", Transport: b.api, QPS: 10000, Burst: 10000,
		ContentConfig: rest.ContentConfig{ContentType: "application/json"},
	})
	if err != nil {
		t.Fatal(err)
	}
	journal, records, err := OpenJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	b.Runner = New(Config{
		ClusterID: ours, Client: client, Journal: journal, Outbox: b.out, Log: log, Fence: fence, Stop: stop,
		Drains: &drain.Executor{Client: client, View: empty{}, Log: log},
	}, records)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = b.Run(ctx) }()
	b.stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(b.stop)
	return b
}

// inBubble runs f with fake time. The folder is made outside: t.TempDir is
// removed when the test ends, which a bubble does not outlive.
func inBubble(t *testing.T, f func(t *testing.T, dir string)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) { f(t, dir) })
}

func offer(kind string, params map[string]any) *fleetv1.Task {
	s, err := structpb.NewStruct(params)
	if err != nil {
		panic(err)
	}
	return &fleetv1.Task{
		TaskId: uuid.NewString(), ClusterId: ours, TaskType: kind, Parameters: s,
		Priority: 5, Attempt: 1, RemainingSeconds: 60,
	}
}

func (b *bench) give(task *fleetv1.Task) string {
	b.t.Helper()
	if err := b.Offer(task); err != nil {
		b.t.Fatal(err)
	}
	synctest.Wait()
	return task.TaskId
}

func (b *bench) only(id, status string) *fleetv1.TaskResult {
	b.t.Helper()
	results := b.out.results(id)
	if len(results) != 1 || results[0].GetStatus() != status {
		b.t.Fatalf("results %v, want one %s", results, status)
	}
	return results[0]
}

// stub is a job that runs until it is told to end.
type stub struct {
	on     string
	urgent bool
	end    chan outcome
	began  chan struct{}
}

func newStub(node string) *stub {
	return &stub{on: node, end: make(chan outcome, 1), began: make(chan struct{})}
}

func (s *stub) subject() string              { return s.on }
func (s *stub) prepare(context.Context) bool { return !s.urgent }
func (s *stub) progress() (float64, string, *fleetv1.DrainReport) {
	return 0.5, "half", nil
}

func (s *stub) do(ctx context.Context) outcome {
	close(s.began)
	select {
	case out := <-s.end:
		if out.err == "panic" {
			panic("boom")
		}
		return out
	case <-ctx.Done():
		return outcome{status: "cancelled", err: context.Cause(ctx).Error()}
	}
}

func (s *stub) running() bool {
	synctest.Wait()
	select {
	case <-s.began:
		return true
	default:
		return false
	}
}

// put adds a task with a stub for a job.
func (b *bench) put(s *stub, priority int32, remaining time.Duration) string {
	b.t.Helper()
	id := uuid.NewString()
	b.mu.Lock()
	b.arrivals++
	b.tasks[id] = &task{
		Record:  Record{Task: &fleetv1.Task{TaskId: id, ClusterId: ours, Priority: priority, Attempt: 1}},
		arrival: b.arrivals, job: s, until: time.Now().Add(remaining),
	}
	b.mu.Unlock()
	b.kick()
	synctest.Wait()
	return id
}

func TestTaskIsDoneOnceHoweverOftenItIsOffered(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		b := start(t, dir)
		task := offer("label_node", map[string]any{"node_name": "n1", "labels": map[string]any{"a": "b"}})
		id := b.give(task)
		first := b.only(id, "success")
		if first.GetAttempt() != 1 || first.GetExecutedAt() == nil || !strings.Contains(first.GetLogs(), "n1") {
			t.Fatalf("result %v", first)
		}
		task.Attempt = 3
		b.give(task)
		b.Acked(&agentv1.ResultAck{TaskId: id, Accepted: true})
		task.Attempt = 4
		b.give(task)
		results := b.out.results(id)
		if len(results) != 3 || results[1].GetAttempt() != 3 || results[2].GetAttempt() != 4 {
			t.Fatalf("results %v: the newest attempt must be answered", results)
		}
		b.stop()
		again := start(t, dir)
		again.give(task)
		again.only(id, "success")
		if b.api.patches["n1"] != 1 || again.api.patches["n1"] != 0 {
			t.Fatalf("patched %d times, and %d after the restart", b.api.patches["n1"], again.api.patches["n1"])
		}
	})
}

func TestWhatCannotBeDoneFailsWithItsReason(t *testing.T) {
	for name, tc := range map[string]struct {
		kind   string
		params map[string]any
		want   string
	}{
		"an unknown type":        {"reboot_node", map[string]any{"node_name": "n1"}, `unsupported task type "reboot_node"`},
		"no parameters":          {"cordon_node", nil, "node_name"},
		"an unknown parameter":   {"cordon_node", map[string]any{"node_name": "n1", "colour": "red"}, "colour"},
		"a wrong type":           {"drain_node", map[string]any{"node_name": "n1", "grace_period": "soon"}, "gracePeriod"},
		"a value out of bounds":  {"drain_node", map[string]any{"node_name": "n1", "grace_period": 999999}, "grace_period"},
		"a taint without effect": {"taint_node", map[string]any{"node_name": "n1", "taints": []any{map[string]any{"key": "k"}}}, "effect"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, dir string) {
				b := start(t, dir)
				result := b.only(b.give(offer(tc.kind, tc.params)), "failed")
				if !strings.Contains(result.GetError(), tc.want) {
					t.Fatalf("error %q, want %q", result.GetError(), tc.want)
				}
				if first := b.out.msgs[0].GetTaskAccepted(); first == nil {
					t.Fatal("the result came before the acceptance")
				}
			})
		})
	}
}

func TestTasksThatCannotBeAnsweredAreRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		b := start(t, dir)
		foreign := offer("cordon_node", map[string]any{"node_name": "n1"})
		foreign.ClusterId = uuid.NewString()
		nameless := offer("cordon_node", map[string]any{"node_name": "n1"})
		nameless.TaskId = "../../etc/passwd"
		for _, task := range []*fleetv1.Task{foreign, nameless} {
			if b.Offer(task) == nil {
				t.Fatalf("task %v was taken", task)
			}
		}
		if b.Cancel(&agentv1.TaskCancel{TaskId: "x"}) == nil {
			t.Fatal("a nameless task was cancelled")
		}
	})
}

func TestPanicFailsTheTaskAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		b := start(t, dir)
		s := newStub("n1")
		id := b.put(s, 5, time.Minute)
		s.end <- outcome{err: "panic"}
		synctest.Wait()
		if r := b.only(id, "failed"); !strings.Contains(r.GetError(), "boom") {
			t.Fatalf("error %q", r.GetError())
		}
		next := newStub("n1")
		b.put(next, 5, time.Minute)
		if !next.running() {
			t.Fatal("nothing runs after a panic")
		}
	})
}

func TestTasksOfANodeFollowEachOtherMostUrgentFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		b := start(t, dir)
		first, idle, urgent, other := newStub("n1"), newStub("n1"), newStub("n1"), newStub("n2")
		b.put(first, 5, time.Hour)
		b.put(idle, 9, time.Hour)
		b.put(urgent, 1, time.Hour)
		b.put(other, 9, time.Hour)
		if !first.running() || idle.running() || urgent.running() || !other.running() {
			t.Fatal("tasks of one node must wait, those of another must not")
		}
		first.end <- outcome{status: "success"}
		if !urgent.running() || idle.running() {
			t.Fatal("the urgent one must be next")
		}
		urgent.end <- outcome{status: "success"}
		if !idle.running() {
			t.Fatal("the last one never started")
		}
	})
}

func TestTenNodesAtOnceWhereThereIsNoHurry(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		b := start(t, dir)
		stubs := make([]*stub, 13)
		for i := range stubs[:12] {
			stubs[i] = newStub(fmt.Sprint("n", i))
			b.put(stubs[i], 5, time.Duration(60-i)*time.Minute)
		}
		if !stubs[9].running() || stubs[10].running() {
			t.Fatal("want ten at once")
		}
		stubs[12] = newStub("n12")
		stubs[12].urgent = true
		b.put(stubs[12], 5, time.Hour)
		if !stubs[12].running() {
			t.Fatal("a node that will be lost soon was held back")
		}
		stubs[3].end <- outcome{status: "success"}
		if !stubs[11].running() || stubs[10].running() {
			t.Fatal("want the one with the nearest deadline when a slot is free")
		}
	})
}

func TestNodesAreCordonedBeforeTheirTurnComes(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		b := start(t, dir)
		for i := range gentleAtOnce {
			b.put(newStub(fmt.Sprint("busy", i)), 5, time.Hour)
		}
		task := offer("drain_node", map[string]any{"node_name": "n1"})
		task.RemainingSeconds = 600
		id := b.give(task)
		time.Sleep(time.Minute)
		synctest.Wait()
		if b.api.patches["n1"] != 1 || len(b.out.results(id)) != 0 {
			t.Fatalf("%d patches, results %v", b.api.patches["n1"], b.out.results(id))
		}
	})
}

func local(t *testing.T, b *bench, seconds float64) *fleetv1.Task {
	t.Helper()
	b.api.goAway()
	task := offer("drain_node", map[string]any{"node_name": "n1", "force": true})
	task.RemainingSeconds = seconds
	if err := b.Local(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return task
}

func TestALocalTaskIsNotCentralsUntilItIsOffered(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		b := start(t, dir)
		task := local(t, b, 100)
		time.Sleep(15 * time.Second)
		b.stop()
		b = start(t, dir) // it stays so over a restart
		b.api.goAway()
		time.Sleep(15 * time.Second)
		synctest.Wait()
		if len(b.Running()) != 0 || len(b.out.msgs) != 0 {
			t.Fatalf("central was told %v, hello says %v", b.out.msgs, b.Running())
		}
		task.RemainingSeconds, task.Attempt = 20, 4
		begun := time.Now()
		b.give(task)
		if got := b.out.msgs[0].GetTaskAccepted(); got.GetAttempt() != 4 || len(b.Running()) != 1 {
			t.Fatalf("accepted %v, running %v", got, b.Running())
		}
		for len(b.out.results(task.TaskId)) == 0 {
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(begun); took < 19*time.Second || took > 21*time.Second {
			t.Fatalf("ended after %s, central gave 20 s of the 70 that were left", took)
		}
		if r := b.only(task.TaskId, "timeout"); r.GetAttempt() != 4 {
			t.Fatalf("result %v", r)
		}
	})
}

func TestALocalTasksDeadlineIsNotPutOff(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		b := start(t, dir)
		task := local(t, b, 30)
		begun := time.Now()
		task.RemainingSeconds = 500
		b.give(task)
		for len(b.out.results(task.TaskId)) == 0 {
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(begun); took > 31*time.Second {
			t.Fatalf("ended after %s", took)
		}
	})
}

func TestTheResultOfALocalTaskIsSentUntilCentralAnswers(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		b := start(t, dir)
		task := local(t, b, 2)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		b.stop()
		b = start(t, dir)
		if got := b.Results(); len(got) != 1 || got[0].GetTaskId() != task.TaskId {
			t.Fatalf("results %v", got)
		}
		b.Acked(&agentv1.ResultAck{TaskId: task.TaskId}) // central never knew it
		if got := b.Results(); len(got) != 0 {
			t.Fatalf("sent again: %v", got)
		}
		b.give(task) // and now it does
		b.only(task.TaskId, "timeout")
	})
}

// lease is a fence that a test opens.
type lease struct{ lost atomic.Bool }

func (l *lease) Held() bool { return !l.lost.Load() }
func (*lease) Epoch() int64 { return 3 }

func TestF38AnEditIsNotWrittenWithoutTheLease(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		held := &lease{}
		held.lost.Store(true)
		b := startFenced(t, dir, held)
		id := b.give(offer("cordon_node", map[string]any{"node_name": "n1"}))
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if b.api.patches["n1"] != 0 || len(b.out.results(id)) != 0 {
			t.Fatalf("%d patches", b.api.patches["n1"])
		}
		held.lost.Store(false)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		b.only(id, "success")
	})
}

func TestF26UncordonUndoesADrainButNotTheCordonOfAnother(t *testing.T) {
	mark, err := json.Marshal(drain.Record{TaskID: uuid.NewString(), Phase: drain.Blocked, TaintedByUs: true, LabelledByUs: true})
	if err != nil {
		t.Fatal(err)
	}
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: "n1", Annotations: map[string]string{drain.RecordAnnotation: string(mark)},
			Labels: map[string]string{corev1.LabelNodeExcludeBalancers: "true"},
		},
		Spec: corev1.NodeSpec{Unschedulable: true, Taints: []corev1.Taint{{Key: drain.DrainingTaint}, {Key: "other"}}},
	}
	for name, tc := range map[string]struct {
		force, ours bool
		uncordons   bool
	}{"another's": {false, false, false}, "another's, by force": {true, false, true}, "ours": {false, true, true}} {
		t.Run(name, func(t *testing.T) {
			node := node.DeepCopy()
			if tc.ours {
				node.Annotations[drain.CordonedByAnnotation] = "x"
			}
			patch, _, err := uncordonEdit(&fleetv1.UncordonNodeParameters{Force: tc.force})(node)
			spec := patch["spec"].(map[string]any)
			if _, uncordons := spec["unschedulable"]; uncordons != tc.uncordons || (err == nil) != tc.uncordons {
				t.Fatalf("patch %v, error %v", patch, err)
			}
			labels := patch["metadata"].(map[string]any)["labels"].(map[string]any)
			if v, ok := labels[corev1.LabelNodeExcludeBalancers]; !ok || v != nil || len(spec["taints"].([]corev1.Taint)) != 1 {
				t.Fatalf("the drain's marks stay: %v", patch)
			}
		})
	}
}

func TestDeadlineCountsWhileWaiting(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		b := start(t, dir)
		b.put(newStub("n1"), 5, time.Hour)
		waiting := newStub("n1")
		id := b.put(waiting, 5, 42*time.Second)
		time.Sleep(43 * time.Second)
		synctest.Wait()
		b.only(id, "timeout")
		if waiting.running() {
			t.Fatal("it ran after its deadline")
		}
	})
}

func TestProgressSpeaksForWaitingTasksToo(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		b := start(t, dir)
		b.SetProgress(5 * time.Second)
		running, waiting := b.put(newStub("n1"), 5, time.Hour), b.put(newStub("n1"), 5, time.Hour)
		time.Sleep(51 * time.Second)
		synctest.Wait()
		for id, line := range map[string]string{running: "half", waiting: "waiting for its turn"} {
			n := b.out.count(func(m *agentv1.ConnectRequest) bool {
				return m.GetTaskProgress().GetTaskId() == id && m.GetTaskProgress().GetMessage() == line
			})
			if n < 9 || n > 11 {
				t.Fatalf("%d reports %q in 51 s, every 5 s wanted", n, line)
			}
		}
	})
}

func TestCancel(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		b := start(t, dir)
		s, behind := newStub("n1"), newStub("n1")
		running, waiting := b.put(s, 5, time.Hour), b.put(behind, 5, time.Hour)
		early := offer("cordon_node", map[string]any{"node_name": "n9"})
		for _, id := range []string{waiting, running, early.TaskId} {
			if err := b.Cancel(&agentv1.TaskCancel{TaskId: id, Attempt: 1, Reason: "stop-all"}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		for _, id := range []string{waiting, running, early.TaskId} {
			if r := b.only(id, "cancelled"); !strings.Contains(r.GetError(), "stop-all") {
				t.Fatalf("error %q", r.GetError())
			}
		}
		b.give(early)
		if b.api.patches["n9"] != 0 || behind.running() {
			t.Fatal("a task ran after its cancel")
		}
		old := b.put(newStub("n5"), 5, time.Hour)
		b.mu.Lock()
		b.tasks[old].Task.Attempt = 4
		b.mu.Unlock()
		if err := b.Cancel(&agentv1.TaskCancel{TaskId: old, Attempt: 2}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(b.out.results(old)) != 0 {
			t.Fatal("the cancel of an old attempt stopped the new one")
		}
	})
}

func TestResultsOutliveTheProcess(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		b := start(t, dir)
		id := b.give(offer("cordon_node", map[string]any{"node_name": "n1"}))
		b.stop()
		for range 3 {
			b = start(t, dir)
			if got := b.Results(); len(got) != 1 || got[0].GetTaskId() != id || len(b.Running()) != 0 {
				t.Fatalf("results %v, running %v", got, b.Running())
			}
			b.stop()
		}
		b = start(t, dir)
		b.Acked(&agentv1.ResultAck{TaskId: id, Accepted: true})
		b.stop()
		b = start(t, dir)
		if got := b.Results(); len(got) != 0 {
			t.Fatalf("sent again after its ack: %v", got)
		}
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
			t.Fatalf("a day after the ack the journal has %v, %v", files, err)
		}
	})
}

func TestStoppedTaskResumesWithItsDeadline(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		b := start(t, dir)
		b.api.goAway()
		task := offer("cordon_node", map[string]any{"node_name": "n1"})
		task.RemainingSeconds = 30
		id := b.give(task)
		time.Sleep(10 * time.Second)
		b.stop()
		if len(b.out.results(id)) != 0 {
			t.Fatal("stopping reported an end")
		}
		time.Sleep(10 * time.Second) // the agent is down
		begun := time.Now()
		b = start(t, dir)
		b.api.goAway()
		if r := b.Running(); len(r) != 1 || r[0].GetTaskId() != id {
			t.Fatalf("running %v", r)
		}
		for len(b.out.results(id)) == 0 {
			time.Sleep(100 * time.Millisecond)
		}
		b.only(id, "timeout")
		if after := time.Since(begun); after > 10500*time.Millisecond || after < 9*time.Second {
			t.Fatalf("timed out %s after the restart, 10 s were left", after)
		}
	})
}

func TestDeadlineIsADurationNotAClock(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		b := start(t, dir)
		task := offer("cordon_node", map[string]any{"node_name": "n1"})
		task.Deadline = timestamppb.New(time.Now().Add(-5 * time.Minute)) // central's clock is behind
		b.only(b.give(task), "success")
		task = offer("cordon_node", map[string]any{"node_name": "n2"})
		task.Deadline, task.RemainingSeconds = timestamppb.New(time.Now().Add(-time.Second)), 0
		b.only(b.give(task), "timeout")
	})
}

func TestEditIsTriedUntilItIsThrough(t *testing.T) {
	nodes := schema.GroupResource{Resource: "nodes"}
	inBubble(t, func(t *testing.T, dir string) {
		b := start(t, dir)
		answers := []*apierrors.StatusError{
			nil, apierrors.NewConflict(nodes, "n1", errors.New("changed")), apierrors.NewServiceUnavailable("x"),
			nil, apierrors.NewInternalError(errors.New("x")), nil, nil,
		}
		b.api.fail = func(*http.Request) *apierrors.StatusError {
			next := answers[0]
			answers = answers[1:]
			return next
		}
		id := b.give(offer("taint_node", map[string]any{"node_name": "n1", "taints": []any{map[string]any{"key": "k", "effect": "NoSchedule"}}}))
		time.Sleep(20 * time.Second)
		synctest.Wait()
		b.only(id, "success")
		if b.api.patches["n1"] != 1 || len(answers) != 0 {
			t.Fatalf("patched %d times, answers left %v", b.api.patches["n1"], answers)
		}
		b.api.fail = func(*http.Request) *apierrors.StatusError {
			return apierrors.NewForbidden(nodes, "n1", errors.New("no right"))
		}
		id = b.give(offer("cordon_node", map[string]any{"node_name": "n1"}))
		b.only(id, "failed") // at once
	})
}

func TestForcedDrainTakesTheNodeOver(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		b := start(t, dir)
		b.api.goAway()
		gentle := b.give(offer("drain_node", map[string]any{"node_name": "n1", "uncordon_on_failure": true}))
		second := b.give(offer("drain_node", map[string]any{"node_name": "n1"}))
		if len(b.out.results(gentle)) != 0 {
			t.Fatal("a gentle drain gave way to a gentle one")
		}
		b.give(offer("drain_node", map[string]any{"node_name": "n1", "force": true}))
		if r := b.only(gentle, "cancelled"); !strings.Contains(r.GetError(), "more urgent") {
			t.Fatalf("error %q", r.GetError())
		}
		if len(b.out.results(second)) != 0 || len(b.Running()) != 2 {
			t.Fatalf("running %v", b.Running())
		}
	})
}

func TestAdoptsDrainsUnderWayOnly(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		b := start(t, dir)
		known := b.give(offer("cordon_node", map[string]any{"node_name": "n1"}))
		text, err := protojson.Marshal(&fleetv1.DrainNodeParameters{NodeName: "n1", GracePeriod: 30})
		if err != nil {
			t.Fatal(err)
		}
		want := uuid.NewString()
		node := func(r drain.Record) *corev1.Node {
			r.Deadline, r.Parameters = time.Now().Add(time.Minute), text
			mark, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Annotations: map[string]string{drain.RecordAnnotation: string(mark)}}}
		}
		garbage := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{drain.RecordAnnotation: "{"}}}
		b.api.goAway()
		b.Adopt([]*corev1.Node{
			{}, garbage, node(drain.Record{TaskID: want, Attempt: 2, Phase: "draining"}),
			node(drain.Record{TaskID: uuid.NewString(), Phase: "drained"}),
			node(drain.Record{TaskID: known, Phase: "draining"}),
			node(drain.Record{TaskID: "../x", Phase: "draining"}),
		})
		running := b.Running()
		if len(running) != 1 || running[0].GetTaskId() != want || running[0].GetAttempt() != 2 {
			t.Fatalf("running %v", running)
		}
	})
}

func TestJournalThatCannotBeWrittenAcceptsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		b := start(t, dir)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		b.give(offer("cordon_node", map[string]any{"node_name": "n1"}))
		if len(b.out.msgs) != 0 || len(b.api.patches) != 0 {
			t.Fatalf("sent %v, patched %v", b.out.msgs, b.api.patches)
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	})
}

func TestLogsAndErrorsAreCutToWhatTheContractTakes(t *testing.T) {
	long := strings.Repeat("ä", 200_000)
	for _, limit := range []int{4096, 16 << 10, 256 << 10} {
		if got := clip(long, limit); len(got) > limit || !slices.Contains([]string{"… cut"}, got[strings.LastIndex(got, "\n")+1:]) {
			t.Fatalf("clip to %d gave %d bytes", limit, len(got))
		}
	}
}
