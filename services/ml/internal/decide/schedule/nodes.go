package schedule

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/calendar"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/shop"
)

// Reasons of NodeVerdict, as the contract names them.
const (
	reasonSleeps     = "sleeps"
	reasonShared     = "shared"
	reasonEmpty      = "no_sleeper"
	reasonNoSleep    = "no_common_sleep"
	reasonNodeLabels = "node_labels"
	reasonNotEC2     = "not_ec2"
	reasonNotReady   = "not_ready"
	reasonCordoned   = "cordoned_by_other"
)

// pool is nodes that go and come together: all that is on them sleeps at the same times.
type pool struct {
	nodes  []*fleetv1.NodeMetric
	before []*mlv1.SleepingNodes // gone already
	off    []calendar.Interval
	price  float64 // of all, USD per hour
}

// former nodes that an earlier plan let go.
func (o *pool) former() int {
	n := 0
	for _, s := range o.before {
		n += int(s.GetNodeCount())
	}
	return n
}

// sortNodes finds who can go, and when.
func (p *plan) sortNodes(groups []*group) {
	owner := map[*workload]int{}
	for i, g := range groups {
		for _, one := range g.workloads {
			owner[one] = i
		}
	}
	on := map[string][]*fleetv1.Pod{}
	for _, pod := range p.world.state.GetPods() {
		if p.world.byPod[pod] != nil && !pod.GetTerminating() {
			on[pod.GetNodeName()] = append(on[pod.GetNodeName()], pod)
		}
	}
	pools := map[string]*pool{}
	for _, name := range slices.Sorted(maps.Keys(p.world.nodes)) {
		n := p.world.nodes[name]
		sleepers, reason, detail := p.sleepers(n, on[name], owner)
		if reason != "" {
			p.kept = append(p.kept, &mlv1.NodeVerdict{NodeName: name, Verdict: keep, Reason: reason, Detail: detail})
			continue
		}
		key := fmt.Sprint(sleepers)
		if pools[key] == nil {
			pools[key] = &pool{off: p.offTimes(groups, sleepers)}
		}
		pools[key].nodes = append(pools[key].nodes, n)
		pools[key].price += priceOf(p.world.state.GetRegion(), n, p.prices)
	}
	for _, key := range slices.Sorted(maps.Keys(pools)) {
		p.pools = append(p.pools, pools[key])
	}
	p.addFormer(groups)
}

// addFormer makes a pool of the nodes that an earlier plan let go.
func (p *plan) addFormer(groups []*group) {
	if len(p.world.want.sleepingNodes) == 0 {
		return
	}
	var all []int
	for i, g := range groups {
		if g.reason == "" && len(g.workloads) > 0 {
			all = append(all, i)
		}
	}
	former := &pool{before: p.world.want.sleepingNodes, off: p.offTimes(groups, all)}
	for _, s := range former.before {
		like := &fleetv1.NodeMetric{InstanceType: s.GetInstanceType(), AvailabilityZone: s.GetAvailabilityZone(), NodeType: s.GetNodeType()}
		former.price += float64(s.GetNodeCount()) * priceOf(p.world.state.GetRegion(), like, p.prices)
	}
	p.pools = append(p.pools, former)
}

// sleepers of a node, as indices of groups, or why it stays.
func (p *plan) sleepers(n *fleetv1.NodeMetric, pods []*fleetv1.Pod, owner map[*workload]int) (sleepers []int, reason, detail string) {
	switch {
	case n.GetInstanceType() == "" || n.GetInstanceId() == "":
		return nil, reasonNotEC2, ""
	case n.GetDoNotDisrupt():
		return nil, reasonDoNotDisrupt, "an annotation of the node forbids it"
	case !n.GetReady():
		return nil, reasonNotReady, ""
	case n.GetUnschedulable():
		return nil, reasonCordoned, "someone else is at work on it"
	}
	successor := p.successor(n)
	for _, pod := range pods {
		one := p.world.byPod[pod]
		if one.kind == "DaemonSet" {
			continue
		}
		if !one.sleeps {
			return nil, reasonShared, pod.GetNamespace() + "/" + pod.GetName() + " stays awake"
		}
		if !fit.Admits(pod, &successor) {
			return nil, reasonNodeLabels, pod.GetNamespace() + "/" + pod.GetName() + " wants a label that a new node would lack"
		}
		if i := owner[one]; !slices.Contains(sleepers, i) {
			sleepers = append(sleepers, i)
		}
	}
	if len(sleepers) == 0 {
		return nil, reasonEmpty, "no pod that sleeps is on it"
	}
	slices.Sort(sleepers)
	return sleepers, "", ""
}

// successor is the node that a launch would bring in its place: without the labels that
// only its node group gave it.
func (p *plan) successor(n *fleetv1.NodeMetric) fit.Node {
	labels := map[string]string{
		"node.kubernetes.io/instance-type": n.GetInstanceType(), fit.LabelZone: n.GetAvailabilityZone(),
		"topology.kubernetes.io/region": p.world.state.GetRegion(), "kubernetes.io/os": "linux", fit.LabelHostname: n.GetNodeName(),
	}
	if n.GetArchitecture() != "" {
		labels["kubernetes.io/arch"] = n.GetArchitecture()
	}
	for key, value := range shop.CapacityLabels(n.GetNodeType()) {
		labels[key] = value.(string)
	}
	return fit.Node{Name: n.GetNodeName(), Labels: labels}
}

