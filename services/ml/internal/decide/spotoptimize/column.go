package spotoptimize

import (
	"maps"
	"path"
	"slices"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market/catalogue"
)

// Reasons of Candidate, as the contract names them.
const (
	candidateTaken        = "taken"
	candidatePriceCeiling = "price_ceiling"
	candidateRiskCeiling  = "risk_ceiling"
	candidatePoolShare    = "pool_share"
	candidateTooSmall     = "too_small"
	candidateDearer       = "dearer"
	candidateArchitecture = "architecture"
	candidateExcluded     = "excluded"
	candidateNoPrice      = "no_price"
	candidateSpotShare    = "spot_share"
)

const (
	spotNode     = "spot"
	onDemandNode = "on-demand"
)

// column is something that can be bought: a type in a zone, spot or on demand.
type column struct {
	market.Offer

	spot        bool
	price       float64 // USD per hour
	score       float64 // 0 for on demand
	probability float64 // of an interruption in a month, or how many if above 1; 0 for on demand
	restart     float64 // USD that an interruption costs for each pod

	labels   map[string]string
	full     fit.Amounts // of an empty node
	reserved fit.Amounts // of that, taken by DaemonSets
	room     fit.Amounts // the rest
	ports    []int32     // of the host, bound by DaemonSets
	blank    fit.Node    // an empty node, to ask who may go there

	reason string // why it cannot be taken; empty if it can
}

func (c *column) pool() string { return c.Type.Name + "/" + c.Zone }

func (c *column) nodeType() string {
	if c.spot {
		return spotNode
	}
	return onDemandNode
}

// columns of the market in the zones allowed, takeable or not.
func (w *world) columns(want wants, l limits) []*column {
	zones, architectures := l.zones, l.architectures
	if len(zones) == 0 {
		zones = w.zones()
	}
	if len(architectures) == 0 {
		architectures = w.architectures()
	}
	var all []*column
	for _, offer := range w.market.Offers(w.state.GetRegion(), slices.Compact(slices.Sorted(slices.Values(zones)))) {
		for _, spot := range []bool{true, false} {
			c := &column{Offer: offer, spot: spot, price: offer.OnDemand}
			if spot {
				c.price = offer.Spot
				c.score, c.probability = riskScore[bucketOf(offer.Bucket)], monthlyProbability[bucketOf(offer.Bucket)]
			}
			c.reason = refuse(c, want, l, architectures)
			if c.reason == "" {
				w.furnish(c)
			}
			all = append(all, c)
		}
	}
	return all
}

// zones of the cluster's nodes; of the region if it has none.
func (w *world) zones() []string {
	seen := map[string]bool{}
	for _, n := range w.nodes {
		if zone := n.metric.GetAvailabilityZone(); zone != "" {
			seen[zone] = true
		}
	}
	if len(seen) == 0 {
		return w.market.Zones(w.state.GetRegion())
	}
	return slices.Sorted(maps.Keys(seen))
}

// architectures of the cluster's nodes. Where both are in use, a pod that asks for
// neither is taken to run on either, since the scheduler may put it on either today.
func (w *world) architectures() []string {
	seen := map[string]bool{}
	for _, n := range w.nodes {
		if arch := n.metric.GetArchitecture(); arch != "" {
			seen[arch] = true
		} else if t, ok := w.market.Type(n.metric.GetInstanceType()); ok {
			seen[t.Architecture] = true
		}
	}
	if len(seen) == 0 {
		return []string{"amd64"}
	}
	return slices.Sorted(maps.Keys(seen))
}

// refuse says why a column cannot be taken at all, empty if it can.
func refuse(c *column, want wants, l limits, architectures []string) string {
	switch {
	case !allowedType(c.Type, l), slices.Contains(l.excludedPools, c.pool()+"/"+c.nodeType()):
		return candidateExcluded
	case !slices.Contains(architectures, c.Type.Architecture):
		return candidateArchitecture
	case c.price <= 0 || c.OnDemand <= 0:
		return candidateNoPrice
	case want.nodes > 0 && (float64(c.Type.VCPU) < want.cpu || memoryGiB(c.Type) < want.memoryGiB):
		return candidateTooSmall
	case c.spot:
		return refuseSpot(c, l)
	}
	return ""
}

