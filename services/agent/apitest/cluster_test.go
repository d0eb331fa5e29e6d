package apitest

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/collect"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/drain"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/tasks"
)

const clusterID = "5a0b3f0e-3b1e-4c55-9a5b-0c9f5f6f7a01"

// patience bounds every wait; two busy cores are slow, but not this slow.
const patience = 90 * time.Second

// plot is a test's own part of the cluster.
type plot struct {
	t    *testing.T
	name string
}

func newPlot(t *testing.T) *plot {
	t.Helper()
	p := &plot{t: t, name: "plot-" + uuid.NewString()[:8]}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: p.name}}
	_, err := kube.admin.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{})
	require(t, err)
	_, err = eventually(t, "the namespace's account", func() (bool, error) {
		_, err := kube.admin.CoreV1().ServiceAccounts(p.name).Get(t.Context(), "default", metav1.GetOptions{})
		return err == nil, nil
	})
	require(t, err)
	return p
}

// addNode makes a node that only this test's pods go to and waits until it is ready.
func (p *plot) addNode(suffix string) string {
	p.t.Helper()
	name := p.name + "-" + suffix
	amounts := corev1.ResourceList{
		"cpu": resource.MustParse("8"), "memory": resource.MustParse("16Gi"), "pods": resource.MustParse("58"),
	}
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			"plot": p.name, "kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64",
			"node.kubernetes.io/instance-type": "m5.2xlarge", "topology.kubernetes.io/zone": "us-east-1a",
			"eks.amazonaws.com/capacityType": "SPOT",
		}},
		Spec:   corev1.NodeSpec{ProviderID: "aws:///us-east-1a/" + instanceOf(name)},
		Status: corev1.NodeStatus{Capacity: amounts, Allocatable: amounts},
	}
	_, err := kube.admin.CoreV1().Nodes().Create(p.t.Context(), node, metav1.CreateOptions{})
	require(p.t, err)
	p.t.Cleanup(func() {
		_ = kube.admin.CoreV1().Nodes().Delete(context.Background(), name, metav1.DeleteOptions{})
	})
	await(p.t, "node "+name+" to be ready", func() bool {
		for _, c := range p.node(name).Status.Conditions {
			if c.Type == corev1.NodeReady {
				return c.Status == corev1.ConditionTrue
			}
		}
		return false
	})
	return name
}

func instanceOf(node string) string {
	return "i-0" + strings.ReplaceAll(uuid.NewSHA1(uuid.Nil, []byte(node)).String(), "-", "")[:16]
}

func (p *plot) node(name string) *corev1.Node {
	p.t.Helper()
	node, err := kube.admin.CoreV1().Nodes().Get(p.t.Context(), name, metav1.GetOptions{})
	require(p.t, err)
	return node
}

func (p *plot) template(app string, annotations map[string]string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": app}, Annotations: annotations},
		Spec: corev1.PodSpec{
			NodeSelector: map[string]string{"plot": p.name},
			Containers: []corev1.Container{{Name: "main", Image: "none", Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{"cpu": resource.MustParse("100m"), "memory": resource.MustParse("64Mi")},
			}}},
		},
	}
}

// deploy makes a Deployment and waits until it is available.
func (p *plot) deploy(app string, replicas int32, annotations map[string]string) {
	p.t.Helper()
	labels := map[string]string{"app": app}
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: app},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: p.template(app, annotations),
		},
	}
	_, err := kube.admin.AppsV1().Deployments(p.name).Create(p.t.Context(), d, metav1.CreateOptions{})
	require(p.t, err)
	await(p.t, app+" to be available", func() bool { return p.available(app) == replicas })
}

func (p *plot) available(app string) int32 {
	p.t.Helper()
	d, err := kube.admin.AppsV1().Deployments(p.name).Get(p.t.Context(), app, metav1.GetOptions{})
	require(p.t, err)
	return d.Status.AvailableReplicas
}

// daemon makes a DaemonSet and waits until it runs on so many nodes.
func (p *plot) daemon(app string, nodes int32) {
	p.t.Helper()
	d := &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Name: app},
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}, Template: p.template(app, nil),
		},
	}
	_, err := kube.admin.AppsV1().DaemonSets(p.name).Create(p.t.Context(), d, metav1.CreateOptions{})
	require(p.t, err)
	await(p.t, app+" to run", func() bool {
		d, err := kube.admin.AppsV1().DaemonSets(p.name).Get(p.t.Context(), app, metav1.GetOptions{})
		return err == nil && d.Status.NumberReady == nodes
	})
}

