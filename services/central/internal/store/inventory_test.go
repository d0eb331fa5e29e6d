package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// page puts one page of a snapshot and tells whether the snapshot is in force.
func (h *house) page(t *testing.T, epoch int64, page *agentv1.InventorySnapshot) bool {
	t.Helper()
	inForce, err := h.PutSnapshot(t.Context(), h.cluster, epoch, page)
	must(t, err)
	return inForce
}

// inventory puts a first snapshot with sequence 1 in force.
func (h *house) inventory(t *testing.T, nodes ...*fleetv1.NodeMetric) int64 {
	t.Helper()
	epoch := h.session(t)
	h.page(t, epoch, &agentv1.InventorySnapshot{InventorySequence: 1, Last: true, Nodes: nodes})
	return epoch
}

func TestASnapshotComesInForceWithItsLastPageAndWhatItDoesNotNameIsGone(t *testing.T) {
	h := newHouse(t)
	epoch := h.session(t)
	h.page(t, epoch, &agentv1.InventorySnapshot{
		InventorySequence: 1, Last: true, Nodes: []*fleetv1.NodeMetric{node("old", "i-0")},
		Pods: []*fleetv1.Pod{pod("p-old", "old")}, PodDisruptionBudgets: []*fleetv1.PodDisruptionBudget{budget("b-old")},
	})
	equal(t, "first", names(h.state(t)), "old p-old b-old ")

	pages := []*agentv1.InventorySnapshot{
		{InventorySequence: 7, Nodes: []*fleetv1.NodeMetric{node("a", "i-1"), node("b", "i-2")}},
		{InventorySequence: 7, Page: 1, Pods: []*fleetv1.Pod{pod("p1", "a"), pod("p2", "")}},
		{InventorySequence: 7, Page: 2, Last: true, PodDisruptionBudgets: []*fleetv1.PodDisruptionBudget{budget("b1")}},
	}
	for i, page := range pages {
		if i < 2 {
			equal(t, "in force", h.page(t, epoch, page), false)
			equal(t, "meanwhile", names(h.state(t)), "old p-old b-old ")
			continue
		}
		equal(t, "in force", h.page(t, epoch, page), true)
	}
	state := h.state(t)
	equal(t, "after", names(state), "a b p1 p2 b1 ")
	equal(t, "pages left", h.count(t, "SELECT count(*) FROM inventory_pages"), 0)
	equal(t, "pending", state.GetPendingPods(), 1)
	equal(t, "running", state.GetRunningPods(), 1)
	equal(t, "cpu", state.GetTotalCpuCores(), 4)
	equal(t, "allocated", state.GetNodes()[0].GetCpuAllocated(), 0.5)
	equal(t, "memory", state.GetNodes()[0].GetMemoryAllocatedGb(), 1)
	equal(t, "health", state.GetHealthStatus(), "YELLOW")
	equal(t, "counts", h.count(t, "SELECT node_count * 10 + pod_count FROM clusters WHERE cluster_id = $1", h.cluster), 22)
	opened, err := h.OpenSession(t.Context(), h.cluster, "other", "")
	must(t, err)
	equal(t, "sequence", opened.InventorySequence, 7)
	equal(t, "version", h.count(t, "SELECT count(*) FROM clusters WHERE k8s_version = 'v1.31'"), 1)
}

func TestAnEmptySnapshotEmptiesTheCluster(t *testing.T) {
	h := newHouse(t)
	epoch := h.inventory(t, node("a", "i-1"))
	h.page(t, epoch, &agentv1.InventorySnapshot{InventorySequence: 2, Last: true})
	equal(t, "left", names(h.state(t)), "")
}

func TestAMissingPageAsksForEverythingAgain(t *testing.T) {
	h := newHouse(t)
	epoch := h.inventory(t, node("old", "i-0"))
	h.page(t, epoch, &agentv1.InventorySnapshot{InventorySequence: 2, Nodes: []*fleetv1.NodeMetric{node("a", "i-1")}})
	_, err := h.PutSnapshot(t.Context(), h.cluster, epoch, &agentv1.InventorySnapshot{
		InventorySequence: 2, Page: 2, Last: true, Nodes: []*fleetv1.NodeMetric{node("c", "i-3")},
	})
	if !errors.Is(err, ErrResync) {
		t.Fatalf("got %v, want a resync", err)
	}
	equal(t, "unchanged", names(h.state(t)), "old ")
	// The next try starts over, and what the first one left behind is not in it.
	h.page(t, epoch, &agentv1.InventorySnapshot{InventorySequence: 3, Nodes: []*fleetv1.NodeMetric{node("x", "i-9")}})
	equal(t, "in force", h.page(t, epoch, &agentv1.InventorySnapshot{InventorySequence: 3, Page: 1, Last: true}), true)
	equal(t, "after", names(h.state(t)), "x ")
}

