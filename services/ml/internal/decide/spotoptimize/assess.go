package spotoptimize

import (
	"math"
	"time"

	"google.golang.org/protobuf/types/known/structpb"
)

// risk fills the fields of RiskAssessment: scores speak of the new spot nodes, shares of
// the whole cluster as it will be.
func (w *world) risk(p plan) *structpb.Struct {
	var score, highest, interruptions, spotCPU, total, moved float64
	pools, zones, fresh := map[string]float64{}, map[string]float64{}, map[string]bool{}
	for i, n := range w.nodes {
		if gone(p, i) {
			moved += float64(len(n.moves))
			continue
		}
		pools[n.metric.GetInstanceType()+"/"+n.metric.GetAvailabilityZone()+"/"+n.metric.GetNodeType()] += n.vcpu
		zones[n.metric.GetAvailabilityZone()] += n.vcpu
		total += n.vcpu
	}
	for _, c := range p.buy {
		vcpu := float64(c.Type.VCPU)
		pools[c.pool()+"/"+c.nodeType()] += vcpu
		zones[c.Zone] += vcpu
		total += vcpu
		interruptions += c.probability
		if c.spot {
			fresh[c.pool()] = true
			score, spotCPU, highest = score+c.score*vcpu, spotCPU+vcpu, max(highest, c.score)
		}
	}
	if spotCPU > 0 {
		score /= spotCPU
	}
	return fields(map[string]any{
		"average_risk_score": digits(score), "max_risk_score": highest,
		"expected_interruptions_per_month": digits(interruptions), "largest_pool_share": digits(largest(pools, total)),
		"largest_zone_share": digits(largest(zones, total)), "pools": float64(len(fresh)), "pods_moved": moved, "level": riskLevel(score),
	})
}

func gone(p plan, node int) bool {
	for _, n := range p.gone {
		if n == node {
			return true
		}
	}
	return false
}

func largest(parts map[string]float64, total float64) float64 {
	most := 0.0
	for _, v := range parts {
		most = max(most, v)
	}
	if total == 0 {
		return 0
	}
	return most / total
}

// digits that mean something; the rest would only differ by rounding.
func digits(v float64) float64 { return math.Round(v*1e4) / 1e4 }

// fields makes a Struct of plain values, which cannot fail.
func fields(values map[string]any) *structpb.Struct {
	s, err := structpb.NewStruct(values)
	if err != nil {
		return &structpb.Struct{}
	}
	return s
}

const (
	bestConfidence  = 0.95
	staleConfidence = 0.6 // of it, when prices are as old as staleAge or older
	staleAge        = 90 * 24 * time.Hour
	freshAge        = 24 * time.Hour
	lateState       = 10 * time.Minute
	lateConfidence  = 0.9
	staleSource     = 0.95 // for each source that is too old to be sure of
)

// confidence falls with the age of the spot prices, from a day to three months
// (a price differs from the day before's by a median of about 1 %, and only 57 % of
// interruption buckets are the same two months later), with the share of
// nodes whose price is unknown, and when the state is old.
func (a answer) confidence(w *world) float64 {
	spot, _, _ := a.prices.AsOf(w.state.GetRegion())
	age := min(max(0, a.now.Sub(spot)-freshAge), staleAge-freshAge)
	score := bestConfidence * (1 - (1-staleConfidence)*float64(age)/float64(staleAge-freshAge))
	known := 0
	for _, n := range w.nodes {
		if n.price > 0 {
			known++
		}
	}
	if len(w.nodes) > 0 {
		score *= 0.5 + 0.5*float64(known)/float64(len(w.nodes))
	}
	if updated := w.state.GetLastUpdated(); updated != nil && a.now.Sub(updated.AsTime()) > lateState {
		score *= lateConfidence
	}
	for range a.prices.Stale(w.state.GetRegion(), a.now) {
		score *= staleSource
	}
	return digits(score)
}

func (a answer) metadata(w *world, before, after float64, nodes int) *structpb.Struct {
	spot, onDemand, origin := a.prices.AsOf(w.state.GetRegion())
	m := a.req.GetMetadata().AsMap()
	if m == nil {
		m = map[string]any{}
	}
	stale := []any{}
	for _, source := range a.prices.Stale(w.state.GetRegion(), a.now) {
		stale = append(stale, source)
	}
	for key, value := range map[string]any{
		"stale_sources": stale,
		"engine":        "spot_optimize/1", "market_as_of": spot.UTC().Format(time.RFC3339), "market_origin": origin,
		"on_demand_as_of":      onDemand.UTC().Format(time.RFC3339),
		"cost_before_per_hour": before, "cost_after_per_hour": after,
		"nodes_before": float64(len(w.nodes)), "nodes_after": float64(nodes), "restart_cost_usd": RestartCost,
	} {
		m[key] = value
	}
	return fields(m)
}