// offTimes of nodes on which these groups are: while all of them sleep, less the time to go and to come.
func (p *plan) offTimes(groups []*group, of []int) []calendar.Interval {
	var all []calendar.Interval
	for i, g := range of {
		if i == 0 {
			all = groups[g].asleep
			continue
		}
		all = calendar.Common(all, groups[g].asleep)
	}
	var off []calendar.Interval
	for _, i := range all {
		if !i.Start.Equal(p.now) || !p.allAsleep(groups, of) {
			i.Start = i.Start.Add(settle)
		}
		i.End = i.End.Add(-p.world.want.lead())
		if i.Length() >= leastOff || i.Start.Equal(p.now) {
			off = append(off, i)
		}
	}
	return off
}

func (p *plan) allAsleep(groups []*group, of []int) bool {
	for _, g := range of {
		if !groups[g].sleepsNow() {
			return false
		}
	}
	return true
}

// switchNodes of a pool off and on again.
func (p *plan) switchNodes(o *pool) {
	var launched []*draft
	if len(o.before) > 0 && (len(o.off) == 0 || o.off[0].Start.After(p.now)) {
		launched = p.launch(o, p.now)
	}
	for _, i := range o.off {
		if len(o.before) == 0 || i.Start.After(p.now) {
			p.letGo(o, i, launched)
		}
		launched = p.launch(o, later(p.now, i.End))
	}
}

// letGo of nodes: by name the first time, later those that the plan itself has launched.
func (p *plan) letGo(o *pool, i calendar.Interval, launched []*draft) {
	var names, ids []any
	if launched == nil {
		for _, n := range o.nodes {
			names, ids = append(names, n.GetNodeName()), append(ids, n.GetInstanceId())
		}
	}
	for _, action := range []string{"cordon_node", "drain_node", "terminate_instances"} {
		parameters := map[string]any{"node_count": float64(len(o.nodes) + o.former())}
		if launched == nil {
			parameters["node_names"], parameters["instance_ids"] = names, ids
		}
		d := p.add(i.Start, nodesOff, action, parameters)
		d.launchedBy, d.undo, d.back = launched, "uncordon_node", map[string]any{"node_names": names}
		if action == "terminate_instances" {
			d.undo, d.back = p.again(o)
		}
	}
}

// again is how instances that were ended are had anew.
func (p *plan) again(o *pool) (action string, parameters map[string]any) {
	var types, zones []any
	spot, all := 0, 0
	alike := p.likenesses(o)
	for _, l := range slices.SortedFunc(maps.Keys(alike), likeness.compare) {
		for range alike[l] {
			types, zones = append(types, l.instanceType), append(zones, l.zone)
			all++
			if l.nodeType == shop.Spot {
				spot++
			}
		}
	}
	return launchAction(spot == all), map[string]any{"instance_types": types, "availability_zones": zones}
}

func launchAction(spot bool) string {
	if spot {
		return "launch_spot_instances"
	}
	return "launch_on_demand_instances"
}

// likeness is what nodes to launch have in common.
type likeness struct{ instanceType, zone, nodeType, arch string }

func (l likeness) compare(o likeness) int {
	return cmp.Or(cmp.Compare(l.instanceType, o.instanceType), cmp.Compare(l.zone, o.zone),
		cmp.Compare(l.nodeType, o.nodeType), cmp.Compare(l.arch, o.arch))
}

// likenesses of a pool's nodes, and how many there are of each.
func (p *plan) likenesses(o *pool) map[likeness]int {
	all := map[likeness]int{}
	for _, n := range o.nodes {
		all[likeness{n.GetInstanceType(), n.GetAvailabilityZone(), n.GetNodeType(), p.arch(n.GetInstanceType(), n.GetArchitecture())}]++
	}
	for _, s := range o.before {
		all[likeness{s.GetInstanceType(), s.GetAvailabilityZone(), s.GetNodeType(), p.arch(s.GetInstanceType(), "")}] += int(s.GetNodeCount())
	}
	return all
}

func (p *plan) arch(instanceType, known string) string {
	if t, ok := p.prices.Type(instanceType); ok && known == "" {
		return t.Architecture
	}
	return known
}

// launch what was let go, alike, and mark it as any plan marks its new nodes.
func (p *plan) launch(o *pool, at time.Time) []*draft {
	alike := p.likenesses(o)
	var launched []*draft
	count := map[string]int{}
	for _, l := range slices.SortedFunc(maps.Keys(alike), likeness.compare) {
		count[l.nodeType] += alike[l]
		launched = append(launched, p.add(at, nodesOn, launchAction(l.nodeType == shop.Spot), map[string]any{
			"instance_type": l.instanceType, "availability_zone": l.zone, "node_count": float64(alike[l]),
			"max_price": p.prices.OnDemand(p.world.state.GetRegion(), l.instanceType), "architecture": l.arch,
		}))
		launched[len(launched)-1].undo = "terminate_instances"
	}
	p.add(at, nodesOn, "wait_nodes_ready", map[string]any{"node_count": float64(len(o.nodes) + o.former())})
	for _, kind := range slices.Sorted(maps.Keys(count)) {
		p.add(at, nodesOn, "label_node", map[string]any{
			"node_type": kind, "node_count": float64(count[kind]), "labels": shop.CapacityLabels(kind),
		})
	}
	return launched
}
