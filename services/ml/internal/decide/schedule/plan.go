package schedule

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/calendar"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/figure"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

const (
	// settle is how long pods get to end before their nodes go.
	settle = 5 * time.Minute
	// leastOff that a node is gone for it to be worth the going and coming.
	leastOff = 30 * time.Minute
)

// lead is how long before the scope must be awake that nodes are launched.
func (w *wants) lead() time.Duration {
	sum := w.nodeReady
	for _, s := range w.stages {
		sum += s.ready
	}
	return sum
}

// draft is a step without its number.
type draft struct {
	at         time.Time
	order      int // among those at the same time
	action     string
	parameters map[string]any
	launchedBy []*draft // whose nodes are meant
	undo       string   // action that takes it back; empty: nothing does
	back       map[string]any
	number     int
}

// Orders of steps at one time: what ends goes before what begins.
const (
	scaleDown = iota
	nodesOff
	nodesOn
	scaleUp
)

// plan is the steps in the making.
type plan struct {
	world  *world
	prices *market.Snapshot
	now    time.Time
	drafts []*draft
	pools  []*pool
	kept   []*mlv1.NodeVerdict
}

// add a step; what should have begun already begins now.
func (p *plan) add(at time.Time, order int, action string, parameters map[string]any) *draft {
	d := &draft{at: later(at, p.now), order: order, action: action, parameters: parameters}
	p.drafts = append(p.drafts, d)
	return d
}

func (a *answer) plan() *plan {
	p := &plan{world: a.world, prices: a.prices, now: a.now}
	p.sortNodes(a.groups)
	for _, g := range a.groups {
		p.scale(g)
	}
	for _, one := range p.pools {
		p.switchNodes(one)
	}
	return p
}

// scale the workloads of a group down and up.
func (p *plan) scale(g *group) {
	if !startsAsleep(g, p.now) {
		p.wakeAt(g, p.now.Add(p.world.want.lead()), true)
	}
	for _, i := range g.asleep {
		p.sleepAt(g, i.Start)
		p.wakeAt(g, i.End, false)
	}
}

func startsAsleep(g *group, now time.Time) bool {
	return len(g.asleep) > 0 && !g.asleep[0].Start.After(now)
}

// sleepAt puts the stages to sleep in the reverse of the order they wake in.
func (p *plan) sleepAt(g *group, at time.Time) {
	for s := len(p.world.want.stages) - 1; s >= 0; s-- {
		var all []*workload
		for _, one := range p.inStage(g, s) {
			if one.running > 0 || at.After(p.now) {
				all = append(all, one)
			}
		}
		p.scaleTo(at, scaleDown, all, false)
	}
}

// wakeAt wakes the stages so that the last is ready by then; onlySleepers wakes those alone that
// are asleep though they should not be.
func (p *plan) wakeAt(g *group, end time.Time, onlySleepers bool) {
	left := time.Duration(0)
	for s := len(p.world.want.stages) - 1; s >= 0; s-- {
		left += p.world.want.stages[s].ready
		var all []*workload
		for _, one := range p.inStage(g, s) {
			if one.asleep || !onlySleepers {
				all = append(all, one)
			}
		}
		p.scaleTo(end.Add(-left), scaleUp, all, true)
	}
}

// inStage are the workloads of a group that sleep and wake there.
func (p *plan) inStage(g *group, stage int) []*workload {
	var all []*workload
	for _, one := range g.workloads {
		if one.sleeps && one.replicas > 0 && p.world.stageOf(one) == stage {
			all = append(all, one)
		}
	}
	return all
}

// scaleTo their replicas or to nothing, in one step, which the opposite takes back.
func (p *plan) scaleTo(at time.Time, order int, all []*workload, awake bool) {
	if len(all) == 0 {
		return
	}
	var there, back []any
	for _, one := range all {
		before, after := one.replicas, 0
		if awake {
			before, after = after, before
		}
		there, back = append(there, scaled(one, before, after)), append(back, scaled(one, after, before))
	}
	d := p.add(at, order, "scale_workloads", map[string]any{"workloads": there})
	d.undo, d.back = d.action, map[string]any{"workloads": back}
}