func TestDeltasFollowOneAnother(t *testing.T) {
	h := newHouse(t)
	epoch := h.inventory(t, node("a", "i-1"), node("b", "i-2"))
	delta := &agentv1.InventoryDelta{
		InventorySequence: 2, Nodes: []*fleetv1.NodeMetric{node("c", "i-3")}, DeletedNodes: []string{"a"},
		Pods: []*fleetv1.Pod{pod("p", "b"), pod("p", "c")}, PodDisruptionBudgets: []*fleetv1.PodDisruptionBudget{budget("d")},
	}
	must(t, h.PutDelta(t.Context(), h.cluster, epoch, delta))
	equal(t, "after", names(h.state(t)), "b c p d ")
	equal(t, "the last word on a pod", h.state(t).GetPods()[0].GetNodeName(), "c")

	must(t, h.PutDelta(t.Context(), h.cluster, epoch, &agentv1.InventoryDelta{
		InventorySequence: 3, DeletedPods: []string{"p", "never-seen"}, DeletedPodDisruptionBudgets: []string{"d"},
	}))
	must(t, h.PutDelta(t.Context(), h.cluster, epoch, delta)) // sent again: in force already, and harmless
	equal(t, "after the repeat", names(h.state(t)), "b c ")

	for _, sequence := range []int64{5, 100} {
		err := h.PutDelta(t.Context(), h.cluster, epoch, &agentv1.InventoryDelta{InventorySequence: sequence, DeletedNodes: []string{"b"}})
		if !errors.Is(err, ErrResync) {
			t.Fatalf("got %v, want a resync", err)
		}
	}
	equal(t, "after the gap", names(h.state(t)), "b c ")
}

func TestADeltaOnNothingAsksForEverything(t *testing.T) {
	h := newHouse(t)
	epoch := h.session(t)
	err := h.PutDelta(t.Context(), h.cluster, epoch, &agentv1.InventoryDelta{InventorySequence: 1})
	if !errors.Is(err, ErrResync) {
		t.Fatalf("got %v, want a resync", err)
	}
	// An agent that polls has no sequence: the stream that comes later starts anew.
	must(t, h.PutReport(t.Context(), h.cluster, Fleet{Nodes: []*fleetv1.NodeMetric{node("a", "i-1")}, Complete: true}))
	err = h.PutDelta(t.Context(), h.cluster, epoch, &agentv1.InventoryDelta{InventorySequence: 1})
	if !errors.Is(err, ErrResync) {
		t.Fatalf("got %v, want a resync", err)
	}
	equal(t, "after", names(h.state(t)), "a ")
	must(t, h.PutReport(t.Context(), h.cluster, Fleet{Nodes: []*fleetv1.NodeMetric{node("b", "i-2")}}))
	equal(t, "after a report that is not the whole cluster", names(h.state(t)), "a b ")
}

func TestAReportThatIsNotTheWholeClusterYieldsToAStreamsInventory(t *testing.T) {
	h := newHouse(t)
	epoch := h.inventory(t, node("a", "i-1"))
	must(t, h.PutReport(t.Context(), h.cluster, Fleet{Nodes: []*fleetv1.NodeMetric{node("b", "i-2")}}))
	equal(t, "after the report", names(h.state(t)), "a ")
	must(t, h.PutDelta(t.Context(), h.cluster, epoch, deltaWithout(2, "a"))) // the stream goes on
	equal(t, "after the delta", names(h.state(t)), "")
}

