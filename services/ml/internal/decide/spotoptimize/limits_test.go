package spotoptimize

import (
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/shop"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

// drawFiner constraints.
func drawFiner(maybe func(name string, values ...any)) {
	maybe("max_zone_share", 0.34, 0.4, 0.6)
	maybe("max_spot_price_per_vcpu", 0.01, 0.02, 0.1)
	maybe("max_price_per_node", 0.1, 0.5)
	maybe("on_demand_floor_share", 0.2, 0.5, 0.9)
	maybe("restart_cost_usd", 0.0, 20.0)
	maybe("min_pools", 2.0, 4.0)
	maybe("on_demand_pods",
		[]any{map[string]any{"match_labels": map[string]any{"app": "app-000"}}},
		[]any{map[string]any{"owner_kinds": []any{"StatefulSet"}}, map[string]any{"min_priority": 1000.0}})
}

// requireFiner checks those constraints, counting anew from the request and the answer
// alone, for an answer that changes something.
func requireFiner(t *rapid.T, prices *market.Snapshot, req *mlv1.DecisionRequest, a *mlv1.DecisionResponse) {
	given := req.Constraints.AsMap()
	number := func(name string, otherwise float64) float64 {
		if v, ok := given[name].(float64); ok {
			return v
		}
		return otherwise
	}
	zoneShare, minPools := number("max_zone_share", 1), number("min_pools", 0)
	before, after, nodes := map[string]float64{}, map[string]float64{}, map[string]int{}
	total, onDemand, pools, freshSpot, mostOfPool := 0.0, 0.0, map[string]bool{}, 0, 0
	replaced := map[string]bool{}
	for _, v := range a.NodeVerdicts {
		replaced[v.NodeName] = v.Verdict == "replace"
	}
	whole := 0.0
	for _, n := range req.CurrentState.Nodes {
		kind, _ := prices.Type(n.InstanceType)
		cpu := float64(kind.VCPU)
		before[n.AvailabilityZone] += cpu
		whole += cpu
		if replaced[n.NodeName] {
			continue
		}
		after[n.AvailabilityZone] += cpu
		nodes[n.AvailabilityZone]++
		total += cpu
		if n.NodeType == "spot" {
			pools[n.InstanceType+n.AvailabilityZone] = true
		} else {
			onDemand += cpu
		}
	}
	for _, r := range a.Recommendations {
		kind, _ := prices.Type(r.InstanceType)
		cpu := float64(kind.VCPU) * float64(r.NodeCount)
		after[r.AvailabilityZone] += cpu
		nodes[r.AvailabilityZone] += int(r.NodeCount)
		total += cpu
		if r.HourlyPrice > number("max_price_per_node", math.Inf(1)) {
			t.Fatalf("%v is dearer than a node may be: %v", r, given)
		}
		if r.NodeType != "spot" {
			onDemand += cpu
			continue
		}
		freshSpot += int(r.NodeCount)
		mostOfPool = max(mostOfPool, int(r.NodeCount))
		pools[r.InstanceType+r.AvailabilityZone] = true
		if r.HourlyPrice/float64(kind.VCPU) > number("max_spot_price_per_vcpu", math.Inf(1)) {
			t.Fatalf("a vCPU of %v is dearer than it may be: %v", r, given)
		}
	}
	if len(a.ExecutionPlan) == 0 {
		return
	}
	for zone, cpu := range after {
		count := 0
		for _, n := range nodes {
			count += n
		}
		if (nodes[zone] > 1 || float64(count) >= 1/zoneShare) && cpu/total > math.Max(zoneShare, before[zone]/whole)+1e-9 {
			t.Fatalf("%s has %v of %v vCPU, %v of %v before, share %v", zone, cpu, total, before[zone], whole, zoneShare)
		}
	}
	if floor := number("on_demand_floor_share", 0) * total; onDemand+1e-6 < floor {
		t.Fatalf("%v vCPU on demand of %v, floor %v", onDemand, total, floor)
	}
	if freshSpot > 0 && minPools > 1 && (len(pools) < int(minPools) || float64(mostOfPool) > math.Max(1, float64(freshSpot)/minPools+1e-9)) {
		t.Fatalf("%d pools, most in one %d of %d, at least %v pools", len(pools), mostOfPool, freshSpot, minPools)
	}
	requirePods(t, req, a, replaced)
	requireMaxPrices(t, prices, a, number)
}

// requirePods checks that no pod which must stay on demand moves, unless it asks for that
// itself.
func requirePods(t *rapid.T, req *mlv1.DecisionRequest, a *mlv1.DecisionResponse, replaced map[string]bool) {
	spotZones := map[string]bool{}
	for _, n := range req.CurrentState.Nodes {
		if n.NodeType == "spot" {
			spotZones[n.AvailabilityZone] = true
		}
	}
	for _, r := range a.Recommendations {
		if r.NodeType == "spot" {
			spotZones[r.AvailabilityZone] = true
		}
	}
	rules, _ := req.Constraints.AsMap()["on_demand_pods"].([]any)
	for _, p := range req.CurrentState.Pods {
		for _, r := range rules {
			labels, byLabel := r.(map[string]any)["match_labels"].(map[string]any)
			if !byLabel || labels["app"] != p.Labels["app"] || !replaced[p.NodeName] {
				continue
			}
			if p.NodeSelector["eks.amazonaws.com/capacityType"] == "ON_DEMAND" {
				continue
			}
			for zone := range spotZones {
				if only, ok := p.NodeSelector[fit.LabelZone]; (!ok || only == zone) && (len(p.VolumeZones) == 0 || slices.Contains(p.VolumeZones, zone)) {
					t.Fatalf("%s moves and may end on a spot node in %s, rule %v", p.Name, zone, r)
				}
			}
		}
	}
}

func requireMaxPrices(t *rapid.T, prices *market.Snapshot, a *mlv1.DecisionResponse, number func(string, float64) float64) {
	for _, step := range a.ExecutionPlan {
		p := step.Parameters.AsMap()
		most, launch := p["max_price"].(float64)
		if !launch {
			continue
		}
		kind, _ := prices.Type(p["instance_type"].(string))
		ceiling := number("max_price_per_node", math.Inf(1))
		if step.Action == "launch_spot_instances" {
			ceiling = math.Min(ceiling, number("max_spot_price_per_vcpu", math.Inf(1))*float64(kind.VCPU))
		}
		if most > ceiling+1e-9 {
			t.Fatalf("%v may cost up to %v, ceiling %v", p, most, ceiling)
		}
	}
}

func TestPodsThatMustStayOnDemandKeepTheirNodes(t *testing.T) {
	stateful := []any{map[string]any{"owner_kinds": []any{"StatefulSet"}}}
	for name, c := range map[string]struct {
		rules  []any
		change func(*fleetv1.Pod)
		keeps  bool
	}{
		"a stateful set": {stateful, func(p *fleetv1.Pod) { p.Owner.Kind = "StatefulSet" }, true},
		"no stateful set": {
			stateful, func(*fleetv1.Pod) {}, false,
		},
		"high priority":    {[]any{map[string]any{"min_priority": 1000.0}}, func(p *fleetv1.Pod) { p.Priority = 1000 }, true},
		"lower priority":   {[]any{map[string]any{"min_priority": 1000.0}}, func(p *fleetv1.Pod) { p.Priority = 999 }, false},
		"its namespace":    {[]any{map[string]any{"namespaces": []any{"other", "shop"}}}, func(p *fleetv1.Pod) { p.Namespace = "shop" }, true},
		"its label":        {[]any{map[string]any{"match_labels": map[string]any{"tier": "db"}}}, func(p *fleetv1.Pod) { p.Labels["tier"] = "db" }, true},
		"half of the rule": {[]any{map[string]any{"namespaces": []any{"shop"}, "min_priority": 5.0}}, func(*fleetv1.Pod) {}, false},
		"it asks for on demand by itself": {stateful, func(p *fleetv1.Pod) {
			p.Owner.Kind, p.NodeSelector = "StatefulSet", map[string]string{"karpenter.sh/capacity-type": "on-demand"}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			state := three(t)
			for _, p := range state.Pods[2:] {
				p.Namespace = "elsewhere"
			}
			c.change(state.Pods[0])
			v := verdictOf(t, decideOK(t, request(state, map[string]any{"on_demand_pods": c.rules})), "node-a")
			if c.keeps && (v.Reason != "on_demand_pods" || !strings.Contains(v.Detail, "x-a, by on_demand_pods[0]")) {
				t.Errorf("verdict %v, want keep because of on_demand_pods[0]", v)
			}
			if !c.keeps && v.Verdict != "replace" {
				t.Errorf("verdict %v, want replace", v)
			}
		})
	}
}

func TestASpotPriceThatIsTooHighLeavesOnDemand(t *testing.T) {
	a := decideOK(t, capacityRequest(t, map[string]any{"cpu_required": 2.0, "memory_required": 8.0, "node_count": 3.0},
		map[string]any{"max_spot_price_per_vcpu": 0.0001}))
	for _, r := range a.Recommendations {
		if r.NodeType != "on-demand" {
			t.Errorf("buys %v", r)
		}
	}
	for _, c := range a.Candidates {
		if c.NodeType == "spot" && (c.Reason == "dearer" || c.Reason == "taken") {
			t.Errorf("candidate %v, want price_ceiling", c)
		}
	}
	if c := limitCost(t, a, "max_spot_price_per_vcpu"); c.Looser.GetNumberValue() < 0.0001 {
		t.Errorf("limit cost %v", c)
	}
}

func TestTheBindingOneOfTheFinerConstraintsIsNamed(t *testing.T) {
	ten := map[string]any{"cpu_required": 2.0, "memory_required": 8.0, "node_count": 10.0}
	for want, constraints := range map[string]map[string]any{
		"max_zone_share":     {"max_zone_share": 0.1},
		"min_pools":          {"min_pools": 11.0, "max_pool_share": 1.0},
		"max_price_per_node": {"max_price_per_node": 0.001},
	} {
		_, err := Decide(capacityRequest(t, ten, constraints), testMarket(t), testNow)
		got := fault.From(err).Details["constraint"]
		if fault.ReasonOf(err) != faultv1.Reason_REASON_INFEASIBLE || got != want {
			t.Errorf("got %v %v, want INFEASIBLE naming %s", err, got, want)
		}
	}
	state := three(t)
	for _, n := range state.Nodes[:2] {
		n.NodeType = "spot"
	}
	_, err := Decide(request(state, map[string]any{"on_demand_floor_share": 0.9}), testMarket(t), testNow)
	if fault.From(err).Details["constraint"] != "on_demand_floor_share" {
		t.Errorf("got %v, want INFEASIBLE naming on_demand_floor_share", err)
	}
	_, err = Decide(request(three(t), map[string]any{"max_price_per_node": 0.0001}), testMarket(t), testNow)
	if fault.From(err).Details["constraint"] != "max_price_per_node" {
		t.Errorf("got %v, want INFEASIBLE naming max_price_per_node", err)
	}
}

func TestFinerConstraintsAreRefusedByName(t *testing.T) {
	for name, c := range map[string]struct {
		requirements, constraints map[string]any
		field, constraint         string
	}{
		"no zone at all":       {nil, map[string]any{"max_zone_share": 0.0}, "constraints.max_zone_share", "greater than 0"},
		"a price of nothing":   {nil, map[string]any{"max_price_per_node": 0.0}, "constraints.max_price_per_node", "greater than 0"},
		"a negative cost":      {nil, map[string]any{"restart_cost_usd": -1.0}, "constraints.restart_cost_usd", "greater than or equal to 0"},
		"too many pools":       {nil, map[string]any{"min_pools": 101.0}, "constraints.min_pools", "less than or equal to 100"},
		"more than everything": {nil, map[string]any{"on_demand_floor_share": 1.1}, "constraints.on_demand_floor_share", "less than or equal to 1"},
		"a rule for no pods":   {nil, map[string]any{"on_demand_pods": []any{map[string]any{}}}, "constraints.on_demand_pods[0]", "must say which pods"},
		"a rule as text":       {nil, map[string]any{"on_demand_pods": []any{"StatefulSet"}}, "constraints.on_demand_pods", "list of objects"},
		"an unknown key": {
			nil, map[string]any{"on_demand_pods": []any{map[string]any{"kinds": []any{"StatefulSet"}}}}, "constraints.on_demand_pods", "list of objects",
		},
		"another spelling": {
			nil, map[string]any{"on_demand_pods": []any{map[string]any{"ownerKinds": []any{"StatefulSet"}}}}, "constraints.on_demand_pods[0].ownerKinds", "not a known field",
		},
		"text for a number": {
			nil, map[string]any{"on_demand_pods": []any{map[string]any{"min_priority": "5"}}}, "constraints.on_demand_pods[0].min_priority", "must be a number",
		},
		"hours below nothing": {
			map[string]any{"pool_history": []any{map[string]any{"instance_type": "m5.large", "availability_zone": "us-east-1a", "node_hours": -1.0}}},
			nil,
			"requirements.pool_history[0].node_hours", "greater than or equal to 0",
		},
	} {
		t.Run(name, func(t *testing.T) {
			req := request(three(t), c.constraints)
			req.Requirements = structOf(t, c.requirements)
			_, err := Decide(req, testMarket(t), testNow)
			details := fault.From(err).Details
			got, _ := details["constraint"].(string)
			if fault.ReasonOf(err) != faultv1.Reason_REASON_INVALID_REQUEST || details["field"] != c.field || !strings.Contains(got, c.constraint) {
				t.Errorf("got %v %v, want %s %s", err, details, c.field, c.constraint)
			}
		})
	}
}

func TestZonesKeepTheirShares(t *testing.T) {
	a := decideOK(t, capacityRequest(t, map[string]any{"cpu_required": 120.0, "memory_required": 480.0},
		map[string]any{"max_zone_share": 0.4, "zones": []any{"us-east-1a", "us-east-1b", "us-east-1c"}}))
	zones, total := map[string]float64{}, 0.0
	for _, r := range a.Recommendations {
		kind, _ := testMarket(t).Type(r.InstanceType)
		zones[r.AvailabilityZone] += float64(kind.VCPU) * float64(r.NodeCount)
		total += float64(kind.VCPU) * float64(r.NodeCount)
	}
	for zone, cpu := range zones {
		if cpu > 0.4*total+1e-9 {
			t.Errorf("%s has %v of %v vCPU, want at most 0.4", zone, cpu, total)
		}
	}
	reasons := map[string]int{}
	for _, c := range a.Candidates {
		reasons[c.Reason]++
	}
	if reasons["zone_share"]+reasons["dearer"] == 0 {
		t.Errorf("no candidate is refused: %v", reasons)
	}
}

func TestSpotIsSpreadOverAsManyPoolsAsAskedFor(t *testing.T) {
	for _, k := range []int{3, 6, 10} {
		a := decideOK(t, capacityRequest(t, map[string]any{"cpu_required": 2.0, "memory_required": 8.0, "node_count": 12.0},
			map[string]any{"min_pools": float64(k), "max_pool_share": 1.0}))
		if pools := len(slices.DeleteFunc(slices.Clone(a.Recommendations), func(r *mlv1.Recommendation) bool { return r.NodeType != "spot" })); pools < k {
			t.Errorf("%d pools, want at least %d", pools, k)
		}
	}
}

func TestDearerRestartsBuyCalmerPools(t *testing.T) {
	prices := testMarket(t)
	state := generate(t, prices, sizes{seed: 3, nodes: 12, pods: 80, plain: true})
	risk := map[float64]float64{}
	for _, cost := range []float64{0, 30} {
		a := decideOK(t, request(state, map[string]any{"restart_cost_usd": cost}))
		risk[cost] = a.RiskAssessment.AsMap()["average_risk_score"].(float64)
		if a.Metadata.AsMap()["restart_cost_usd"] != cost {
			t.Errorf("metadata says %v, want %v", a.Metadata.AsMap()["restart_cost_usd"], cost)
		}
	}
	if risk[30] >= risk[0] {
		t.Errorf("mean risk %v when a restart costs 30 USD, %v when it costs nothing", risk[30], risk[0])
	}
}

// fixed is a model that knows some pools by type/zone.
type fixed map[string]float64

func (fixed) Model() string { return "fixed/1" }

func (f fixed) Interruptions(_ string, pool market.Offer) (float64, bool) {
	rate, ok := f[pool.Type.Name+"/"+pool.Zone]
	return rate, ok
}

func TestTheModelThatScoresIsAskedAndNamed(t *testing.T) {
	prices := testMarket(t)
	req := capacityRequest(t, map[string]any{"cpu_required": 2.0, "memory_required": 8.0, "node_count": 6.0}, nil)
	plain := decideOK(t, req)
	if plain.RiskModel != "spot_advisor" || plain.Metadata.AsMap()["risk_model"] != "spot_advisor" {
		t.Errorf("model %q, want spot_advisor", plain.RiskModel)
	}
	bad := fixed{}
	for _, r := range plain.Recommendations {
		bad[r.InstanceType+"/"+r.AvailabilityZone] = 30
	}
	a, err := DecideWith(req, prices, bad, testNow)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range a.Recommendations {
		if r.NodeType == "spot" && bad[r.InstanceType+"/"+r.AvailabilityZone] > 0 {
			t.Errorf("buys %v, which the model expects to be interrupted daily", r)
		}
	}
	if a.RiskModel != "fixed/1" {
		t.Errorf("model %q, want fixed/1", a.RiskModel)
	}
	// A pool that the advisor thinks bad and the model good may be bought.
	l := limits{maxSpot: 1, priceRatio: 1, maxRisk: 0.5, finer: finer{cpuPrice: math.Inf(1), nodePrice: math.Inf(1), risk: fixed{"c": 0.01}}}
	w := newWorld(req.CurrentState, prices, testNow)
	freed := 0
	for _, c := range w.choices(wants{}, l) {
		if c.AsSpot && c.Score > 0.8 && c.Reason == shop.RiskCeiling {
			l.risk = fixed{c.Pool(): 0.01}
			freed++
			break
		}
	}
	for _, c := range w.choices(wants{}, l) {
		if c.AsSpot && shop.Interruptions(l.risk, "us-east-1", c.Offer) == 0.01 && c.Reason != "" {
			t.Errorf("%s is refused for %s though the model trusts it", c.Pool(), c.Reason)
		}
	}
	if freed == 0 {
		t.Error("no pool was refused for its risk")
	}
}

func TestWhatWasSeenOfAPoolMovesItsRisk(t *testing.T) {
	pool := market.Offer{Zone: "us-east-1a", Bucket: 0}
	pool.Type.Name = "m5.large"
	rate := func(hours, interruptions float64) float64 {
		r, _ := shop.Watched{Prior: shop.Advisor{}, Pools: map[string]shop.Watch{"m5.large/us-east-1a": {NodeHours: hours, Interruptions: interruptions}}}.Interruptions("us-east-1", pool)
		return r
	}
	if got := rate(0, 0); math.Abs(got-0.025) > 1e-12 {
		t.Errorf("unseen: %v a month, want the advisor's 0.025", got)
	}
	if got := rate(730*1000, 500); math.Abs(got-0.5) > 0.001 {
		t.Errorf("half a thousand in a thousand months: %v, want 0.5", got)
	}
	if calm, one := rate(7300, 0), rate(73, 1); calm > 0.001 || one < 1 || one > 10 {
		t.Errorf("ten quiet months: %v, one interruption in three days: %v", calm, one)
	}
	want := map[string]any{"cpu_required": 2.0, "memory_required": 8.0, "node_count": 3.0}
	first := decideOK(t, capacityRequest(t, want, nil)).Recommendations[0]
	want["pool_history"] = []any{map[string]any{
		"instance_type": first.InstanceType, "availability_zone": first.AvailabilityZone, "node_hours": 200.0, "interruptions": 9.0,
	}}
	a := decideOK(t, capacityRequest(t, want, nil))
	for _, r := range a.Recommendations {
		if r.InstanceType == first.InstanceType && r.AvailabilityZone == first.AvailabilityZone && r.NodeType == "spot" {
			t.Errorf("buys %v, which was interrupted daily", r)
		}
	}
	if a.RiskModel != "spot_advisor+pool_history" {
		t.Errorf("model %q", a.RiskModel)
	}
}

// requireRunnerUp checks that the runner-up is another plan which keeps the limits.
func requireRunnerUp(t *rapid.T, prices *market.Snapshot, req *mlv1.DecisionRequest, a *mlv1.DecisionResponse) {
	r := a.RunnerUp
	if r == nil {
		return
	}
	other := &mlv1.DecisionResponse{Recommendations: r.Recommendations, ExecutionPlan: []*mlv1.ExecutionStep{{Step: 1}}}
	cost, same := 0.0, len(r.Recommendations) == len(a.Recommendations)
	for i, n := range req.CurrentState.Nodes {
		v := &mlv1.NodeVerdict{NodeName: n.NodeName, Verdict: "keep"}
		if slices.Contains(r.ReplacedNodes, n.NodeName) {
			v.Verdict = "replace"
		} else {
			cost += priceOf(prices, n)
		}
		same = same && a.NodeVerdicts[i].Verdict == v.Verdict
		other.NodeVerdicts = append(other.NodeVerdicts, v)
	}
	for i, one := range r.Recommendations {
		cost += one.HourlyPrice * float64(one.NodeCount)
		same = same && proto.Equal(one, a.Recommendations[i])
	}
	requireLimits(t, prices, req, other)
	if same {
		t.Fatalf("the runner-up is the plan itself: %v", r)
	}
	if math.Abs(cost-r.CostPerHour) > 1e-6 {
		t.Fatalf("it costs %v an hour, says %v", cost, r.CostPerHour)
	}
	reasons := []string{"dearer", "interruptions", "concentration", "saves_too_little"}
	if len(a.ExecutionPlan) == 0 {
		reasons = reasons[3:]
	}
	if !slices.Contains(reasons, r.Reason) {
		t.Fatalf("reason %q with a plan of %d steps", r.Reason, len(a.ExecutionPlan))
	}
	if r.Reason != "saves_too_little" && r.JudgedPerHour < r.ChosenJudgedPerHour {
		t.Fatalf("judged at %v it lost to %v", r.JudgedPerHour, r.ChosenJudgedPerHour)
	}
}

func priceOf(prices *market.Snapshot, n *fleetv1.NodeMetric) float64 {
	if n.NodeType == "spot" {
		return prices.Spot("us-east-1", n.InstanceType, n.AvailabilityZone)
	}
	return prices.OnDemand("us-east-1", n.InstanceType)
}

func limitCost(t *testing.T, a *mlv1.DecisionResponse, name string) *mlv1.LimitCost {
	t.Helper()
	for _, c := range a.LimitCosts {
		if c.Limit == name {
			return c
		}
	}
	t.Fatalf("nothing on %s among %v", name, a.LimitCosts)
	return nil
}

func TestALimitCostsWhatAnsweringAgainWithoutItSaves(t *testing.T) {
	prices := testMarket(t)
	state := generate(t, prices, sizes{seed: 5, nodes: 20, pods: 120, plain: true})
	bill := func(share float64) float64 {
		a := decideOK(t, request(state, map[string]any{"max_spot_percentage": share, "min_savings_ratio": 0.0}))
		return a.Metadata.AsMap()["cost_after_per_hour"].(float64) * 730
	}
	a := decideOK(t, request(state, map[string]any{"max_spot_percentage": 0.3, "min_savings_ratio": 0.0}))
	c := limitCost(t, a, "max_spot_percentage")
	looser := bill(0.3) - bill(0.4)
	if !c.Binding || c.Value.GetNumberValue() != 0.3 || c.Looser.GetNumberValue() != 0.4 || c.Tighter.GetNumberValue() != 0.2 {
		t.Errorf("limit cost %v, want it binding, with 0.4 and 0.2 beside it", c)
	}
	// The quick way is coarser than the answer: the same order of magnitude is what counts.
	if c.LooserSaves < looser/3 || c.LooserSaves > looser*3 || c.TighterCosts <= 0 {
		t.Errorf("a tenth more spot saves %v, tighter costs %v; answered in full %v", c.LooserSaves, c.TighterCosts, looser)
	}
	if last := a.LimitCosts[len(a.LimitCosts)-1]; last.LooserSaves > a.LimitCosts[0].LooserSaves {
		t.Errorf("the dearest limit is not first: %v", a.LimitCosts)
	}
}

func TestEveryLimitThatIsSetHasItsCost(t *testing.T) {
	prices := testMarket(t)
	state := generate(t, prices, sizes{seed: 2, nodes: 10, pods: 60, plain: true})
	constraints := map[string]any{
		"max_spot_percentage": 0.5, "zones": []any{"us-east-1a", "us-east-1b"}, "architectures": []any{"amd64"}, "max_price_ratio": 0.6,
		"on_demand_floor_cpu": 8.0, "instance_types": []any{"m5.*", "c5.*"}, "excluded_instance_types": []any{"m5.24xlarge"}, "max_nodes": 9.0,
		"max_zone_share": 0.7, "max_spot_price_per_vcpu": 0.03, "max_price_per_node": 0.4, "on_demand_floor_share": 0.2, "min_pools": 2.0,
		"on_demand_pods": []any{map[string]any{"match_labels": map[string]any{"app": "app-001"}}},
	}
	a := decideOK(t, request(state, constraints))
	names := []string{"max_pool_share", "max_risk_score", "min_savings_ratio", "on_demand_pods[0]"} // the first three bind by default
	for name := range constraints {
		if name != "on_demand_pods" {
			names = append(names, name)
		}
	}
	for _, name := range names {
		c := limitCost(t, a, name)
		if c.Looser == nil || c.LooserSaves < 0 || c.TighterCosts < 0 || c.Binding != (c.LooserSaves > 0) {
			t.Errorf("%v", c)
		}
	}
	if len(a.LimitCosts) != len(names) {
		t.Errorf("%d limits have a cost, want %d: %v", len(a.LimitCosts), len(names), a.LimitCosts)
	}
	few := decideOK(t, request(state, map[string]any{"max_spot_percentage": 0.5}))
	if few.Metadata.AsMap()["left_out"] != nil || few.LimitCosts[0].Tighter == nil {
		t.Errorf("left out %v on a small cluster: %v", few.Metadata.AsMap()["left_out"], few.LimitCosts)
	}
}

func TestCapacityAloneHasARunnerUpAndLimitCosts(t *testing.T) {
	want := map[string]any{"cpu_required": 2.0, "memory_required": 8.0, "node_count": 10.0}
	a := decideOK(t, capacityRequest(t, want, map[string]any{"max_spot_percentage": 0.5}))
	if a.RunnerUp == nil || a.RunnerUp.Reason == "" || a.RunnerUp.CostPerHour < 0.01 {
		t.Fatalf("runner-up %v", a.RunnerUp)
	}
	c := limitCost(t, a, "max_spot_percentage")
	if full := decideOK(t, capacityRequest(t, want, map[string]any{"max_spot_percentage": 0.6})); math.Abs(spend(a)-spend(full)-c.LooserSaves/730) > 1e-4 {
		t.Errorf("a tenth more spot saves %v a month, answered in full %v", c.LooserSaves, (spend(a)-spend(full))*730)
	}
	want["urgent"] = true
	hasty := decideOK(t, capacityRequest(t, want, map[string]any{"max_zone_share": 0.1, "min_pools": 5.0}))
	if hasty.LimitCosts != nil || hasty.Metadata.AsMap()["left_out"] == nil {
		t.Errorf("urgent capacity waits for limit costs: %v", hasty.LimitCosts)
	}
}

func spend(a *mlv1.DecisionResponse) float64 {
	sum := 0.0
	for _, r := range a.Recommendations {
		sum += r.HourlyPrice * float64(r.NodeCount)
	}
	return sum
}
