package spotoptimize

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/figure"
)

// mostRivals is how many plans are remembered while the best is looked for.
const mostRivals = 16

// Reasons of RunnerUp, as the contract names them.
const (
	rivalDearer    = "dearer"
	rivalRestarts  = "interruptions"
	rivalCrowding  = "concentration"
	rivalTooLittle = "saves_too_little"
)

// remember a plan that keeps every limit, for the runner-up.
func (q *problem) remember(o outcome) {
	if !o.ok() || q.light || len(o.plan.Gone) == 0 {
		return
	}
	q.rivals = append(q.rivals, o.plan)
	slices.SortStableFunc(q.rivals, func(a, b plan) int { return cmp.Compare(q.w.worth(a), q.w.worth(b)) })
	q.rivals = q.rivals[:min(len(q.rivals), mostRivals)]
}

// shape of a plan: which nodes go and which pools are bought from. Plans of one
// shape differ only in how many of each.
func shape(p plan, w *world) string {
	pools := map[string]bool{}
	for _, c := range p.Buy {
		pools[c.Pool()+"/"+c.NodeType()] = true
	}
	var names []string
	for _, n := range p.Gone {
		names = append(names, w.Nodes[n].Metric.GetNodeName())
	}
	slices.Sort(names)
	return strings.Join(slices.Sorted(maps.Keys(pools)), " ") + "\x00" + strings.Join(names, " ")
}

// best of the rivals that is of another shape than the chosen plan, nil if there is none.
func (q *problem) bestRival(chosen plan, fresh bool) *plan {
	var best *plan
	its := shape(chosen, q.w)
	for _, p := range q.rivals {
		// Judged better than the chosen one is only what did not last: the chosen plan
		// was hardened against more schedulers, and carried on.
		lasts := fresh || len(chosen.Gone) == 0 || !q.saves(p) || q.w.worth(p) >= q.w.worth(chosen)
		if lasts && shape(p, q.w) != its && (best == nil || q.w.worth(p) < q.w.worth(*best)) {
			best = &p
		}
	}
	return best
}

// runnerUp is the best plan of another shape, nil if there is none.
func (q *problem) runnerUp(chosen plan, fresh bool) *mlv1.RunnerUp {
	best := q.bestRival(chosen, fresh)
	if best == nil {
		return nil
	}
	savings, already := q.savings(*best, fresh), 0.0
	if fresh {
		already = q.w.CostPerHour() // of nodes that the question was not about
	}
	r := &mlv1.RunnerUp{
		Recommendations: best.Recommendations(savings), CostPerHour: best.CostAfter(q.w.World) - already, EstimatedSavings: savings,
		RiskAssessment: best.Risk(q.w.World), JudgedPerHour: q.w.worth(*best) - already, ChosenJudgedPerHour: q.w.worth(chosen) - already,
		Reason: whyLost(q.w.judge(*best), q.w.judge(chosen)),
	}
	if len(chosen.Buy)+len(chosen.Gone) == 0 || !fresh && !q.saves(*best) {
		r.Reason = rivalTooLittle
	}
	for _, n := range best.Gone {
		r.ReplacedNodes = append(r.ReplacedNodes, q.w.Nodes[n].Metric.GetNodeName())
	}
	slices.Sort(r.ReplacedNodes)
	return r
}

// savings in USD per month: of fresh capacity against its own price on demand, else
// against what the cluster costs today.
func (q *problem) savings(p plan, fresh bool) float64 {
	saved := q.w.CostPerHour() - p.CostAfter(q.w.World)
	if fresh {
		saved = 0
		for _, c := range p.Buy {
			saved += c.OnDemand - c.Price
		}
	}
	return figure.Cents(max(0, saved) * figure.HoursPerMonth)
}

// whyLost is the part of the judgement that speaks most against a plan.
func whyLost(lost, won judged) string {
	bill, restarts, crowding := lost.bill-won.bill, lost.restarts-won.restarts, lost.crowding-won.crowding
	switch {
	case bill >= restarts && bill >= crowding:
		return rivalDearer
	case restarts >= crowding:
		return rivalRestarts
	}
	return rivalCrowding
}

// leaning is the pool that most vCPU of the plan is bought from, as type/zone/kind.
func leaning(p plan) string {
	cpu := map[string]int{}
	for _, c := range p.Buy {
		cpu[c.Pool()+"/"+c.NodeType()] += c.Type.VCPU
	}
	best := ""
	for _, pool := range slices.Sorted(maps.Keys(cpu)) {
		if best == "" || cpu[pool] > cpu[best] {
			best = pool
		}
	}
	return best
}

// reconsider a plan: what would be bought without the pool it leans on most is a rival,
// and takes its place in the rare case that it is worth more.
func (q *problem) reconsider(chosen plan) plan {
	if q.effort() == 0 || len(chosen.Buy) == 0 {
		return chosen
	}
	q.spent++
	reasons := q.w.reasons()
	other, ok := q.elsewhere(chosen, false)
	q.w.restore(reasons)
	if !ok {
		return chosen
	}
	if q.w.worth(other) >= q.w.worth(chosen) {
		q.rivals = append(q.rivals, other)
		return chosen
	}
	q.rivals = append(q.rivals, chosen)
	q.harden(&other)
	if !q.saves(other) || q.w.worth(other) >= q.w.worth(chosen) {
		return chosen
	}
	return q.extend(other)
}

type reason struct{ word, detail string }

// reasons why nodes stay, as known so far.
func (w *world) reasons() []reason {
	var all []reason
	for _, n := range w.Nodes {
		all = append(all, reason{n.Reason, n.Detail})
	}
	return all
}

func (w *world) restore(all []reason) {
	for i, n := range w.Nodes {
		n.Reason, n.Detail = all[i].word, all[i].detail
	}
}
