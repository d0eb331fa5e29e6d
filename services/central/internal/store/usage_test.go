package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
)

// reported is usage of one node and one container.
func reported(cpu int64) *fleetv1.ClusterUsage {
	return &fleetv1.ClusterUsage{
		Nodes: []*fleetv1.NodeUsage{{NodeName: "n1", CpuMillicores: cpu, MemoryBytes: 2 * gib}},
		Workloads: []*fleetv1.WorkloadUsage{{Namespace: "shop", Kind: "Deployment", Name: "web", Replicas: 3, Containers: []*fleetv1.ContainerSample{
			{Container: "app", CpuMillicores: cpu, MemoryBytes: gib},
		}}},
	}
}

// listedNode is the only node as ListNodes has it.
func (h *house) listedNode(t *testing.T) *adminv1.Node {
	t.Helper()
	nodes, _, err := h.Nodes(t.Context(), h.cluster, &adminv1.ListNodesRequest{})
	must(t, err)
	if len(nodes) != 1 {
		t.Fatalf("%d nodes", len(nodes))
	}
	return nodes[0]
}

func (h *house) usageState(t *testing.T) string {
	t.Helper()
	record, err := h.ClusterRecord(t.Context(), h.cluster, anyone)
	must(t, err)
	return record.GetUsage()
}

func TestWhatANodeUsesIsShownWhileItIsKnown(t *testing.T) {
	h := newHouse(t)
	must(t, h.PutReport(t.Context(), h.cluster, Fleet{Complete: true, Nodes: []*fleetv1.NodeMetric{node("n1", "i-1")}})) // two vCPU, 8 GiB
	equal(t, "usage", h.usageState(t), "")
	if n := h.listedNode(t); n.CpuUsedRatio != nil || n.MemoryUsedRatio != nil {
		t.Error("usage is told before an agent said any")
	}
	at := time.Now()
	must(t, h.AddUsage(t.Context(), h.cluster, at, reported(500)))
	n := h.listedNode(t)
	equal(t, "cpu", n.GetCpuUsedRatio(), 0.25)
	equal(t, "memory", n.GetMemoryUsedRatio(), 0.25)
	equal(t, "usage", h.usageState(t), "known")

	must(t, h.AddUsage(t.Context(), h.cluster, at.Add(15*time.Second), reported(1000)))
	equal(t, "cpu", h.listedNode(t).GetCpuUsedRatio(), 0.5)
	// The first report once more, late: what it says is not what is.
	must(t, h.AddUsage(t.Context(), h.cluster, at, reported(500)))
	equal(t, "cpu", h.listedNode(t).GetCpuUsedRatio(), 0.5)

	must(t, h.AddUsage(t.Context(), h.cluster, at.Add(30*time.Second), &fleetv1.ClusterUsage{Unknown: "unanswered"}))
	equal(t, "usage", h.usageState(t), "unanswered")
	h.exec(t, "UPDATE nodes SET created_at = created_at - interval '1 hour'")
	h.exec(t, "UPDATE node_usage SET heard_at = heard_at - interval '170 seconds'")
	equal(t, "cpu", h.listedNode(t).GetCpuUsedRatio(), 0.5)
	h.exec(t, "UPDATE node_usage SET heard_at = heard_at - interval '11 seconds'")
	if n := h.listedNode(t); n.CpuUsedRatio != nil || n.MemoryUsedRatio != nil {
		t.Errorf("usage of three minutes ago is told: %v", n)
	}
}

func TestANewNodeInheritsNoUsage(t *testing.T) {
	h := newHouse(t)
	must(t, h.PutReport(t.Context(), h.cluster, Fleet{Complete: true, Nodes: []*fleetv1.NodeMetric{node("n1", "i-1")}}))
	must(t, h.AddUsage(t.Context(), h.cluster, time.Now(), reported(500)))
	must(t, h.PutReport(t.Context(), h.cluster, Fleet{Complete: true, Nodes: []*fleetv1.NodeMetric{node("n1", "i-2")}}))
	if n := h.listedNode(t); n.CpuUsedRatio != nil {
		t.Error("a new instance is said to use what the old one of its name used")
	}
}

