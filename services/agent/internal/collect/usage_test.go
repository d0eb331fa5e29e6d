package collect

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/metrics/pkg/apis/metrics/v1beta1"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

func owned(name, kind, owner string, labels map[string]string, containers ...corev1.Container) *corev1.Pod {
	yes := true
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "shop", UID: uid(len(name)) + "-" + uid(len(kind)), CreationTimestamp: metav1.NewTime(born), Labels: labels,
			OwnerReferences: []metav1.OwnerReference{{Kind: kind, Name: owner, Controller: &yes}},
		},
		Spec: corev1.PodSpec{Containers: containers}, Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
}

func TestAWorkloadIsWhereRequestsAreSet(t *testing.T) {
	hash := map[string]string{"pod-template-hash": "5f6d"}
	for name, tc := range map[string]struct {
		pod        *corev1.Pod
		kind, want string
	}{
		"a Deployment's":          {owned("p", "ReplicaSet", "web-5f6d", hash), "Deployment", "web"},
		"a ReplicaSet of its own": {owned("p", "ReplicaSet", "web-5f6d", nil), "ReplicaSet", "web-5f6d"},
		"a StatefulSet's":         {owned("p", "StatefulSet", "db", nil), "StatefulSet", "db"},
		"a CronJob's":             {owned("p", "Job", "backup-29345760", nil), "CronJob", "backup"},
		"a Job of its own":        {owned("p", "Job", "migrate-42", nil), "Job", "migrate-42"},
		"a kubelet's own":         {owned("p", "Node", "n1", nil), "", ""},
		"nobody's":                {&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}}, "", ""},
	} {
		if kind, got := workloadOf(tc.pod); kind != tc.kind || got != tc.want {
			t.Errorf("%s: %s %s", name, kind, got)
		}
	}
}

// seen gathers what the caches have and samples it with the same use of every container.
func seen(view *Collector, counted *restarts) []*fleetv1.WorkloadUsage {
	all := gather(view, counted)
	for key := range all.byPod {
		m := &v1beta1.PodMetrics{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: key[len("shop/"):]}}
		for name := range all.byPod[key].containers {
			m.Containers = append(m.Containers, v1beta1.ContainerMetrics{Name: name, Usage: amounts("cpu", "10m", "memory", "1Mi")})
		}
		all.sample(m)
	}
	told := all.sampled()
	counted.tell(told)
	return told
}

func TestRestartsAndKillsAreToldOfWhatTheCacheKeeps(t *testing.T) {
	view, counted := filled(t, &wire{}, 0, 0), newUsage(Config{}).restarts
	keep := func(pod *corev1.Pod) {
		t.Helper()
		kept, err := strip(pod.DeepCopy())
		if err != nil {
			t.Fatal(err)
		}
		put(t, view.pods, kept)
	}
	pod := owned("db-0", "StatefulSet", "db", nil, container("main", "cpu", "1", "memory", "64Mi"))
	pod.Spec.Containers[0].Resources.Limits = amounts("memory", "128Mi")
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", RestartCount: 7}}
	keep(pod)
	if w := seen(view, &counted); len(w) != 1 || w[0].Containers[0].Restarts != 0 || len(w[0].Containers[0].OomKills) != 0 {
		t.Fatalf("restarts of before are told: %v", w)
	}
	killed := metav1.NewTime(born.Add(time.Hour))
	pod.Status.ContainerStatuses[0].RestartCount = 9
	pod.Status.ContainerStatuses[0].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{Reason: "OOMKilled", FinishedAt: killed, Message: "hidden"}
	keep(pod)
	want := &fleetv1.WorkloadUsage{
		Namespace: "shop", Kind: "StatefulSet", Name: "db", Replicas: 1, Containers: []*fleetv1.ContainerSample{{
			Container: "main", CpuMillicores: 10, MemoryBytes: 1 << 20, Restarts: 2,
			Requests: &fleetv1.Resources{CpuMillicores: 1000, MemoryBytes: 64 << 20}, Limits: &fleetv1.Resources{MemoryBytes: 128 << 20},
			OomKills: []*fleetv1.ContainerKill{{Time: timestamppb.New(killed.Time), LimitBytes: 128 << 20}},
		}},
	}
	requireProto(t, want, seen(view, &counted)[0])
	want.Containers[0].Restarts = 0 // they were told of
	requireProto(t, want, seen(view, &counted)[0])
}