// bare makes a pod that nothing owns, on a node.
func (p *plot) bare(name, node string) *corev1.Pod {
	p.t.Helper()
	template := p.template(name, nil)
	template.Spec.NodeName = node
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: template.Labels}, Spec: template.Spec}
	pod, err := kube.admin.CoreV1().Pods(p.name).Create(p.t.Context(), pod, metav1.CreateOptions{})
	require(p.t, err)
	await(p.t, name+" to run", func() bool {
		now, err := kube.admin.CoreV1().Pods(p.name).Get(p.t.Context(), name, metav1.GetOptions{})
		return err == nil && now.Status.Phase == corev1.PodRunning
	})
	return pod
}

// budget guards an app and waits until the API server counts it.
func (p *plot) budget(app string, minAvailable int) {
	p.t.Helper()
	minimum := intstr.FromInt(minAvailable)
	b := &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: app},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable: &minimum, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}},
		},
	}
	_, err := kube.admin.PolicyV1().PodDisruptionBudgets(p.name).Create(p.t.Context(), b, metav1.CreateOptions{})
	require(p.t, err)
	await(p.t, "the budget to be counted", func() bool {
		b, err := kube.admin.PolicyV1().PodDisruptionBudgets(p.name).Get(p.t.Context(), app, metav1.GetOptions{})
		return err == nil && b.Status.ObservedGeneration == b.Generation && b.Status.CurrentHealthy > 0
	})
}

// podsOn lists this test's pods on a node, by app.
func (p *plot) podsOn(node string) map[string]int {
	p.t.Helper()
	list, err := kube.admin.CoreV1().Pods(p.name).List(p.t.Context(), metav1.ListOptions{FieldSelector: "spec.nodeName=" + node})
	require(p.t, err)
	count := map[string]int{}
	for _, pod := range list.Items {
		count[pod.Labels["app"]]++
	}
	return count
}

// sent is an outbox that keeps everything.
type sent struct {
	mu   sync.Mutex
	msgs []*agentv1.ConnectRequest
}

func (s *sent) Control(m *agentv1.ConnectRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.msgs = append(s.msgs, proto.CloneOf(m))
}
func (s *sent) Metrics(m *agentv1.ConnectRequest) { s.Control(m) }
func (s *sent) Bulk(_ context.Context, m *agentv1.ConnectRequest) error {
	s.Control(m)
	return nil
}

func (s *sent) all() []*agentv1.ConnectRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*agentv1.ConnectRequest(nil), s.msgs...)
}

// result waits for the result of a task.
func (s *sent) result(t *testing.T, id string) *fleetv1.TaskResult {
	t.Helper()
	var found *fleetv1.TaskResult
	await(t, "the result of task "+id, func() bool {
		for _, m := range s.all() {
			if r := m.GetTaskResult(); r.GetTaskId() == id {
				found = r
			}
		}
		return found != nil
	})
	return found
}

// rooms are the agent's rooms in this process, without the line.
type rooms struct {
	t       *testing.T
	out     *sent
	asked   *asked
	cluster *collect.Collector
	drains  *drain.Executor
	runner  *tasks.Runner
	fence   *fence
	kill    func()
}

// fence is a lease that a test takes away.
type fence struct {
	lost  atomic.Bool
	epoch int64
}

func (f *fence) Held() bool   { return !f.lost.Load() }
func (f *fence) Epoch() int64 { return f.epoch }

// asked counts what was written to the API server, as METHOD path, by answer.
type asked struct {
	mu     sync.Mutex
	writes map[string]map[int]int
}

func (a *asked) count(r *http.Request, code int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := r.Method + " " + r.URL.Path
	if a.writes[key] == nil {
		a.writes[key] = map[int]int{}
	}
	a.writes[key][code]++
}

// granted counts the writes of a kind that were granted, by path.
func (a *asked) granted(prefix, suffix string) map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := map[string]int{}
	for key, answers := range a.writes {
		for code, n := range answers {
			if strings.HasPrefix(key, prefix) && strings.HasSuffix(key, suffix) && code < 300 {
				out[key] += n
			}
		}
	}
	return out
}