func TestANodeWithoutCapacityHasNoRatio(t *testing.T) {
	h := newHouse(t)
	none := node("n1", "i-1")
	none.CpuAllocatable = 0
	must(t, h.PutReport(t.Context(), h.cluster, Fleet{Complete: true, Nodes: []*fleetv1.NodeMetric{none}}))
	must(t, h.AddUsage(t.Context(), h.cluster, time.Now(), reported(500)))
	if n := h.listedNode(t); n.CpuUsedRatio != nil || n.GetMemoryUsedRatio() != 0.25 {
		t.Errorf("%v", n)
	}
}

func TestTooManyContainersAreRefused(t *testing.T) {
	h := newHouse(t)
	must(t, h.AddUsage(t.Context(), h.cluster, time.Now(), large(200, 100)))
	err := h.AddUsage(t.Context(), h.cluster, time.Now(), large(201, 100))
	wantReason(t, err, faultv1.Reason_REASON_INVALID_REQUEST)
	must(t, h.AddUsage(t.Context(), h.cluster, time.Now(), nil)) // an agent that says nothing of it
	equal(t, "reports", h.count(t, "SELECT count(*) FROM usage_samples"), 1)
}

// large is usage of many containers.
func large(workloads, containers int) *fleetv1.ClusterUsage {
	u := &fleetv1.ClusterUsage{}
	for i := range workloads {
		w := &fleetv1.WorkloadUsage{Namespace: fmt.Sprintf("team-%d", i%20), Kind: "Deployment", Name: fmt.Sprintf("service-number-%d", i), Replicas: 3}
		for c := range containers {
			w.Containers = append(w.Containers, &fleetv1.ContainerSample{
				Container: fmt.Sprintf("container-%d", c), CpuMillicores: int64(7*i+c) % 4000, MemoryBytes: int64(1+i%900) << 20,
				Requests: &fleetv1.Resources{CpuMillicores: 500, MemoryBytes: gib}, Limits: &fleetv1.Resources{MemoryBytes: gib},
			})
		}
		u.Workloads = append(u.Workloads, w)
	}
	return u
}

// over makes all samples those of an hour that is over.
func (h *house) over(t *testing.T) {
	t.Helper()
	h.exec(t, "UPDATE usage_samples SET hour = hour - interval '1 hour' WHERE content IS NOT NULL")
}

func (h *house) counted(t *testing.T, hour UsageHour, count func(map[UsageKey]*mlv1.ContainerUsage, *fleetv1.ClusterUsage)) {
	t.Helper()
	mine, err := h.CountUsage(t.Context(), hour, count)
	must(t, err)
	equal(t, "counted", mine, true)
}

func tally(seen map[uuid.UUID]int, of uuid.UUID) func(map[UsageKey]*mlv1.ContainerUsage, *fleetv1.ClusterUsage) {
	return func(day map[UsageKey]*mlv1.ContainerUsage, sample *fleetv1.ClusterUsage) {
		seen[of]++
		day[UsageKey{"shop", "Deployment", "web", "app"}] = &mlv1.ContainerUsage{Replicas: sample.GetWorkloads()[0].GetReplicas(), Restarts: int32(seen[of])}
	}
}

func TestASampleIsCountedOnceInItsLife(t *testing.T) {
	h := newHouse(t)
	at := time.Now()
	for range 3 { // said again and again
		for i := range 45 { // more than are in memory at once
			must(t, h.AddUsage(t.Context(), h.cluster, at.Add(time.Duration(i)*time.Second), reported(100)))
		}
	}
	due, err := h.UsageHoursDue(t.Context(), 10)
	must(t, err)
	equal(t, "hours due before the hour is over", len(due), 0)
	h.over(t)
	due, err = h.UsageHoursDue(t.Context(), 10)
	must(t, err)
	equal(t, "hours due", len(due), 1)
	seen := map[uuid.UUID]int{}
	h.counted(t, due[0], tally(seen, h.cluster))
	h.counted(t, due[0], tally(seen, h.cluster)) // another replica, late
	equal(t, "samples counted", seen[h.cluster], 45)
	must(t, h.AddUsage(t.Context(), h.cluster, at, reported(100))) // and again, when it is counted
	h.over(t)
	due, err = h.UsageHoursDue(t.Context(), 10)
	must(t, err)
	equal(t, "hours due after that", len(due), 0)
	equal(t, "days", h.count(t, "SELECT count(*) FROM container_usage"), 1)
}

