package apitest

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/metrics/pkg/apis/metrics/v1beta1"
	metricsv1beta1 "k8s.io/metrics/pkg/client/clientset/versioned/typed/metrics/v1beta1"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/collect"
)

const metricsGroup = "/apis/metrics.k8s.io/v1beta1"

// meter serves the resource metrics API behind the real API server, two objects a page.
type meter struct {
	mu    sync.Mutex
	nodes []v1beta1.NodeMetrics
	pods  []v1beta1.PodMetrics
	hangs bool
}

func (m *meter) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

// ServeHTTP answers in JSON, as it may: the agent would rather have protobuf.
func (m *meter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	hangs, nodes, pods := m.hangs, m.nodes, m.pods
	m.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	var answer any
	switch r.URL.Path {
	case metricsGroup:
		answer = metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: "metrics.k8s.io/v1beta1", APIResources: []metav1.APIResource{
			{Name: "nodes", Kind: "NodeMetrics", Verbs: []string{"get", "list"}}, {Name: "pods", Namespaced: true, Kind: "PodMetrics", Verbs: []string{"get", "list"}},
		}}
	case metricsGroup + "/nodes":
		items, next := paged(r, nodes)
		answer = v1beta1.NodeMetricsList{TypeMeta: metav1.TypeMeta{Kind: "NodeMetricsList", APIVersion: "metrics.k8s.io/v1beta1"}, ListMeta: next, Items: items}
	case metricsGroup + "/pods":
		if hangs {
			<-r.Context().Done()
			return
		}
		items, next := paged(r, pods)
		answer = v1beta1.PodMetricsList{TypeMeta: metav1.TypeMeta{Kind: "PodMetricsList", APIVersion: "metrics.k8s.io/v1beta1"}, ListMeta: next, Items: items}
	default:
		http.NotFound(w, r)
		return
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func paged[T any](r *http.Request, all []T) ([]T, metav1.ListMeta) {
	from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
	to := min(from+2, len(all))
	if to < len(all) {
		return all[from:to], metav1.ListMeta{Continue: strconv.Itoa(to)}
	}
	return all[from:to], metav1.ListMeta{}
}

// register makes the API server pass metrics.k8s.io on, as metrics-server has it done, until the test ends:
// while one is registered that does not answer, no namespace can be removed.
func (m *meter) register(t *testing.T) {
	t.Helper()
	server := httptest.NewTLSServer(m)
	t.Cleanup(server.Close)
	port := server.Listener.Addr().(*net.TCPAddr).Port
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "metrics-server", Namespace: "kube-system"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost"},
	}
	_, err := kube.admin.CoreV1().Services("kube-system").Create(t.Context(), service, metav1.CreateOptions{})
	require(t, err)
	t.Cleanup(func() {
		_ = kube.admin.CoreV1().Services("kube-system").Delete(context.Background(), "metrics-server", metav1.DeleteOptions{})
	})
	client, err := dynamic.NewForConfig(kube.adminConfig)
	require(t, err)
	services := client.Resource(schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"})
	const name = "v1beta1.metrics.k8s.io"
	_, err = services.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": map[string]any{"name": name},
		"spec": map[string]any{
			"group": "metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": int64(100), "versionPriority": int64(100), "insecureSkipTLSVerify": true,
			"service": map[string]any{"name": "metrics-server", "namespace": "kube-system", "port": int64(port)},
		},
	}}, metav1.CreateOptions{})
	require(t, err)
	t.Cleanup(func() { _ = services.Delete(context.Background(), name, metav1.DeleteOptions{}) })
}

func amount(cpu, memory string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
}

// looker is a collector that looks at usage, with the agent's rights.
type looker struct {
	t    *testing.T
	out  *sent
	read int // messages that were looked at
}

