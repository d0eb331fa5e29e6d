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
	dearest := 0.0 // price of a vCPU, among those taken
	for _, c := range p.buy {
		taken[c] = true
		dearest = max(dearest, perCPU(c))
	}
	ordered := slices.Clone(all)
	class := func(c *column) int {
		switch {
		case taken[c]:
			return 0
		case c.reason == candidateExcluded || c.reason == candidateArchitecture || c.reason == candidateNoPrice:
			return 2
		}
		return 1
	}
	slices.SortStableFunc(ordered, func(a, b *column) int {
		return cmp.Or(cmp.Compare(class(a), class(b)), cmp.Compare(perCPU(a), perCPU(b)))
	})
	small, crowded, full := q.smallest(p), q.crowded(p), !q.withOneMoreSpot(p)
	var list []*mlv1.Candidate
	for _, c := range ordered[:min(len(ordered), maxCandidates)] {
		reason := c.reason
		switch {
		case taken[c]:
			reason = candidateTaken
		case reason != "":
		case len(p.gone) > 0 && !small.Within(c.room):
			reason = candidateTooSmall
		case c.spot && full && perCPU(c) < dearest:
			reason = candidateSpotShare
		case c.spot && crowded(c):
			reason = candidatePoolShare
		default:
			reason = candidateDearer
		}
		list = append(list, &mlv1.Candidate{
			InstanceType: c.Type.Name, AvailabilityZone: c.Zone, NodeType: c.nodeType(), HourlyPrice: c.price,
			RiskScore: c.score, Taken: taken[c], Reason: reason,
		})
	}
	return list
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

// crowded says whether one node of a column would be too much of the whole.
func (q *problem) crowded(p plan) func(*column) bool {
	largest := q.largest(p.gone)
	return func(c *column) bool { return len(p.gone) > 0 && float64(c.Type.VCPU) > largest }
}