func TestWhatIsCountedInVainIsCountedAgain(t *testing.T) {
	h := newHouse(t)
	must(t, h.AddUsage(t.Context(), h.cluster, time.Now(), reported(100)))
	h.over(t)
	due, err := h.UsageHoursDue(t.Context(), 10)
	must(t, err)
	// The process dies within the transaction.
	func() {
		defer func() { _ = recover() }()
		_, _ = h.CountUsage(t.Context(), due[0], func(map[UsageKey]*mlv1.ContainerUsage, *fleetv1.ClusterUsage) { panic("lost") })
	}()
	equal(t, "days", h.count(t, "SELECT count(*) FROM container_usage"), 0)
	seen := map[uuid.UUID]int{}
	h.counted(t, due[0], tally(seen, h.cluster))
	equal(t, "samples counted", seen[h.cluster], 1)
}

func TestUsageIsForgottenByAge(t *testing.T) {
	h := newHouse(t)
	must(t, h.AddUsage(t.Context(), h.cluster, time.Now(), reported(100)))
	must(t, h.AddUsage(t.Context(), h.cluster, time.Now(), reported(200)))
	h.exec(t, "UPDATE usage_samples SET content = NULL, heard_at = heard_at - interval '4 hours' WHERE at = (SELECT min(at) FROM usage_samples)")
	h.exec(t, `INSERT INTO container_usage (cluster_id, day, namespace, kind, name, container, content)
		SELECT $1::uuid, current_date - 101, 'n', 'Deployment', 'w' || i, 'c', ''::bytea FROM generate_series(1, 2500) i
		UNION ALL SELECT $1::uuid, current_date - 98, 'n', 'Deployment', 'w', 'c', ''::bytea`, h.cluster)
	must(t, h.PruneUsage(t.Context(), 100*24*time.Hour))
	equal(t, "reports", h.count(t, "SELECT count(*) FROM usage_samples"), 1)
	equal(t, "nodes", h.count(t, "SELECT count(*) FROM node_usage"), 1)
	equal(t, "days", h.count(t, "SELECT count(*) FROM container_usage"), 1)
	h.exec(t, "UPDATE node_usage SET heard_at = heard_at - interval '25 hours'")
	must(t, h.PruneUsage(t.Context(), 100*24*time.Hour))
	equal(t, "nodes", h.count(t, "SELECT count(*) FROM node_usage"), 0)
	equal(t, "reports that are not counted", h.count(t, "SELECT count(*) FROM usage_samples"), 1)
}

// TestLargeReportsAreCheap says what a report of 20,000 containers and 5,000 nodes costs, which no agent
// sends at once. The bound is far above what is measured: it is there to fail when it grows tenfold.
func TestLargeReportsAreCheap(t *testing.T) {
	h := newHouse(t)
	u := large(5000, 4)
	for i := range 5000 {
		u.Nodes = append(u.Nodes, &fleetv1.NodeUsage{NodeName: fmt.Sprintf("ip-10-0-%d-%d.ec2.internal", i/250, i%250), CpuMillicores: int64(i), MemoryBytes: int64(i) << 20})
	}
	at := time.Now()
	must(t, h.AddUsage(t.Context(), h.cluster, at, u)) // the first one makes the rows
	began := time.Now()
	must(t, h.AddUsage(t.Context(), h.cluster, at.Add(time.Second), u))
	took := time.Since(began)
	size := h.count(t, "SELECT pg_column_size(content) FROM usage_samples LIMIT 1")
	t.Logf("a report of 20,000 containers and 5,000 nodes: %s, %d KB stored", took, size>>10)
	h.over(t)
	due, err := h.UsageHoursDue(t.Context(), 10)
	must(t, err)
	began = time.Now()
	h.counted(t, due[0], func(day map[UsageKey]*mlv1.ContainerUsage, u *fleetv1.ClusterUsage) {
		for _, w := range u.GetWorkloads() {
			for _, c := range w.GetContainers() {
				day[UsageKey{w.GetNamespace(), w.GetKind(), w.GetName(), c.GetContainer()}] = &mlv1.ContainerUsage{Requests: c.GetRequests()}
			}
		}
	})
	t.Logf("writing a day of 20,000 containers: %s", time.Since(began))
	if took > 5*time.Second {
		t.Errorf("a report takes %s", took)
	}
}
