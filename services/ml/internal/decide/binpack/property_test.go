package binpack

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/feasible"
	"github.com/cloudoptim/cloudoptim/pkg/fragmented"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/question"
)

// drawState with rules, budgets and things that must not be touched.
func drawState(t *rapid.T) *fleetv1.ClusterState {
	o := fragmented.Options{
		Seed: rapid.Uint64Range(0, 1<<20).Draw(t, "seed"), Pods: rapid.IntRange(5, 120).Draw(t, "pods"), Removed: 0.45,
		Shapes: []fragmented.Shape{fragmented.M5}, Ruled: rapid.IntRange(0, 3).Draw(t, "ruled") > 0,
	}
	if rapid.Bool().Draw(t, "mixed") {
		o.Shapes = []fragmented.Shape{fragmented.M5, fragmented.R5, fragmented.C5, fragmented.M4, fragmented.C4}
	}
	state := fragmented.Cluster(o)
	for _, n := range state.Nodes {
		switch rapid.IntRange(0, 20).Draw(t, "node kind") {
		case 0:
			n.NodeType, n.Labels["eks.amazonaws.com/capacityType"], n.Labels["karpenter.sh/capacity-type"] = "spot", "SPOT", "spot"
		case 1:
			n.Unschedulable = true
		case 2:
			n.DoNotDisrupt = true
		case 3:
			n.Taints = []*fleetv1.Taint{{Key: "dedicated", Effect: "NoSchedule"}}
		}
		daemon := &fleetv1.Pod{
			Uid: "d-" + n.NodeName, Namespace: "kube-system", Name: "d-" + n.NodeName, NodeName: n.NodeName, Phase: "Running", Ready: true,
			Owner: &fleetv1.Owner{Kind: "DaemonSet", Name: "d"}, Requests: &fleetv1.Resources{CpuMillicores: 5, MemoryBytes: 1 << 20},
			Tolerations: []*fleetv1.Toleration{{Operator: "Exists"}},
		}
		state.Pods, n.PodCount = append(state.Pods, daemon), n.PodCount+1
	}
	for _, p := range state.Pods {
		switch rapid.IntRange(0, 40).Draw(t, "pod kind") {
		case 0:
			p.DoNotDisrupt = "karpenter.sh/do-not-disrupt"
		case 1:
			p.Priority = 1 << 26
		case 2:
			p.Namespace = "db"
		case 3:
			state.PodDisruptionBudgets = append(state.PodDisruptionBudgets, &fleetv1.PodDisruptionBudget{
				Uid: p.Uid, Namespace: p.Namespace, Name: p.Name, Selector: &fleetv1.LabelSelector{MatchLabels: p.Labels},
				ExpectedPods: 3, DesiredHealthy: int32(rapid.IntRange(1, 3).Draw(t, "desired")), CurrentHealthy: 3,
			})
		}
	}
	return state
}

func drawConstraints(t *rapid.T) map[string]any {
	c := map[string]any{}
	maybe := func(name string, values ...any) {
		if i := rapid.IntRange(0, 3*len(values)).Draw(t, name); i < len(values) {
			c[name] = values[i]
		}
	}
	maybe("max_evictions", 0.0, 3.0, 20.0)
	maybe("max_evictions_per_pod", 0.1, 0.28, 0.7)
	maybe("min_savings_ratio", 0.0, 0.2)
	maybe("min_score", 0.0, 1.0)
	maybe("max_nodes_disrupted", "2", "30%")
	maybe("allow_purchases", false)
	maybe("zones", []any{"us-east-1a"}, []any{"us-east-1b", "us-east-1c"})
	maybe("excluded_instance_types", []any{"c6a.*", "m6a.*"})
	maybe("capacity_types", []any{"spot"}, []any{"on-demand"}, []any{"spot", "on-demand"})
	maybe("max_nodes", 1.0, 3.0)
	maybe("max_node_share", 0.05, 1.0)
	maybe("protected_namespaces", []any{"d*"})
	maybe("placement", "planned", "scheduler")
	if c["allow_purchases"] == false {
		delete(c, "capacity_types")
	}
	return c
}

