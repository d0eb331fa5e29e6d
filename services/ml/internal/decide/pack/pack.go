// Package pack buys the cheapest new nodes that hold pods beside those that stay.
package pack

import "github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"

// Offer is a kind of node that can be bought.
type Offer struct {
	// Node is an empty one of it: labels (zone, capacity type, architecture, type),
	// taints, Room, what DaemonSets reserve, Ports. Its Name counts for nothing and
	// each node bought gets a hostname label of its own.
	Node fit.Node
	// Price that counts in choosing, USD per hour; callers may add what risk or a
	// node as such costs them.
	Price float64
	// Max that may be bought; 0: no limit.
	Max int
}

// Problem is pods without a place.
type Problem struct {
	// Book of all pods, those of Cluster too.
	Book *fit.Book
	// Cluster is the nodes that stay with what runs on them; nil: none. It is not changed.
	Cluster *fit.Cluster
	// Pods to be placed, by Book index. They are nowhere in Cluster.
	Pods []int
	// Offers there are.
	Offers []Offer
	// Open are the nodes of Cluster whose room may be used; nil: all that take pods.
	// An empty slice that is not nil opens none.
	Open []int
	// MaxNodes that may be bought; 0: no limit.
	MaxNodes int
	// Effort is how much to search once there is a plan, 1 for the usual; 0: 1.
	// Below 0: the first plan found is the answer.
	Effort float64
}

// Bought is one new node.
type Bought struct {
	Offer int
	Pods  []int
}

// Placed is a pod on a node of Cluster.
type Placed struct{ Pod, Node int }

// Unplaced is a pod without a place.
type Unplaced struct {
	Pod    int
	Reason Reason
}

// Reason why a pod has no place.
type Reason string

// Reasons.
const (
	NoOfferAdmits Reason = "no_offer_admits" // selectors, node affinity, taints or volumes' zones exclude all offers
	TooLarge      Reason = "too_large"       // no offer that admits it has the room even when empty
	MaxNodes      Reason = "max_nodes"       // the limit of nodes, or of those of each offer, is reached
	NodePorts     Reason = "host_ports"      // DaemonSets hold its ports on every node
	Affinity      Reason = "affinity"        // none of the pods that it must be near can be near
	AntiAffinity  Reason = "anti_affinity"   // every place is taken by pods that it must be apart from
	Spread        Reason = "spread"          // every place would break a hard topology spread
	SearchEnded   Reason = "search_ended"    // a node of its own would hold it, but each one bought changed what the rules allow others
)

// Plan is what to buy and where the pods go. Put there in Order, each pod passes the
// scheduler's filters, with all the new nodes present from the start.
type Plan struct {
	Buy      []Bought
	Placed   []Placed
	Unplaced []Unplaced
	// Order of the pods that have a place. Rules of pods about each other can make
	// another order fail.
	Order []int
	// Cost of Buy in USD per hour by Offer.Price.
	Cost float64
	// Bound is the least that buying nodes for all Pods could cost with nothing to
	// start from, by a linear program; 0 if not computed.
	Bound float64
}

// Solve is deterministic: equal problems get equal plans.
func Solve(p Problem) Plan {
	m := newModel(p)
	by := m.prices()
	s := newSite(m, by)
	s.useOpen()
	s.buy(s.waiting)
	plan := s.settle()
	plan.Bound = by.bound
	return plan
}

// LowerBound on the cost of nodes for all Pods that some offer can take, bought from
// nothing: the linear program "cover what pods ask for at least price", in which pods
// that must keep to some offers (zone, capacity type, architecture, taints) are
// covered by those. Everything else that makes plans dearer is left out, so no plan
// costs less.
func LowerBound(p Problem) float64 { return newModel(p).prices().bound }
