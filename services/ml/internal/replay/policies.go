package replay

import (
	"cmp"
	"slices"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/shop"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/spotoptimize"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

// ordered is a policy that takes all from the pool it likes best, then from the next.
type ordered struct {
	name  string
	order func(v *View) []int
}

// Name of the policy.
func (o ordered) Name() string { return o.name }

// Choose the first that is open.
func (o ordered) Choose(v *View, n int) []int {
	for _, i := range o.order(v) {
		if !v.Pools[i].Closed {
			return slices.Repeat([]int{i}, n)
		}
	}
	return nil
}

// OnDemandOnly buys no spot.
func OnDemandOnly() Policy {
	return ordered{name: "on_demand", order: func(*View) []int { return nil }}
}

// LowestPrice takes the cheapest pool, as EC2's lowest-price strategy.
func LowestPrice() Policy {
	return ordered{name: "lowest_price", order: func(v *View) []int { return rank(v, func(s Seen) float64 { return s.Now }) }}
}

// CapacityOptimized takes the pool that was up most lately. EC2's strategy of this name
// looks at how much spare capacity there is, which only AWS knows.
func CapacityOptimized() Policy {
	return ordered{name: "capacity_optimized_proxy", order: func(v *View) []int { return rank(v, func(s Seen) float64 { return -s.UpShare }) }}
}

// PriceCapacityOptimized takes the cheapest of the better half by that measure, then of
// the rest, after what AWS says of its strategy: the pools with most capacity first,
// among them the lowest price.
func PriceCapacityOptimized() Policy {
	return ordered{name: "price_capacity_optimized_proxy", order: func(v *View) []int {
		byCapacity := rank(v, func(s Seen) float64 { return -s.UpShare })
		half := (len(byCapacity) + 1) / 2
		byPrice := func(a, b int) int { return cmp.Compare(v.Pools[a].Now, v.Pools[b].Now) }
		slices.SortStableFunc(byCapacity[:half], byPrice)
		slices.SortStableFunc(byCapacity[half:], byPrice)
		return byCapacity
	}}
}

// rank the pools, the least first, ties in the order of their zones.
func rank(v *View, by func(Seen) float64) []int {
	order := make([]int, len(v.Pools))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(by(v.Pools[a]), by(v.Pools[b])) })
	return order
}

// Engine asks the product's engine for the nodes that are missing, as a request for
// node_count nodes does, with pool_history from what was seen.
type Engine struct {
	// Called is the policy's name.
	Called string
	// Prior scores pools before anything was seen of them.
	Prior shop.PoolRisk
	// Blind leaves the history out.
	Blind bool
	// MaxPoolShare as in the constraints.
	MaxPoolShare float64
	// RestartCost of a node's work, USD.
	RestartCost float64
}

// Name of the policy.
func (e Engine) Name() string { return e.Called }

// Choose by the engine.
func (e Engine) Choose(v *View, n int) []int {
	mix := spotoptimize.Mix{Nodes: n, MaxPoolShare: e.MaxPoolShare, RestartCost: e.RestartCost, Risk: e.risk(v)}
	index := map[string]int{}
	for i, seen := range v.Pools {
		offer := seen.Offer
		offer.Spot = seen.Now
		index[offer.Zone] = i
		mix.Region = seen.Region
		mix.Spot = append(mix.Spot, slices.Repeat([]market.Offer{offer}, seen.Held)...)
		if !seen.Closed {
			mix.Pools = append(mix.Pools, offer)
		}
	}
	var picks []int
	for _, c := range mix.Choose() {
		if c.Spot {
			picks = append(picks, index[c.Pool.Zone])
		}
	}
	return picks
}

func (e Engine) risk(v *View) shop.PoolRisk {
	if e.Blind {
		return e.Prior
	}
	w := shop.Watched{Prior: e.Prior, Pools: map[string]shop.Watch{}}
	for _, seen := range v.Pools {
		w.Pools[seen.Offer.Type.Name+"/"+seen.Offer.Zone] = shop.Watch{NodeHours: seen.NodeHours, Interruptions: seen.Losses}
	}
	return w
}
