package spotoptimize

import (
	"math"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/shop"
)

// watching the pools of a request's history.
func watching(prior shop.PoolRisk, history []*mlv1.PoolHistory) shop.PoolRisk {
	if len(history) == 0 {
		return prior
	}
	w := shop.Watched{Prior: prior, Pools: map[string]shop.Watch{}}
	for _, h := range history {
		pool := h.GetInstanceType() + "/" + h.GetAvailabilityZone()
		seen := w.Pools[pool]
		w.Pools[pool] = shop.Watch{NodeHours: seen.NodeHours + h.GetNodeHours(), Interruptions: seen.Interruptions + h.GetInterruptions()}
	}
	return w
}

// choices of the market, with their risk by the model that the request is answered
// with and by all limits on price and risk.
func (w *world) choices(want wants, l limits) []*column { return l.sort(w.stock(want, l)) }

// stock is what may be bought by the lists of the request, whatever it costs and however
// risky it is.
func (w *world) stock(want wants, l limits) []*column {
	any := l
	any.maxRisk, any.priceRatio, any.maxSpot, any.excludedPools = 1, math.Inf(1), 1, nil
	all := w.columns(want, any)
	for _, c := range all {
		c.Restart = l.restartCost
		if c.AsSpot {
			c.Probability = shop.Interruptions(l.risk, w.State.GetRegion(), c.Offer)
			c.Score = shop.ScoreOf(c.Probability)
		}
	}
	return all
}

// sort out of a stock what the limits forbid. The stock itself is left as it is.
func (l limits) sort(stock []*column) []*column {
	without := map[string]bool{}
	for _, pool := range l.excludedPools {
		without[pool] = true
	}
	copies, all := make([]column, len(stock)), make([]*column, len(stock))
	for i, c := range stock {
		copies[i] = *c
		all[i] = &copies[i]
		switch {
		case without[c.Pool()+"/"+c.NodeType()]:
			all[i].Reason = shop.Excluded
		case c.Reason == "":
			all[i].Reason = l.forbids(c)
		}
	}
	return all
}

// forbids says why a column may not be bought, empty if it may.
func (l limits) forbids(c *column) string {
	if c.Price > l.nodePrice+defaultGranularity {
		return shop.PriceCeiling
	}
	if !c.AsSpot {
		return ""
	}
	if c.Price > l.cpuPrice*float64(c.Type.VCPU)+defaultGranularity {
		return shop.PriceCeiling
	}
	return shop.RefuseSpot(c, l.shop(wants{}))
}