func TestEveryPlanIsFeasibleAndKeepsItsLimits(t *testing.T) {
	prices := testMarket(t)
	plans := 0
	rapid.Check(t, func(rt *rapid.T) {
		state, constraints := drawState(rt), drawConstraints(rt)
		req := request(state, constraints)
		given := proto.CloneOf(req)
		a, err := Decide(req, prices, testNow)
		if !proto.Equal(given, req) {
			rt.Fatal("the request was changed")
		}
		if err != nil {
			if fault.ReasonOf(err) != faultv1.Reason_REASON_INFEASIBLE {
				rt.Fatal(err)
			}
			return
		}
		if len(a.ExecutionPlan) > 0 {
			plans++
		}
		limits := &mlv1.BinPackConstraints{}
		if err := question.Read("constraints", req.Constraints, limits); err != nil {
			rt.Fatal(err)
		}
		for _, v := range append(feasible.Check(state, a), feasible.CheckLimits(state, a, limits)...) {
			rt.Errorf("%v breaks %v", constraints, v)
		}
		requirePurchases(rt, a, limits)
		requireAccounts(rt, state, a)
	})
	if plans < 10 {
		t.Errorf("only %d plans change anything", plans)
	}
}

func requirePurchases(t *rapid.T, a *mlv1.DecisionResponse, l *mlv1.BinPackConstraints) {
	for _, r := range a.Recommendations {
		if len(l.Zones) > 0 && !slices.Contains(l.Zones, r.AvailabilityZone) || len(l.CapacityTypes) > 0 && !slices.Contains(l.CapacityTypes, r.NodeType) {
			t.Errorf("%v is outside of %v", r, l)
		}
		for _, pattern := range l.ExcludedInstanceTypes {
			if ok, _ := path.Match(pattern, r.InstanceType); ok {
				t.Errorf("%v is excluded by %s", r, pattern)
			}
		}
	}
}

// requireAccounts checks that the money and the pods add up.
func requireAccounts(t *rapid.T, state *fleetv1.ClusterState, a *mlv1.DecisionResponse) {
	prices, err := embedded()
	if err != nil {
		t.Fatal(err)
	}
	before, after, moved, away := 0.0, 0.0, 0, map[string]bool{}
	for _, v := range a.NodeVerdicts {
		away[v.NodeName] = v.Verdict == "replace"
		moved += int(v.PodsMoved)
		if v.Verdict == "keep" && v.Reason == "" {
			t.Errorf("no reason why %s stays", v.NodeName)
		}
	}
	if len(away) != len(state.Nodes) {
		t.Errorf("%d verdicts on %d nodes", len(away), len(state.Nodes))
	}
	for _, n := range state.Nodes {
		price := prices.Snapshot().OnDemand("us-east-1", n.InstanceType)
		if n.NodeType == "spot" {
			price = prices.Snapshot().Spot("us-east-1", n.InstanceType, n.AvailabilityZone)
		}
		before += price
		if !away[n.NodeName] {
			after += price
		}
	}
	for _, r := range a.Recommendations {
		after += r.HourlyPrice * float64(r.NodeCount)
	}
	c := a.Consolidation
	if math.Abs(c.CostBefore-before) > 1e-6 || math.Abs(c.CostAfter-after) > 1e-6 {
		t.Errorf("cost %v → %v, want %v → %v", c.CostBefore, c.CostAfter, before, after)
	}
	if moved != len(a.PodMoves) || moved != int(c.Evictions) {
		t.Errorf("%d pods move by the verdicts, %d by the moves, %d by the sum", moved, len(a.PodMoves), c.Evictions)
	}
	if c.LowerBoundWithinEvictions > c.CostAfter+1e-6 && len(a.ExecutionPlan) > 0 {
		t.Errorf("costs %v, less than the least that is possible, %v", c.CostAfter, c.LowerBoundWithinEvictions)
	}
}

