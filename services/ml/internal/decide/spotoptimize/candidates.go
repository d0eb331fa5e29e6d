package spotoptimize

import (
	"cmp"
	"math"
	"slices"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
)

// maxCandidates is the contract's limit.
const maxCandidates = 500

// candidates with what was thought of them: those taken first, then the cheapest
// vCPU first, and those out of the question last.
func (q *problem) candidates(all []*column, p plan) []*mlv1.Candidate {
	taken := map[*column]bool{}
	for _, c := range p.buy {
		taken[c] = true
	}
	ordered := slices.Clone(all)
	slices.SortStableFunc(ordered, func(a, b *column) int {
		return cmp.Or(cmp.Compare(nearness(a, taken), nearness(b, taken)), cmp.Compare(perCPU(a), perCPU(b)))
	})
	why := q.whyNot(p)
	var list []*mlv1.Candidate
	for _, c := range ordered[:min(len(ordered), maxCandidates)] {
		reason := candidateTaken
		if !taken[c] {
			reason = cmp.Or(c.reason, why(c))
		}
		list = append(list, &mlv1.Candidate{
			InstanceType: c.Type.Name, AvailabilityZone: c.Zone, NodeType: c.nodeType(), HourlyPrice: c.price,
			RiskScore: c.score, Taken: taken[c], Reason: reason,
		})
	}
	return list
}

// nearness to being taken: 0 if it was, 2 if it was out of the question.
func nearness(c *column, taken map[*column]bool) int {
	switch {
	case taken[c]:
		return 0
	case c.reason == candidateExcluded || c.reason == candidateArchitecture || c.reason == candidateNoPrice:
		return 2
	}
	return 1
}

// whyNot says of a column that could have been taken why it was not.
func (q *problem) whyNot(p plan) func(*column) string {
	small, full, largest := q.smallest(p), q.spotFull(p), q.largest(p.gone)
	led := q.w.ledgerFor(p.gone, q.l)
	dearest := 0.0 // price of a vCPU, among those taken
	for _, c := range p.buy {
		dearest = max(dearest, perCPU(c))
		led.add(c)
	}
	return func(c *column) string {
		switch {
		case len(p.gone) > 0 && !small.Within(c.room):
			return candidateTooSmall
		case c.spot && full && perCPU(c) < dearest:
			return candidateSpotShare
		case !led.zoneOpen(c) && perCPU(c) < dearest:
			return candidateZoneShare
		case len(p.gone) > 0 && float64(c.Type.VCPU) > largest:
			return candidatePoolShare // alone it would be too much of the whole
		}
		return candidateDearer
	}
}

func perCPU(c *column) float64 { return c.price / float64(c.Type.VCPU) }

// smallest need of the pods that move, resource by resource.
func (q *problem) smallest(p plan) fit.Amounts {
	least := fit.Amounts{CPU: math.MaxInt64, Memory: math.MaxInt64, Pods: 1}
	for _, n := range p.gone {
		for _, pod := range q.w.nodes[n].moves {
			need := q.w.book.Requests(pod)
			least.CPU, least.Memory = min(least.CPU, need.CPU), min(least.Memory, need.Memory)
		}
	}
	if least.CPU == math.MaxInt64 {
		return fit.Amounts{}
	}
	return least
}