func refuseSpot(c *column, l limits) string {
	switch {
	case c.price > l.priceRatio*c.OnDemand+defaultGranularity:
		return candidatePriceCeiling
	case c.score > l.maxRisk+defaultGranularity:
		return candidateRiskCeiling
	case l.maxSpot == 0:
		return candidateSpotShare
	}
	return ""
}

func memoryGiB(t catalogue.Type) float64 { return float64(t.MemoryMiB) / 1024 }

// allowedType by the lists of the request; without a list, current general,
// compute and memory types. Burstable types run on credits and bare metal starts
// slowly, so those must be named.
func allowedType(t catalogue.Type, l limits) bool {
	if matchesAny(l.excluded, t.Name) {
		return false
	}
	if len(l.types) > 0 {
		return matchesAny(l.types, t.Name)
	}
	general := t.Category == "General purpose" || t.Category == "Compute optimized" || t.Category == "Memory optimized"
	return t.Current && general && t.GPUs == 0 && !t.Burstable && !t.BareMetal
}

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, err := path.Match(pattern, name)
		return ok && err == nil
	})
}

// furnish works out what a node of the column looks like and holds.
func (w *world) furnish(c *column) {
	c.labels = map[string]string{
		"node.kubernetes.io/instance-type": c.Type.Name,
		fit.LabelZone:                      c.Zone,
		"topology.kubernetes.io/region":    w.state.GetRegion(),
		"kubernetes.io/arch":               c.Type.Architecture,
		"kubernetes.io/os":                 "linux",
	}
	for key, value := range capacityLabels(c.nodeType()) {
		c.labels[key] = value.(string)
	}
	left := c.Type.Allocatable()
	resources := &fleetv1.Resources{CpuMillicores: left.CPUMillicores, MemoryBytes: left.MemoryBytes, EphemeralStorageBytes: w.disk}
	if left.Accelerators > 0 {
		resources.Extended = map[string]int64{left.Accelerator: left.Accelerators}
	}
	c.full = w.book.Amounts(resources)
	c.full.Pods = left.Pods
	c.blank = c.node("new")
	for _, d := range w.daemons {
		if c.hosts(d) {
			c.reserved = c.reserved.Plus(d.requests)
			c.ports = append(c.ports, d.pod.GetHostPorts()...)
		}
	}
	c.room = c.full.Minus(c.reserved)
	if c.room.CPU <= 0 || c.room.Memory <= 0 || c.room.Pods <= 0 {
		c.reason = candidateTooSmall
	}
}

// capacityLabels are how pods ask for spot or on-demand nodes. Plans count on every
// new node having them, so the plan's label step names them too.
func capacityLabels(nodeType string) map[string]any {
	return map[string]any{
		"eks.amazonaws.com/capacityType": map[string]string{spotNode: "SPOT", onDemandNode: "ON_DEMAND"}[nodeType],
		"karpenter.sh/capacity-type":     nodeType,
		"cloudoptim.io/capacity-type":    nodeType,
	}
}

// forOnDemand asks the scheduler to leave new on-demand nodes to the pods that need
// them, where there are new spot nodes too: the plan's taint step names it, and plans
// count on it. Pods are kept out of nothing by it.
var forOnDemand = &fleetv1.Taint{Key: "cloudoptim.io/prefer-spot", Value: "true", Effect: "PreferNoSchedule"}

// node of the column with a name.
func (c *column) node(name string) fit.Node {
	labels := maps.Clone(c.labels)
	labels[fit.LabelHostname] = name
	return fit.Node{Name: name, Labels: labels, Room: c.full, Reserved: c.reserved, Ports: c.ports}
}

// hosts says whether a pod of the DaemonSet comes with each node of the column.
func (c *column) hosts(d *daemon) bool { return fit.Admits(d.pod, &c.blank) }

// takeable columns only.
func takeable(all []*column) []*column {
	return slices.DeleteFunc(slices.Clone(all), func(c *column) bool { return c.reason != "" })
}
