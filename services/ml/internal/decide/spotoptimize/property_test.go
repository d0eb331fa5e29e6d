package spotoptimize

import (
	"fmt"
	"math"
	"path"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

// drawConstraints for spot_optimize, each present or not.
func drawConstraints(t *rapid.T) map[string]any {
	c := map[string]any{}
	maybe := func(name string, values ...any) {
		if i := rapid.IntRange(0, 3*len(values)).Draw(t, name); i < len(values) {
			c[name] = values[i]
		}
	}
	maybe("max_spot_percentage", 0.0, 0.3, 0.5, 0.8, 1.0)
	maybe("zones", []any{"us-east-1a"}, []any{"us-east-1a", "us-east-1b"}, []any{"us-east-1b", "us-east-1c"})
	maybe("architectures", []any{"amd64"}, []any{"amd64", "arm64"})
	maybe("max_pool_share", 0.1, 0.5, 1.0)
	maybe("max_price_ratio", 0.25, 0.4, 0.9)
	maybe("on_demand_floor_cpu", 2.0, 8.0, 20.0)
	maybe("max_risk_score", 0.1, 0.4, 1.0)
	maybe("instance_types", []any{"m5.*", "m6a.*"}, []any{"c5.xlarge", "c5.2xlarge", "r5.*"})
	maybe("excluded_instance_types", []any{"c6a.*", "c7i-flex.*"})
	maybe("max_nodes", 1.0, 2.0, 5.0)
	maybe("min_savings_ratio", 0.0, 0.2)
	drawFiner(maybe)
	return c
}

func drawState(tb testing.TB, t *rapid.T, prices *market.Snapshot) *fleetv1.ClusterState {
	tb.Helper()
	nodes := rapid.IntRange(1, 9).Draw(t, "nodes")
	state := generate(tb, prices, sizes{
		seed: rapid.Uint64Range(0, 1<<20).Draw(t, "seed"), nodes: nodes,
		pods: rapid.IntRange(1, 7*nodes).Draw(t, "pods"), plain: rapid.Bool().Draw(t, "plain"),
	})
	for _, n := range state.Nodes {
		switch rapid.IntRange(0, 20).Draw(t, "node kind") {
		case 0:
			n.NodeType, n.Labels["eks.amazonaws.com/capacityType"], n.Labels["karpenter.sh/capacity-type"] = "spot", "SPOT", "spot"
		case 1:
			n.Unschedulable = true
		case 2:
			n.DoNotDisrupt = true
		}
	}
	return state
}

func TestEveryDecisionHoldsWhatItPromises(t *testing.T) {
	t.Parallel()
	prices := testMarket(t)
	rapid.Check(t, func(rt *rapid.T) {
		state, constraints := drawState(t, rt, prices), drawConstraints(rt)
		req := request(state, constraints)
		given := proto.CloneOf(req)
		answer, err := Decide(req, prices, testNow)
		if !proto.Equal(given, req) {
			rt.Fatal("the request was changed")
		}
		if err != nil {
			if fault.ReasonOf(err) != faultv1.Reason_REASON_INFEASIBLE {
				rt.Fatal(err)
			}
			return
		}
		requireLimits(rt, prices, req, answer)
		requireAccounts(rt, prices, state, answer)
		requireRunnerUp(rt, prices, req, answer)
		requireLanding(rt, state, answer)
	})
}

// carriedOut are clusters and constraints under which decisions are carried out.
// They are fixed: where pods land is up to the scheduler, and no plan survives
// every one of its moods.
func carriedOut(t *testing.T, prices *market.Snapshot) map[string]*mlv1.DecisionRequest {
	t.Helper()
	requests := map[string]*mlv1.DecisionRequest{}
	for seed := range uint64(8) {
		state := generate(t, prices, sizes{seed: seed, nodes: 3 + int(seed), pods: 6 * (3 + int(seed)), plain: seed%3 == 0})
		for name, constraints := range map[string]map[string]any{
			"no constraints": nil,
			"spot share":     {"max_spot_percentage": 0.6},
			"floor":          {"on_demand_floor_cpu": 10.0},
			"one family":     {"instance_types": []any{"m5.*", "m5a.*"}},
			"any saving":     {"min_savings_ratio": 0.0},
		} {
			requests[fmt.Sprintf("%s on cluster %d", name, seed)] = request(state, constraints)
		}
	}
	return requests
}

func TestPodsFindAPlaceWhenADecisionIsCarriedOut(t *testing.T) {
	t.Parallel()
	prices := testMarket(t)
	changed, replays, stuckReplays := 0, 0, 0
	for name, req := range carriedOut(t, prices) {
		answer, err := Decide(req, prices, testNow)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(answer.ExecutionPlan) > 0 {
			changed++
		}
		for seed := range uint64(3) {
			replays++
			if _, stuck := replay(t, prices, req.CurrentState, answer, seed); len(stuck) > 0 {
				stuckReplays++
				t.Logf("%s, seed %d: %d pods find no place", name, seed, len(stuck))
			}
		}
	}
	if changed < 25 {
		t.Errorf("only %d decisions change anything", changed)
	}
	if stuckReplays*50 > replays {
		t.Errorf("in %d of %d replays pods find no place, want at most one in fifty", stuckReplays, replays)
	}
}

func TestAskedAboutItsOwnResultItProposesNothing(t *testing.T) {
	t.Parallel()
	prices := testMarket(t)
	for name, req := range carriedOut(t, prices) {
		answer, err := Decide(req, prices, testNow)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		after, _ := replay(t, prices, req.CurrentState, answer, 0)
		again, err := Decide(&mlv1.DecisionRequest{RequestId: "again", CurrentState: after, Constraints: req.Constraints}, prices, testNow.Add(20*time.Minute))
		if err != nil {
			t.Fatalf("%s, again: %v", name, err)
		}
		if len(again.ExecutionPlan) > 0 || len(again.Recommendations) > 0 || again.EstimatedSavings > 0 {
			t.Errorf("%s, again: proposes %v, saving %v", name, again.Recommendations, again.EstimatedSavings)
		}
		for _, v := range again.NodeVerdicts {
			if v.Verdict != "keep" || v.Reason == "" {
				t.Errorf("%s, again: verdict %v", name, v)
			}
		}
	}
}

// requireLimits checks every constraint against the answer alone.
func requireLimits(t *rapid.T, prices *market.Snapshot, req *mlv1.DecisionRequest, a *mlv1.DecisionResponse) {
	_, l, err := decode(req)
	if err != nil {
		t.Fatal(err)
	}
	replaced := map[string]bool{}
	for _, v := range a.NodeVerdicts {
		replaced[v.NodeName] = v.Verdict == "replace"
	}
	if len(replaced) != len(req.CurrentState.Nodes) {
		t.Fatalf("%d verdicts for %d nodes", len(replaced), len(req.CurrentState.Nodes))
	}
	spot, nodes, onDemand, fresh, freshSpot := 0.0, 0.0, 0.0, 0, 0.0
	pools := map[string]float64{}
	for _, n := range req.CurrentState.Nodes {
		if replaced[n.NodeName] {
			continue
		}
		nodes++
		if n.NodeType == "spot" {
			spot++
		} else {
			kind, _ := prices.Type(n.InstanceType)
			onDemand += float64(kind.VCPU)
		}
	}
	for _, r := range a.Recommendations {
		kind, _ := prices.Type(r.InstanceType)
		nodes += float64(r.NodeCount)
		fresh += int(r.NodeCount)
		if r.NodeType == "spot" {
			spot += float64(r.NodeCount)
			freshSpot += float64(r.NodeCount)
			pools[r.InstanceType+r.AvailabilityZone] += float64(r.NodeCount)
			if r.RiskScore > l.maxRisk || r.HourlyPrice > l.priceRatio*r.OnDemandHourlyPrice+1e-9 {
				t.Fatalf("%v breaks the risk or price ceiling of %+v", r, l)
			}
		} else {
			onDemand += float64(kind.VCPU) * float64(r.NodeCount)
		}
		if len(l.zones) > 0 && !slices.Contains(l.zones, r.AvailabilityZone) || len(l.architectures) > 0 && !slices.Contains(l.architectures, r.Architecture) {
			t.Fatalf("%v is outside of zones or architectures of %+v", r, l)
		}
		matches := func(patterns []string) bool {
			return slices.ContainsFunc(patterns, func(p string) bool { ok, _ := path.Match(p, r.InstanceType); return ok })
		}
		if len(l.types) > 0 && !matches(l.types) || matches(l.excluded) {
			t.Fatalf("%v is not an allowed type of %+v", r, l)
		}
	}
	if len(a.ExecutionPlan) == 0 {
		return // nothing changes, whatever the cluster breaks today
	}
	requireFiner(t, prices, req, a)
	for pool, n := range pools {
		if n > math.Max(1, l.poolShare*freshSpot+1e-9) {
			t.Fatalf("%v of %v new spot nodes in %s, share %v", n, freshSpot, pool, l.poolShare)
		}
	}
	if spot > l.maxSpot*nodes+1e-9 || onDemand+1e-9 < l.floorCPU || l.maxNodes > 0 && fresh > l.maxNodes {
		t.Fatalf("spot %v of %v, on demand %v vCPU, %d new nodes break %+v", spot, nodes, onDemand, fresh, l)
	}
}

// requireAccounts checks that the money adds up.
func requireAccounts(t *rapid.T, prices *market.Snapshot, state *fleetv1.ClusterState, a *mlv1.DecisionResponse) {
	before, after := 0.0, 0.0
	for i, n := range state.Nodes {
		price := n.HourlyPrice
		if price == 0 && n.NodeType == "spot" {
			price = prices.Spot("us-east-1", n.InstanceType, n.AvailabilityZone)
		} else if price == 0 {
			price = prices.OnDemand("us-east-1", n.InstanceType)
		}
		before += price
		for _, v := range a.NodeVerdicts {
			if v.NodeName == state.Nodes[i].NodeName && v.Verdict == "keep" {
				after += price
			}
		}
	}
	shares := 0.0
	for _, r := range a.Recommendations {
		after += r.HourlyPrice * float64(r.NodeCount)
		shares += r.MonthlySavings
	}
	if want := (before - after) * 730; math.Abs(a.EstimatedSavings-want) > 0.01 {
		t.Fatalf("estimated savings %v, want %v", a.EstimatedSavings, want)
	}
	if len(a.Recommendations) > 0 && math.Abs(shares-a.EstimatedSavings) > 0.01*float64(len(a.Recommendations)) {
		t.Fatalf("shares of the savings add up to %v, want %v", shares, a.EstimatedSavings)
	}
}

func TestTheOrderOfTheStateDoesNotMatter(t *testing.T) {
	t.Parallel()
	prices := testMarket(t)
	rapid.Check(t, func(rt *rapid.T) {
		if rapid.IntRange(0, 3).Draw(rt, "spare the time") > 0 {
			return // a quarter of the cases tells as much here, at two decisions each
		}
		state, constraints := drawState(t, rt, prices), drawConstraints(rt)
		first, firstErr := Decide(request(state, constraints), prices, testNow)
		mixed := proto.CloneOf(state)
		mixed.Nodes = rapid.Permutation(mixed.Nodes).Draw(rt, "nodes")
		mixed.Pods = rapid.Permutation(mixed.Pods).Draw(rt, "pods")
		second, secondErr := Decide(request(mixed, constraints), prices, testNow)
		if (firstErr == nil) != (secondErr == nil) || firstErr != nil && firstErr.Error() != secondErr.Error() {
			rt.Fatalf("first %v, then %v", firstErr, secondErr)
		}
		if !proto.Equal(first, second) {
			rt.Fatalf("first %v\nthen %v", first.GetRecommendations(), second.GetRecommendations())
		}
	})
}