func newLooker(t *testing.T) *looker {
	t.Helper()
	l := &looker{t: t, out: &sent{}}
	usage, err := metricsv1beta1.NewForConfig(rest.CopyConfig(kube.agent))
	require(t, err)
	r := &asked{writes: map[string]map[int]int{}}
	cluster := collect.New(collect.Config{
		ClusterID: clusterID, Client: r.client(t, 200, 400), Usage: usage, Outbox: l.out, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	require(t, cluster.Start(t.Context()))
	cluster.SetIntervals(200*time.Millisecond, 100*time.Millisecond)
	go func() { _ = cluster.Run(t.Context()) }()
	go func() { _ = cluster.RunUsage(t.Context()) }()
	cluster.Connected(true)
	return l
}

// await waits for a report of which usage is as wanted, and returns it.
func (l *looker) await(what string, ok func(*fleetv1.ClusterUsage) bool) *fleetv1.ClusterUsage {
	l.t.Helper()
	var found *fleetv1.ClusterUsage
	await(l.t, what, func() bool {
		all := l.out.all()
		for ; l.read < len(all) && found == nil; l.read++ {
			if u := all[l.read].GetMetrics().GetUsage(); u != nil && ok(u) {
				found = u
			}
		}
		return found != nil
	})
	return found
}

func (l *looker) reports() (n int) {
	for _, m := range l.out.all() {
		if m.GetMetrics() != nil {
			n++
		}
	}
	return n
}

func workloadOf(u *fleetv1.ClusterUsage, namespace string) *fleetv1.WorkloadUsage {
	for _, w := range u.GetWorkloads() {
		if w.GetNamespace() == namespace {
			return w
		}
	}
	return nil
}

func TestUsageIsReportedOfTheBusiestReplicaAndUnknownIsSaid(t *testing.T) {
	p := newPlot(t)
	node := p.addNode("a")
	p.deploy("web", 3, nil)
	l := newLooker(t)
	unknown := func(why string) func(*fleetv1.ClusterUsage) bool {
		return func(u *fleetv1.ClusterUsage) bool { return u.GetUnknown() == why }
	}
	if u := l.await("no metrics API", unknown("no_metrics_api")); len(u.GetNodes()) != 0 {
		t.Fatalf("what is not known is told: %v", u)
	}

	m := &meter{}
	pods, err := kube.admin.CoreV1().Pods(p.name).List(t.Context(), metav1.ListOptions{})
	require(t, err)
	for i, pod := range pods.Items {
		of := v1beta1.PodMetrics{ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: p.name}}
		for _, c := range pod.Spec.Containers {
			of.Containers = append(of.Containers, v1beta1.ContainerMetrics{Name: c.Name, Usage: amount([]string{"50m", "80m", "20m"}[i], []string{"64Mi", "32Mi", "96Mi"}[i])})
		}
		m.pods = append(m.pods, of)
	}
	m.pods = append(m.pods, v1beta1.PodMetrics{ObjectMeta: metav1.ObjectMeta{Name: "nobody", Namespace: p.name}, Containers: []v1beta1.ContainerMetrics{{Name: "x", Usage: amount("9", "9Gi")}}})
	for _, name := range []string{node, "n-1", "n-2"} {
		m.nodes = append(m.nodes, v1beta1.NodeMetrics{ObjectMeta: metav1.ObjectMeta{Name: name}, Usage: amount("1500m", "3Gi")})
	}
	m.register(t)
	u := l.await("usage", func(u *fleetv1.ClusterUsage) bool { return workloadOf(u, p.name) != nil })
	if len(u.GetNodes()) != 3 || !proto.Equal(u.GetNodes()[0], &fleetv1.NodeUsage{NodeName: node, CpuMillicores: 1500, MemoryBytes: 3 << 30}) {
		t.Errorf("nodes: %v", u.GetNodes())
	}
	w := workloadOf(u, p.name)
	if w.GetKind() != "Deployment" || w.GetName() != "web" || w.GetReplicas() != 3 || len(w.GetContainers()) != 1 {
		t.Fatalf("workload: %v", w)
	}
	if c := w.GetContainers()[0]; c.GetCpuMillicores() != 80 || c.GetMemoryBytes() != 96<<20 || c.GetRequests().GetCpuMillicores() != 100 {
		t.Errorf("container: %v", c)
	}

	m.set(func() { m.hangs = true })
	before := l.reports()
	l.await("an API that hangs", unknown("unanswered"))
	if made := l.reports() - before; made < 20 { // ten seconds of it
		t.Errorf("%d reports were made while the metrics API hung: it held them up", made)
	}
	m.set(func() { m.hangs = false })
	l.await("usage again", func(u *fleetv1.ClusterUsage) bool { return workloadOf(u, p.name) != nil })

	forbid(t)
	l.await("a role without the right", unknown("forbidden"))
}

// forbid takes the right away, as of a cluster whose rights are older than the agent.
func forbid(t *testing.T) {
	t.Helper()
	roles := kube.admin.RbacV1().ClusterRoles()
	role, err := roles.Get(t.Context(), "cloudoptim-agent", metav1.GetOptions{})
	require(t, err)
	whole := role.DeepCopy()
	role.Rules = nil
	for _, rule := range whole.Rules {
		if rule.APIGroups[0] != "metrics.k8s.io" {
			role.Rules = append(role.Rules, rule)
		}
	}
	if len(role.Rules) != len(whole.Rules)-1 {
		t.Fatalf("the role has %d rules for metrics.k8s.io", len(whole.Rules)-len(role.Rules))
	}
	_, err = roles.Update(t.Context(), role, metav1.UpdateOptions{})
	require(t, err)
	t.Cleanup(func() {
		now, err := roles.Get(context.Background(), "cloudoptim-agent", metav1.GetOptions{})
		require(t, err)
		now.Rules = whole.Rules
		_, err = roles.Update(context.Background(), now, metav1.UpdateOptions{})
		require(t, err)
	})
}