func scaled(one *workload, before, after int) map[string]any {
	return map[string]any{
		"namespace": one.namespace, "kind": one.kind, "name": one.name,
		"replicas": float64(after), "replicas_before": float64(before),
	}
}

// steps in order of time, numbered.
func (p *plan) steps() []*mlv1.ExecutionStep {
	slices.SortStableFunc(p.drafts, func(a, b *draft) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.order, b.order))
	})
	var all []*mlv1.ExecutionStep
	for i, d := range p.drafts {
		d.number = i + 1
		all = append(all, d.step())
	}
	return all
}

// step of the draft, once those before it have their numbers.
func (d *draft) step() *mlv1.ExecutionStep {
	if len(d.launchedBy) > 0 {
		var numbers []any
		for _, by := range d.launchedBy {
			numbers = append(numbers, float64(by.number))
		}
		d.parameters["launched_by_steps"] = numbers
		if d.undo == "uncordon_node" {
			d.back = map[string]any{"launched_by_steps": numbers}
		}
	}
	step := &mlv1.ExecutionStep{Step: int32(d.number), Action: d.action, Parameters: figure.Struct(d.parameters), At: timestamppb.New(d.at)}
	if d.undo == "terminate_instances" {
		d.back = map[string]any{"launched_by_step": float64(d.number)}
	}
	if d.undo != "" {
		step.Undo = &mlv1.UndoStep{Action: d.undo, Parameters: figure.Struct(d.back)}
	}
	return step
}

// verdicts on every node, in the order of their names.
func (p *plan) verdicts() []*mlv1.NodeVerdict {
	all := slices.Clone(p.kept)
	for _, one := range p.pools {
		for _, n := range one.nodes {
			v := &mlv1.NodeVerdict{NodeName: n.GetNodeName(), Verdict: sleep, Reason: reasonSleeps}
			if len(one.off) == 0 {
				v.Verdict, v.Reason = keep, reasonNoSleep
			}
			all = append(all, v)
		}
	}
	slices.SortFunc(all, func(a, b *mlv1.NodeVerdict) int { return strings.Compare(a.GetNodeName(), b.GetNodeName()) })
	return all
}

// nodesThatGo at least once.
func (p *plan) nodesThatGo() int {
	n := 0
	for _, one := range p.pools {
		if len(one.off) > 0 {
			n += len(one.nodes) + one.former()
		}
	}
	return n
}

// savedHours of nodes within the horizon.
func (p *plan) savedHours() float64 {
	sum := 0.0
	for _, one := range p.pools {
		sum += p.offHours(one) * float64(len(one.nodes)+one.former())
	}
	return sum
}

// savedUSD within the horizon.
func (p *plan) savedUSD() float64 {
	sum := 0.0
	for _, one := range p.pools {
		sum += p.offHours(one) * one.price
	}
	return sum
}

func (p *plan) offHours(one *pool) float64 {
	sum := 0.0
	for _, i := range calendar.Clip(one.off, p.now, p.now.Add(p.world.want.horizon)) {
		sum += i.Length().Hours()
	}
	return sum
}

// priceOf a node, USD per hour; 0: unknown.
func priceOf(region string, n *fleetv1.NodeMetric, prices *market.Snapshot) float64 {
	switch {
	case n.GetHourlyPrice() > 0:
		return n.GetHourlyPrice()
	case n.GetNodeType() == "spot":
		return prices.Spot(region, n.GetInstanceType(), n.GetAvailabilityZone())
	case n.GetOnDemandHourlyPrice() > 0:
		return n.GetOnDemandHourlyPrice()
	}
	return prices.OnDemand(region, n.GetInstanceType())
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
