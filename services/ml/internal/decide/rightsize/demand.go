package rightsize

import (
	"math"
	"strings"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/shop"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/usage"
)

// demand of a node: what the pods that would move need, and what all its pods used.
type demand struct {
	needs  fit.Amounts
	used   map[int64]*used // by hour
	covers bool            // usage of some pod is known
}

// used in an hour: millicores and MiB.
type used struct{ cpu, memory float64 }

// workloadUse is what one pod of a workload needs and used.
type workloadUse struct {
	cpu, memory int64 // targets, millicores and bytes
	hours       map[int64]*used
}

// usedQuantile of an hour's samples of the busiest replica counts as what each pod used: pods do not
// all peak at once, so adding up peaks errs on the side of room.
const usedQuantile = 0.95

// measure the nodes' demand. A pod needs what it requests, or what usage asks for, if
// that is more: smaller requests count once they are set.
func (s *sizing) measure(containers []usage.Container, changes []*mlv1.RequestChange) {
	byWorkload := map[string]*workloadUse{}
	for i, c := range containers {
		u := byWorkload[c.Workload()]
		if u == nil {
			u = &workloadUse{hours: map[int64]*used{}}
			byWorkload[c.Workload()] = u
		}
		u.cpu += changes[i].GetCpu().GetTarget()
		u.memory += changes[i].GetMemory().GetTarget()
		for _, h := range c.Hours {
			one := u.hours[h.At]
			if one == nil {
				one = &used{}
				u.hours[h.At] = one
			}
			if h.CPU != nil {
				one.cpu += usage.QuantileOf(h.CPU, usedQuantile)
			}
			if h.Memory != nil {
				one.memory += usage.QuantileOf(h.Memory, usedQuantile)
			}
		}
	}
	s.demand = make([]demand, len(s.world.Nodes))
	for i, n := range s.world.Nodes {
		d := demand{used: map[int64]*used{}}
		for _, pod := range n.Pods {
			d.take(byWorkload[workloadOf(s.world.Book.Pod(pod))])
		}
		for _, pod := range n.Moves {
			need := s.world.Book.Requests(pod)
			if u := byWorkload[workloadOf(s.world.Book.Pod(pod))]; u != nil {
				need.CPU, need.Memory = max(need.CPU, u.cpu), max(need.Memory, u.memory)
			}
			d.needs = d.needs.Plus(need)
		}
		s.demand[i] = d
	}
}

// take a pod's use in.
func (d *demand) take(u *workloadUse) {
	if u == nil {
		return
	}
	d.covers = true
	for at, one := range u.hours {
		sum := d.used[at]
		if sum == nil {
			sum = &used{}
			d.used[at] = sum
		}
		sum.cpu, sum.memory = sum.cpu+one.cpu, sum.memory+one.memory
	}
}

// workloadOf a pod as namespace/kind/name: the Deployment where its ReplicaSet is one's, which
// the ReplicaSet's name tells.
func workloadOf(pod *fleetv1.Pod) string {
	kind, name := pod.GetOwner().GetKind(), pod.GetOwner().GetName()
	if hash := pod.GetLabels()["pod-template-hash"]; kind == "ReplicaSet" && hash != "" {
		if deployment, ok := strings.CutSuffix(name, "-"+hash); ok {
			kind, name = "Deployment", deployment
		}
	}
	return pod.GetNamespace() + "/" + kind + "/" + name
}

// holds says whether the pods of each node of the group fit on one of the column, with headroom in
// every dimension that is known.
func (s *sizing) holds(g *group, c *shop.Column) bool {
	spare := 1 + s.answer.want.headroom
	for _, n := range g.nodes {
		needs := s.demand[n].needs
		needs.CPU = int64(math.Ceil(float64(needs.CPU) * spare))
		needs.Memory = int64(math.Ceil(float64(needs.Memory) * spare))
		needs.Pods = int64(math.Ceil(float64(needs.Pods) * spare))
		if !needs.Within(c.Room) {
			return false
		}
		for _, pod := range s.world.Nodes[n].Moves {
			if !fit.Admits(s.world.Book.Pod(pod), &c.Blank) {
				return false
			}
		}
	}
	return true
}

// performance risk of the column: the share of hours in which the use of a node's pods exceeds
// what it has, of the node where that is highest; nil without usage.
func (s *sizing) performance(g *group, c *shop.Column) *mlv1.ExceedanceRisk {
	var worst *mlv1.ExceedanceRisk
	for _, n := range g.nodes {
		d := s.demand[n]
		if !d.covers || len(d.used) == 0 {
			continue
		}
		above := 0
		for _, u := range d.used {
			if u.cpu > float64(c.Full.CPU) || u.memory*mib > float64(c.Full.Memory) {
				above++
			}
		}
		risk := riskOf(float64(above)/float64(len(d.used)), len(d.used))
		if worst == nil || risk.GetShare() > worst.GetShare() || risk.GetShare() == worst.GetShare() && risk.GetHigh() > worst.GetHigh() {
			worst = risk
		}
	}
	return worst
}
