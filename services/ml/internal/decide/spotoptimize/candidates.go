package spotoptimize

import (
	"cmp"
	"math"
	"slices"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/shop"
)

// maxCandidates is the contract's limit.
const maxCandidates = 500

// candidates with what was thought of them: those taken first, then the cheapest
// vCPU first, and those out of the question last.
func (q *problem) candidates(all []*column, p plan) []*mlv1.Candidate {
	taken := map[*column]bool{}
	for _, c := range p.Buy {
		taken[c] = true
	}
	ordered := slices.Clone(all)
	slices.SortStableFunc(ordered, func(a, b *column) int {
		return cmp.Or(cmp.Compare(nearness(a, taken), nearness(b, taken)), cmp.Compare(perCPU(a), perCPU(b)))
	})
	why := q.whyNot(p)
	var list []*mlv1.Candidate
	for _, c := range ordered[:min(len(ordered), maxCandidates)] {
		reason := shop.Taken
		if !taken[c] {
			reason = cmp.Or(c.Reason, why(c))
		}
		list = append(list, &mlv1.Candidate{
			InstanceType: c.Type.Name, AvailabilityZone: c.Zone, NodeType: c.NodeType(), HourlyPrice: c.Price,
			RiskScore: c.Score, Taken: taken[c], Reason: reason,
		})
	}
	return list
}

// nearness to being taken: 0 if it was, 2 if it was out of the question.
func nearness(c *column, taken map[*column]bool) int {
	switch {
	case taken[c]:
		return 0
	case c.Reason == shop.Excluded || c.Reason == shop.Architecture || c.Reason == shop.NoPrice:
		return 2
	}
	return 1
}

// whyNot says of a column that could have been taken why it was not.
func (q *problem) whyNot(p plan) func(*column) string {
	small, full, largest := q.smallest(p), q.spotFull(p), q.largest(p.Gone)
	led := q.w.ledgerFor(p.Gone, q.l)
	dearest := 0.0 // price of a vCPU, among those taken
	for _, c := range p.Buy {
		dearest = max(dearest, perCPU(c))
		led.add(c)
	}
	return func(c *column) string {
		switch {
		case len(p.Gone) > 0 && !small.Within(c.Room):
			return shop.TooSmall
		case c.AsSpot && full && perCPU(c) < dearest:
			return shop.SpotShare
		case !led.zoneOpen(c) && perCPU(c) < dearest:
			return candidateZoneShare
		case len(p.Gone) > 0 && float64(c.Type.VCPU) > largest:
			return shop.PoolShare // alone it would be too much of the whole
		}
		return shop.Dearer
	}
}

func perCPU(c *column) float64 { return c.Price / float64(c.Type.VCPU) }

// smallest need of the pods that move, resource by resource.
func (q *problem) smallest(p plan) fit.Amounts {
	least := fit.Amounts{CPU: math.MaxInt64, Memory: math.MaxInt64, Pods: 1}
	for _, n := range p.Gone {
		for _, pod := range q.w.Nodes[n].Moves {
			need := q.w.Book.Requests(pod)
			least.CPU, least.Memory = min(least.CPU, need.CPU), min(least.Memory, need.Memory)
		}
	}
	if least.CPU == math.MaxInt64 {
		return fit.Amounts{}
	}
	return least
}