func TestASupersededSessionIsNotHeard(t *testing.T) {
	h := newHouse(t)
	old := h.inventory(t, node("a", "i-1"))
	newest := h.session(t)
	wantReason(t, h.PutDelta(t.Context(), h.cluster, old, &agentv1.InventoryDelta{InventorySequence: 2, DeletedNodes: []string{"a"}}),
		faultv1.Reason_REASON_SUPERSEDED)
	_, err := h.PutSnapshot(t.Context(), h.cluster, old, &agentv1.InventorySnapshot{InventorySequence: 2, Last: true})
	wantReason(t, err, faultv1.Reason_REASON_SUPERSEDED)
	mine, err := h.TouchSession(t.Context(), h.cluster, old)
	must(t, err)
	equal(t, "touching the old session", mine, false)
	must(t, h.CloseSession(t.Context(), h.cluster, old)) // must not close the newer one
	equal(t, "open sessions", h.count(t, "SELECT count(*) FROM clusters WHERE session_id IS NOT NULL"), 1)
	mine, err = h.TouchSession(t.Context(), h.cluster, newest)
	must(t, err)
	equal(t, "touching the newest", mine, true)
	equal(t, "unchanged", names(h.state(t)), "a ")
}

func TestANameThatAnotherInstanceTakesOverHasNoPriceYet(t *testing.T) {
	h := newHouse(t)
	epoch := h.inventory(t, node("a", "i-1"), node("b", "i-2"))
	prices := []NodePrice{{h.cluster, "a", 0.05, 0.1}, {h.cluster, "b", 0.05, 0.1}}
	must(t, h.SetNodePrices(t.Context(), prices))
	other := node("a", "i-9")
	must(t, h.PutDelta(t.Context(), h.cluster, epoch, &agentv1.InventoryDelta{
		InventorySequence: 2, Nodes: []*fleetv1.NodeMetric{other, node("b", "i-2")},
	}))
	state := h.state(t)
	equal(t, "another instance", state.GetNodes()[0].GetHourlyPrice(), 0)
	equal(t, "of the same type", state.GetNodes()[0].GetOnDemandHourlyPrice(), 0.1)
	equal(t, "the same instance", state.GetNodes()[1].GetHourlyPrice(), 0.05)
	unpriced, err := h.UnpricedNodes(t.Context(), false)
	must(t, err)
	if len(unpriced) != 1 || unpriced[0].Node != "a" {
		t.Fatalf("unpriced: %v", unpriced)
	}
	every, err := h.UnpricedNodes(t.Context(), true)
	must(t, err)
	equal(t, "all", len(every), 2)
}

func TestAStateIsOfOneMoment(t *testing.T) {
	h := newHouse(t)
	// The cluster has either node a with its pods or node b with its pods, never a mix.
	fleets := map[string]Fleet{}
	for _, name := range []string{"a", "b"} {
		fleet := Fleet{Nodes: []*fleetv1.NodeMetric{node(name, "i-"+name)}, Complete: true}
		for i := range 20 {
			fleet.Pods = append(fleet.Pods, pod(fmt.Sprint(name, i), name))
		}
		fleets[name] = fleet
	}
	must(t, h.PutReport(t.Context(), h.cluster, fleets["a"]))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			if err := h.PutReport(ctx, h.cluster, fleets[[]string{"a", "b"}[i%2]]); err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	})
	for range 150 {
		state := h.state(t)
		if len(state.GetNodes()) != 1 || state.GetPods()[0].GetNodeName() != state.GetNodes()[0].GetNodeName() {
			t.Errorf("a mix of two moments: %s", names(state))
			break
		}
	}
	cancel()
	writer.Wait()
}

func TestARepeatedEventReplacesUnlessItIsOlder(t *testing.T) {
	h := newHouse(t)
	newer := &fleetv1.Event{EventId: "e1", Reason: "Killing", Count: 2, LastSeen: stampOf(100)}
	older := &fleetv1.Event{EventId: "e1", Reason: "Killing", Count: 1, LastSeen: stampOf(50)}
	for _, c := range []struct {
		events []*fleetv1.Event
		want   int
	}{{nil, 0}, {[]*fleetv1.Event{older, newer}, 1}, {[]*fleetv1.Event{older}, 0}, {[]*fleetv1.Event{newer}, 1}} {
		n, err := h.AddEvents(t.Context(), h.cluster, c.events)
		must(t, err)
		equal(t, "written", n, c.want)
	}
	equal(t, "kept", h.count(t, "SELECT (detail->>'count')::int FROM cluster_events"), 2)
	must(t, h.PruneEvents(t.Context()))
	equal(t, "after pruning what is a week old", h.count(t, "SELECT count(*) FROM cluster_events"), 0)
}

func deltaWithout(sequence int64, nodes ...string) *agentv1.InventoryDelta {
	return &agentv1.InventoryDelta{InventorySequence: sequence, DeletedNodes: nodes}
}