func TestTheNewestReplicaSaysWhatIsRequested(t *testing.T) {
	view, counted := filled(t, &wire{}, 0, 0), newUsage(Config{}).restarts
	old := owned("web-5f6d-a", "ReplicaSet", "web-5f6d", map[string]string{"pod-template-hash": "5f6d"}, container("app", "cpu", "1"))
	fresh := owned("web-7c8e-bb", "ReplicaSet", "web-7c8e", map[string]string{"pod-template-hash": "7c8e"}, container("app", "cpu", "2"), container("proxy"))
	fresh.CreationTimestamp = metav1.NewTime(born.Add(time.Minute))
	finished := owned("web-5f6d-ccc", "ReplicaSet", "web-5f6d", map[string]string{"pod-template-hash": "5f6d"}, container("app", "cpu", "9"))
	finished.CreationTimestamp, finished.Status.Phase = metav1.NewTime(born.Add(time.Hour)), corev1.PodSucceeded
	always := corev1.ContainerRestartPolicyAlways
	sidecar := container("sidecar")
	sidecar.RestartPolicy = &always
	fresh.Spec.InitContainers = []corev1.Container{container("init", "cpu", "8"), sidecar}
	for _, pod := range []*corev1.Pod{old, fresh, finished} {
		put(t, view.pods, pod)
	}
	got := seen(view, &counted)
	if len(got) != 1 || got[0].GetReplicas() != 2 {
		t.Fatalf("workloads: %v", got)
	}
	var names []string
	for _, c := range got[0].Containers {
		names = append(names, fmt.Sprintf("%s %d", c.Container, c.GetRequests().GetCpuMillicores()))
	}
	if want := []string{"app 2000", "proxy 0", "sidecar 0"}; !slices.Equal(names, want) {
		t.Fatalf("containers %v, want %v", names, want)
	}
}

func TestWhatIsNotSampledIsNotTold(t *testing.T) {
	view, counted := filled(t, &wire{}, 0, 0), newUsage(Config{}).restarts
	put(t, view.pods, owned("db-0", "StatefulSet", "db", nil, container("main", "cpu", "1"), container("other", "cpu", "1")))
	all := gather(view, &counted)
	if told := all.sampled(); len(told) != 0 {
		t.Fatalf("told %v", told)
	}
	all.sample(&v1beta1.PodMetrics{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db-0"}, Containers: []v1beta1.ContainerMetrics{
		{Name: "main", Usage: amounts("cpu", "10m")}, // half of it is missing
		{Name: "other", Usage: amounts("cpu", "0", "memory", "0")}, {Name: "nobody", Usage: amounts("cpu", "1", "memory", "1")},
	}})
	if told := all.sampled(); len(told) != 1 || len(told[0].Containers) != 1 || told[0].Containers[0].Container != "other" {
		t.Fatalf("told %v", told)
	}
}

func TestALargeClusterIsToldInTurns(t *testing.T) {
	var all []*fleetv1.WorkloadUsage
	for i := range 1000 {
		all = append(all, &fleetv1.WorkloadUsage{Namespace: "shop", Kind: "Deployment", Name: fmt.Sprintf("w%04d", i)})
	}
	told, last := map[string]int{}, ""
	for range 30 {
		var part []*fleetv1.WorkloadUsage
		part, last = inTurn(all, workloadKey, last, 4000)
		size := 0
		for _, w := range part {
			told[w.Name]++
			size += proto.Size(w)
		}
		if size > 4000 || len(part) == 0 {
			t.Fatalf("a report has %d bytes, %d workloads", size, len(part))
		}
		all = slices.DeleteFunc(all, func(w *fleetv1.WorkloadUsage) bool {
			return w.Name == "w0500" || workloadKey(w) == last && w.Name > "w0900"
		})
	}
	least, most := 1000, 0
	for _, w := range all {
		least, most = min(least, told[w.Name]), max(most, told[w.Name])
	}
	if least < 2 || most > least+1 {
		t.Errorf("some were told %d times, others %d", least, most)
	}
	small := all[:3]
	for range 3 {
		var part []*fleetv1.WorkloadUsage
		if part, last = inTurn(small, workloadKey, last, 4000); len(part) != 3 {
			t.Fatalf("of three that fit %d are told", len(part))
		}
	}
	if part, _ := inTurn(small, workloadKey, "", 1); len(part) != 1 {
		t.Errorf("one that is larger than the budget is never told")
	}
	if part, now := inTurn[*fleetv1.WorkloadUsage](nil, workloadKey, "x", 1); part != nil || now != "" {
		t.Error("of nothing something is told")
	}
}

func TestAReportSaysUsageOnce(t *testing.T) {
	w := &wire{}
	c := filled(t, w, 1, 1)
	c.usage.fresh = &fleetv1.ClusterUsage{Unknown: unanswered}
	if u := c.usage.take(); u.GetUnknown() != unanswered {
		t.Fatalf("took %v", u)
	}
	if u := c.usage.take(); u != nil {
		t.Fatalf("took %v again", u)
	}
}
