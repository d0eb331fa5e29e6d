package replay

import (
	"fmt"
	"math"
	"time"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/shop"
)

// Report is what a replay found.
type Report struct {
	// BootSeconds that every launch took.
	BootSeconds float64 `json:"boot_seconds"`
	// RestartCost that the engine counted an interruption with, USD.
	RestartCost float64 `json:"restart_cost_usd"`
	// MaxPoolShare that the engine kept where it kept one.
	MaxPoolShare float64 `json:"max_pool_share"`
	// Sets of traces.
	Sets []Set `json:"sets"`
	// Mean over the sets, each counting the same: of costs the geometric one.
	Mean []Outcome `json:"mean"`
	// LeftOut sets and why.
	LeftOut map[string]string `json:"left_out"`
}

// Set is one scenario's outcomes.
type Set struct {
	Name       string    `json:"name"`
	Pools      int       `json:"pools"`
	Need       int       `json:"need"`
	Days       float64   `json:"days"`
	PricesFrom string    `json:"prices_from"`
	LeastUSD   float64   `json:"clairvoyant_usd"`
	Policies   []Outcome `json:"policies"`
}

// Outcome of a policy. An hour that a needed node was missing is charged at the
// on-demand price: otherwise the cheapest would be not to serve.
type Outcome struct {
	Policy string `json:"policy"`
	// USD is the bill alone.
	USD float64 `json:"usd"`
	// CostOverClairvoyant is the cost over the least that it could have been.
	CostOverClairvoyant float64 `json:"cost_over_clairvoyant"`
	// CostOverOnDemand is the cost over that of on-demand nodes alone.
	CostOverOnDemand float64 `json:"cost_over_on_demand"`
	// Availability is the share of the time with enough nodes ready.
	Availability float64 `json:"availability"`
	// ShortMinutes of needed nodes, for each node and day.
	ShortMinutes float64 `json:"short_minutes_per_node_day"`
	// Interruptions for each day that a spot node ran.
	Interruptions float64 `json:"interruptions_per_node_day"`
	// MassLosses in 30 days: moments at which 30 % of the needed nodes or more, two at
	// the least, went at once.
	MassLosses float64 `json:"mass_losses_per_30_days"`
	// OnDemandShare of the node hours paid for.
	OnDemandShare float64 `json:"on_demand_share"`
}

// settings of a replay.
type settings struct {
	boot                      time.Duration
	restartCost, maxPoolShare float64
}

// contenders in the order of the report.
func contenders(c settings) []Policy {
	ours := Engine{Called: "cloudoptim", Prior: shop.Advisor{}, MaxPoolShare: 1, RestartCost: c.restartCost}
	blind, shared := ours, ours
	blind.Called, blind.Blind = "cloudoptim_without_history", true
	shared.Called, shared.MaxPoolShare = "cloudoptim_with_pool_share", c.maxPoolShare
	return []Policy{OnDemandOnly(), LowestPrice(), CapacityOptimized(), PriceCapacityOptimized(), ours, blind, shared}
}

// play all policies on all sets.
func play(sets []*Scenario, c settings) (*Report, error) {
	r := &Report{BootSeconds: c.boot.Seconds(), RestartCost: c.restartCost, MaxPoolShare: c.maxPoolShare}
	for _, s := range sets {
		least, err := Clairvoyant(s, c.boot)
		if err != nil {
			return nil, err
		}
		set := Set{
			Name: s.Name, Pools: len(s.Pools), Need: s.Need, Days: float64(s.Ticks()) * s.hours() / 24,
			PricesFrom: s.PricesFrom, LeastUSD: least,
		}
		onDemand := Replay(s, OnDemandOnly(), c.boot)
		for _, p := range contenders(c) {
			count := Replay(s, p, c.boot)
			if count.ServedHours == 0 {
				return nil, fmt.Errorf("%s served nothing in %s", p.Name(), s.Name)
			}
			set.Policies = append(set.Policies, outcome(p.Name(), s, count, onDemand, least))
		}
		r.Sets = append(r.Sets, set)
	}
	r.Mean = mean(r.Sets)
	return r, nil
}

// outcome of a count; least is what the clairvoyant pays.
func outcome(name string, s *Scenario, c, onDemand Count, least float64) Outcome {
	cost, need := c.USD+c.ShortHours*s.onDemandPrice(), (c.ServedHours+c.ShortHours)/24
	o := Outcome{
		Policy: name, USD: c.USD, CostOverClairvoyant: cost / least, CostOverOnDemand: cost / onDemand.USD,
		Availability: c.EnoughHours / c.Hours, ShortMinutes: c.ShortHours * 60 / need,
		MassLosses: float64(c.MassLosses) / (c.Hours / 720), OnDemandShare: c.OnDemandHours / (c.OnDemandHours + c.SpotHours),
	}
	if c.SpotHours > 0 {
		o.Interruptions = float64(c.Interruptions) / (c.SpotHours / 24)
	}
	return o
}

func mean(sets []Set) []Outcome {
	if len(sets) == 0 {
		return nil
	}
	all := make([]Outcome, len(sets[0].Policies))
	n := float64(len(sets))
	for i := range all {
		m := &all[i]
		m.Policy = sets[0].Policies[i].Policy
		for _, s := range sets {
			o := s.Policies[i]
			m.USD += o.USD
			m.CostOverClairvoyant += math.Log(o.CostOverClairvoyant) / n
			m.CostOverOnDemand += math.Log(o.CostOverOnDemand) / n
			m.Availability += o.Availability / n
			m.ShortMinutes += o.ShortMinutes / n
			m.Interruptions += o.Interruptions / n
			m.MassLosses += o.MassLosses / n
			m.OnDemandShare += o.OnDemandShare / n
		}
		m.CostOverClairvoyant, m.CostOverOnDemand = math.Exp(m.CostOverClairvoyant), math.Exp(m.CostOverOnDemand)
	}
	return all
}
