// Package shop is what can be bought: a type in a zone, as spot or on demand, with
// the labels and the room that a node of it will have.
package shop

import (
	"maps"
	"path"
	"slices"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/scene"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market/catalogue"
)

// granularity is slack for shares that are whole but for rounding.
const granularity = 1e-9

// Reasons of Candidate, as the contract names them.
const (
	Taken        = "taken"
	PriceCeiling = "price_ceiling"
	RiskCeiling  = "risk_ceiling"
	PoolShare    = "pool_share"
	TooSmall     = "too_small"
	Dearer       = "dearer"
	Architecture = "architecture"
	Excluded     = "excluded"
	NoPrice      = "no_price"
	SpotShare    = "spot_share"
)

// Ways to buy a node, as the contract spells them.
const (
	Spot     = "spot"
	OnDemand = "on-demand"
)

// Column is something that can be bought: a type in a zone, spot or on demand.
type Column struct {
	market.Offer

	AsSpot      bool
	Price       float64 // USD per hour
	Score       float64 // 0 for on demand
	Probability float64 // of an interruption in a month, or how many if above 1; 0 for on demand
	Restart     float64 // USD that an interruption costs for each pod

	Labels   map[string]string
	Full     fit.Amounts // of an empty node
	Reserved fit.Amounts // of that, taken by DaemonSets
	Room     fit.Amounts // the rest
	Ports    []int32     // of the host, bound by DaemonSets
	Blank    fit.Node    // an empty node, to ask who may go there

	Reason string // why it cannot be taken; empty if it can
}

// Limits on what may be bought.
type Limits struct {
	Zones, Architectures []string // empty: those of the cluster's nodes
	Types, Excluded      []string // names or families with a star; no Types: all current general ones
	ExcludedPools        []string // as type/zone/spot or type/zone/on-demand
	PriceRatio           float64  // most of a spot price, as a share of the on-demand price
	MaxRisk              float64  // highest Score
	NoSpot               bool
	NoOnDemand           bool

	LeastCPU, LeastMemoryGiB float64 // of each node
}

// Pool is the type and the zone, which run out of spot capacity together.
func (c *Column) Pool() string { return c.Type.Name + "/" + c.Zone }

// NodeType as the contract spells it.
func (c *Column) NodeType() string {
	if c.AsSpot {
		return Spot
	}
	return OnDemand
}

// Columns of the market in the zones allowed, takeable or not.
func Columns(w *scene.World, l Limits) []*Column {
	zones, architectures := l.Zones, l.Architectures
	if len(zones) == 0 {
		zones = Zones(w)
	}
	if len(architectures) == 0 {
		architectures = Architectures(w)
	}
	var all []*Column
	for _, offer := range w.Market.Offers(w.State.GetRegion(), slices.Compact(slices.Sorted(slices.Values(zones)))) {
		for _, spot := range []bool{true, false} {
			c := &Column{Offer: offer, AsSpot: spot, Price: offer.OnDemand}
			if spot {
				c.Price = offer.Spot
				c.Score, c.Probability = riskScore[bucketOf(offer.Bucket)], monthlyProbability[bucketOf(offer.Bucket)]
			}
			c.Reason = refuse(c, l, architectures)
			if c.Reason == "" {
				furnish(w, c)
			}
			all = append(all, c)
		}
	}
	return all
}

// Zones of the cluster's nodes; of the region if it has none.
func Zones(w *scene.World) []string {
	seen := map[string]bool{}
	for _, n := range w.Nodes {
		if zone := n.Metric.GetAvailabilityZone(); zone != "" {
			seen[zone] = true
		}
	}
	if len(seen) == 0 {
		return w.Market.Zones(w.State.GetRegion())
	}
	return slices.Sorted(maps.Keys(seen))
}

// Architectures of the cluster's nodes. Where both are in use, a pod that asks for
// neither is taken to run on either, since the scheduler may put it on either today.
func Architectures(w *scene.World) []string {
	seen := map[string]bool{}
	for _, n := range w.Nodes {
		if arch := n.Metric.GetArchitecture(); arch != "" {
			seen[arch] = true
		} else if t, ok := w.Market.Type(n.Metric.GetInstanceType()); ok {
			seen[t.Architecture] = true
		}
	}
	if len(seen) == 0 {
		return []string{"amd64"}
	}
	return slices.Sorted(maps.Keys(seen))
}

