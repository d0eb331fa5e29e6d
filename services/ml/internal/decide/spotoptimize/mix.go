package spotoptimize

import (
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/scene"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/shop"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

// Mix asks for more nodes beside those there are, from any of some pools. It is
// answered as a request for node_count nodes is; replays ask it thousands of times.
type Mix struct {
	// Region of the pools.
	Region string
	// Pools that may be bought from. One without capacity is left out.
	Pools []market.Offer
	// Spot nodes there are.
	Spot []market.Offer
	// Nodes more.
	Nodes int
	// Risk of the pools.
	Risk shop.PoolRisk
	// MaxPoolShare as in the constraints.
	MaxPoolShare float64
	// RestartCost of the whole node, USD.
	RestartCost float64
}

// Choice is a node to buy.
type Choice struct {
	// Pool it comes from.
	Pool market.Offer
	// Spot, else on demand.
	Spot bool
}

// Choose the nodes.
func (m Mix) Choose() []Choice {
	l := limits{maxSpot: 1, priceRatio: 1, maxRisk: 1, finer: finer{zoneShare: 1, risk: m.Risk}}
	l.setPools(m.MaxPoolShare, 0)
	q := &problem{w: &world{&scene.World{Nodes: heldNodes(m.Spot)}}, l: l, want: wants{nodes: m.Nodes}}
	for _, offer := range m.Pools {
		spot := &column{Offer: offer, AsSpot: true, Price: offer.Spot, Probability: shop.Interruptions(m.Risk, m.Region, offer)}
		for _, c := range []*column{spot, {Offer: offer, Price: offer.OnDemand}} {
			c.Restart = m.RestartCost / typicalPods(c)
			q.columns = append(q.columns, c)
		}
	}
	var choices []Choice
	for _, c := range q.fromNothing().plan.Buy {
		choices = append(choices, Choice{Pool: c.Offer, Spot: c.AsSpot})
	}
	return choices
}

func heldNodes(offers []market.Offer) []*node {
	var nodes []*node
	for _, o := range offers {
		nodes = append(nodes, &node{
			Metric: &fleetv1.NodeMetric{InstanceType: o.Type.Name, AvailabilityZone: o.Zone}, Spot: true, VCPU: float64(o.Type.VCPU),
		})
	}
	return nodes
}
