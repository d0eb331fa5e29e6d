// Package change is a change of a cluster: the nodes that go, those bought instead,
// and what follows from that.
package change

import (
	"fmt"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/scene"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/shop"
)

// Plan is which nodes go and what is bought instead.
type Plan struct {
	Gone []int          // indices of World.Nodes, in the order they are drained
	Buy  []*shop.Column // one for each new node
}

// NewNode is the i-th new node of the plan.
func (p Plan) NewNode(i int) fit.Node {
	n := p.Buy[i].Node(NewName(i))
	if !p.Buy[i].AsSpot && p.Mixed() {
		n.Taints = []*fleetv1.Taint{shop.ForOnDemand}
	}
	return n
}

// NewName of the i-th new node, until it has one of its own.
func NewName(i int) string { return fmt.Sprintf("cloudoptim-new-%05d", i) }

// CostAfter the plan, USD per hour.
func (p Plan) CostAfter(w *scene.World) float64 {
	sum := w.CostPerHour()
	for _, i := range p.Gone {
		sum -= w.Nodes[i].Price
	}
	for _, c := range p.Buy {
		sum += c.Price
	}
	return sum
}

// Moved counts the pods that are evicted once.
func (p Plan) Moved(w *scene.World) int {
	sum := 0
	for _, i := range p.Gone {
		sum += len(w.Nodes[i].Moves)
	}
	return sum
}

// Mixed plans buy both spot and on-demand nodes.
func (p Plan) Mixed() bool { return p.Count(shop.Spot) > 0 && p.Count(shop.OnDemand) > 0 }

// Count of new nodes bought so.
func (p Plan) Count(nodeType string) int {
	n := 0
	for _, c := range p.Buy {
		if c.NodeType() == nodeType {
			n++
		}
	}
	return n
}