// refuse says why a column cannot be taken at all, empty if it can.
func refuse(c *Column, l Limits, architectures []string) string {
	switch {
	case !allowedType(c.Type, l), slices.Contains(l.ExcludedPools, c.Pool()+"/"+c.NodeType()):
		return Excluded
	case !slices.Contains(architectures, c.Type.Architecture):
		return Architecture
	case c.Price <= 0 || c.OnDemand <= 0:
		return NoPrice
	case float64(c.Type.VCPU) < l.LeastCPU || MemoryGiB(c.Type) < l.LeastMemoryGiB:
		return TooSmall
	case c.AsSpot:
		return RefuseSpot(c, l)
	case l.NoOnDemand:
		return Excluded
	}
	return ""
}

// RefuseSpot says which limit on spot keeps a column from being taken, empty if none.
func RefuseSpot(c *Column, l Limits) string {
	switch {
	case c.Price > l.PriceRatio*c.OnDemand+granularity:
		return PriceCeiling
	case c.Score > l.MaxRisk+granularity:
		return RiskCeiling
	case l.NoSpot:
		return SpotShare
	}
	return ""
}

// MemoryGiB of a type, nominal.
func MemoryGiB(t catalogue.Type) float64 { return float64(t.MemoryMiB) / 1024 }

// allowedType by the lists of the request; without a list, current general,
// compute and memory types. Burstable types run on credits and bare metal starts
// slowly, so those must be named.
func allowedType(t catalogue.Type, l Limits) bool {
	if Matches(l.Excluded, t.Name) {
		return false
	}
	if len(l.Types) > 0 {
		return Matches(l.Types, t.Name)
	}
	general := t.Category == "General purpose" || t.Category == "Compute optimized" || t.Category == "Memory optimized"
	return t.Current && general && t.GPUs == 0 && !t.Burstable && !t.BareMetal
}

// Matches says whether a name is among the patterns.
func Matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, err := path.Match(pattern, name)
		return ok && err == nil
	})
}

// furnish works out what a node of the column looks like and holds.
func furnish(w *scene.World, c *Column) {
	c.Labels = map[string]string{
		"node.kubernetes.io/instance-type": c.Type.Name,
		fit.LabelZone:                      c.Zone,
		"topology.kubernetes.io/region":    w.State.GetRegion(),
		"kubernetes.io/arch":               c.Type.Architecture,
		"kubernetes.io/os":                 "linux",
	}
	for key, value := range CapacityLabels(c.NodeType()) {
		c.Labels[key] = value.(string)
	}
	left := c.Type.Allocatable()
	resources := &fleetv1.Resources{CpuMillicores: left.CPUMillicores, MemoryBytes: left.MemoryBytes, EphemeralStorageBytes: w.Disk}
	if left.Accelerators > 0 {
		resources.Extended = map[string]int64{left.Accelerator: left.Accelerators}
	}
	c.Full = w.Book.Amounts(resources)
	c.Full.Pods = left.Pods
	c.Blank = c.Node("new")
	for _, d := range w.Daemons {
		if c.Hosts(d) {
			c.Reserved = c.Reserved.Plus(d.Requests)
			c.Ports = append(c.Ports, d.Pod.GetHostPorts()...)
		}
	}
	c.Room = c.Full.Minus(c.Reserved)
	if c.Room.CPU <= 0 || c.Room.Memory <= 0 || c.Room.Pods <= 0 {
		c.Reason = TooSmall
	}
}

// CapacityLabels are how pods ask for spot or on-demand nodes. Plans count on every
// new node having them, so the plan's label step names them too.
func CapacityLabels(nodeType string) map[string]any {
	return map[string]any{
		"eks.amazonaws.com/capacityType": map[string]string{Spot: "SPOT", OnDemand: "ON_DEMAND"}[nodeType],
		"karpenter.sh/capacity-type":     nodeType,
		"cloudoptim.io/capacity-type":    nodeType,
	}
}

// ForOnDemand asks the scheduler to leave new on-demand nodes to the pods that need
// them, where there are new spot nodes too: the plan's taint step names it, and plans
// count on it. Pods are kept out of nothing by it.
var ForOnDemand = &fleetv1.Taint{Key: "cloudoptim.io/prefer-spot", Value: "true", Effect: "PreferNoSchedule"}

// Node of the column with a name.
func (c *Column) Node(name string) fit.Node {
	labels := maps.Clone(c.Labels)
	labels[fit.LabelHostname] = name
	return fit.Node{Name: name, Labels: labels, Room: c.Full, Reserved: c.Reserved, Ports: c.Ports}
}

// Hosts says whether a pod of the DaemonSet comes with each node of the column.
func (c *Column) Hosts(d *scene.Daemon) bool { return fit.Admits(d.Pod, &c.Blank) }

// Takeable columns only.
func Takeable(all []*Column) []*Column {
	return slices.DeleteFunc(slices.Clone(all), func(c *Column) bool { return c.Reason != "" })
}