func TestTheOrderOfTheStateDoesNotMatter(t *testing.T) {
	prices := testMarket(t)
	rapid.Check(t, func(rt *rapid.T) {
		state, constraints := drawState(rt), drawConstraints(rt)
		first, firstErr := Decide(request(state, constraints), prices, testNow)
		mixed := proto.CloneOf(state)
		mixed.Nodes = rapid.Permutation(mixed.Nodes).Draw(rt, "nodes")
		mixed.Pods = rapid.Permutation(mixed.Pods).Draw(rt, "pods")
		second, secondErr := Decide(request(mixed, constraints), prices, testNow)
		if (firstErr == nil) != (secondErr == nil) || !proto.Equal(first, second) {
			rt.Fatalf("first %v %v\nthen %v %v", first.GetRecommendations(), firstErr, second.GetRecommendations(), secondErr)
		}
	})
}

// fixed clusters and constraints under which decisions are carried out.
func fixed() map[string]*mlv1.DecisionRequest {
	all := map[string]*mlv1.DecisionRequest{}
	for seed := range uint64(5) {
		state := fragmented.Cluster(fragmented.Options{
			Seed: seed, Pods: 50 + 30*int(seed), Removed: 0.45, Shapes: []fragmented.Shape{fragmented.M5, fragmented.R5}, Ruled: seed%2 == 1,
		})
		for name, constraints := range map[string]map[string]any{
			"defaults":    nil,
			"planned":     {"placement": "planned"},
			"any score":   {"min_score": 0.0},
			"only remove": {"allow_purchases": false},
			"few moves":   {"max_evictions_per_pod": 0.28, "placement": "planned"},
		} {
			all[fmt.Sprintf("%s on cluster %d", name, seed)] = request(state, constraints)
		}
	}
	return all
}

func TestAskedAboutItsOwnResultItProposesNothing(t *testing.T) {
	changed := 0
	for name, req := range fixed() {
		a, err := Decide(req, testMarket(t), testNow)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(a.ExecutionPlan) == 0 || len(a.Consolidation.LimitedBy) > 0 && strings.HasPrefix(name, "few moves") {
			continue // the limit is on each plan: where it stopped one, the next goes on
		}
		changed++
		for _, later := range restsFor(name) {
			again, err := Decide(request(feasible.After(req.CurrentState, a, testNow), req.Constraints.AsMap()), testMarket(t), testNow.Add(later))
			if err != nil {
				t.Fatalf("%s, again: %v", name, err)
			}
			if len(again.ExecutionPlan) > 0 {
				t.Errorf("%s, %v later: takes away %v, buys %s, saving %v of %v", name, later, gone(again), bought(again), again.EstimatedSavings, a.EstimatedSavings)
			}
		}
	}
	if changed < 15 {
		t.Errorf("only %d decisions change anything", changed)
	}
}

// restsFor is when to ask again. Plans that leave placement to the scheduler carry
// insurance against its freedom; once the pods have landed and the nodes are no longer
// fresh, what was not needed of it may go.
func restsFor(name string) []time.Duration {
	if strings.HasPrefix(name, "planned") {
		return []time.Duration{20 * time.Minute, 24 * time.Hour}
	}
	return []time.Duration{20 * time.Minute}
}

func TestRequestsThatWaverALittleMoveNothing(t *testing.T) {
	asked := 0
	for name, req := range fixed() {
		a, err := Decide(req, testMarket(t), testNow)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(a.Consolidation.LimitedBy) > 0 {
			continue // more could be saved all the time
		}
		after := feasible.After(req.CurrentState, a, testNow)
		for seed := range uint64(2) {
			asked++
			noisy := proto.CloneOf(after)
			waver(noisy, seed)
			again, err := Decide(request(noisy, req.Constraints.AsMap()), testMarket(t), testNow.Add(restsFor(name)[len(restsFor(name))-1]))
			if err != nil {
				t.Fatalf("%s, wavering: %v", name, err)
			}
			if len(again.ExecutionPlan) > 0 {
				t.Errorf("%s, wavering %d: takes away %v, buys %s", name, seed, gone(again), bought(again))
			}
		}
	}
	if asked < 20 {
		t.Errorf("only asked %d times", asked)
	}
}

// waver all requests by 5 %.
func waver(state *fleetv1.ClusterState, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 5))
	for _, p := range state.Pods {
		p.Requests.CpuMillicores = int64(float64(p.Requests.CpuMillicores) * (0.95 + 0.1*rng.Float64()))
		p.Requests.MemoryBytes = int64(float64(p.Requests.MemoryBytes) * (0.95 + 0.1*rng.Float64()))
	}
}