func (a *asked) client(t *testing.T, qps float32, burst int) kubernetes.Interface {
	t.Helper()
	cfg := rest.CopyConfig(kube.agent)
	cfg.QPS, cfg.Burst = qps, burst
	cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper {
		return &shared{asked: a, RoundTripper: rt}
	})
	client, err := kubernetes.NewForConfig(cfg)
	require(t, err)
	return client
}

// shared is one client's way to the same count.
type shared struct {
	http.RoundTripper
	asked *asked
}

func (s *shared) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.RoundTripper.RoundTrip(r)
	if err == nil && r.Method != http.MethodGet {
		s.asked.count(r, resp.StatusCode)
	}
	return resp, err
}

// startRooms works with the agent's rights and a journal in dir. kill ends it
// the hard way: what it was doing stays half done.
func startRooms(t *testing.T, dir string) *rooms {
	t.Helper()
	return startStopped(t, dir, nil)
}

// startStopped begins with a stop that an earlier process kept.
func startStopped(t *testing.T, dir string, stop *agentv1.SafetyStop) *rooms {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	journal, records, err := tasks.OpenJournal(dir)
	require(t, err)
	r := &rooms{t: t, out: &sent{}, asked: &asked{writes: map[string]map[int]int{}}, fence: &fence{epoch: 1}}
	client := r.asked.client(t, 200, 400)
	ctx, cancel := context.WithCancel(context.Background())
	r.cluster = collect.New(collect.Config{ClusterID: clusterID, Client: client, Outbox: r.out, Log: log})
	require(t, r.cluster.Start(ctx))
	r.drains = &drain.Executor{Client: client, Marks: r.asked.client(t, 200, 400), View: r.cluster, Log: log}
	r.runner = tasks.New(tasks.Config{
		ClusterID: clusterID, Client: client, Journal: journal, Outbox: r.out, Log: log, Drains: r.drains, Fence: r.fence, Stop: stop,
	}, records)
	r.runner.Adopt(r.cluster.Nodes())
	r.runner.SetProgress(200 * time.Millisecond)
	ended := make(chan error, 1)
	go func() { ended <- r.runner.Run(ctx) }()
	r.kill = sync.OnceFunc(func() {
		cancel()
		require(t, <-ended)
	})
	t.Cleanup(r.kill)
	return r
}

// offer gives a task and returns its id.
func (r *rooms) offer(kind string, seconds float64, params proto.Message) string {
	r.t.Helper()
	task := newTask(r.t, kind, seconds, params)
	require(r.t, r.runner.Offer(task))
	return task.TaskId
}

// do gives a task and waits for its end.
func (r *rooms) do(kind string, params proto.Message) *fleetv1.TaskResult {
	r.t.Helper()
	return r.out.result(r.t, r.offer(kind, 60, params))
}

func newTask(t *testing.T, kind string, seconds float64, params proto.Message) *fleetv1.Task {
	t.Helper()
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(params)
	require(t, err)
	s := &structpb.Struct{}
	require(t, s.UnmarshalJSON(text))
	return &fleetv1.Task{
		TaskId: uuid.NewString(), ClusterId: clusterID, TaskType: kind, Parameters: s,
		Priority: 5, Attempt: 1, RemainingSeconds: seconds,
	}
}

func report(t *testing.T, r *fleetv1.TaskResult) *fleetv1.DrainReport {
	t.Helper()
	text, err := r.GetMetadata().MarshalJSON()
	require(t, err)
	out := &fleetv1.DrainReport{}
	require(t, protojson.Unmarshal(text, out))
	return out
}

// states counts the pods of a report by state and reason.
func states(r *fleetv1.DrainReport) map[string]int {
	count := map[string]int{}
	for _, p := range r.GetPods() {
		count[strings.TrimSpace(p.GetState()+" "+p.GetReason())]++
	}
	return count
}

func requireStatus(t *testing.T, r *fleetv1.TaskResult, want string) {
	t.Helper()
	if r.GetStatus() != want {
		t.Fatalf("task ended as %s (%s), want %s\n%s", r.GetStatus(), r.GetError(), want, r.GetLogs())
	}
}

func require(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func requireEqual[K comparable, V comparable](t *testing.T, what string, got, want map[K]V) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	_, err := eventually(t, what, func() (bool, error) { return ok(), nil })
	require(t, err)
}

func eventually(t *testing.T, what string, ok func() (bool, error)) (bool, error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		done, err := ok()
		if done || err != nil {
			return done, err
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain for %s", patience, what)
		}
	}
}
