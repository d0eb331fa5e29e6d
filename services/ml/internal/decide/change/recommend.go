package change

import (
	"cmp"
	"slices"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/figure"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/scene"
)

// Recommendations group equal nodes, those that cost most first. Each gets the
// share of the savings that its cost on demand has in the whole.
func (p Plan) Recommendations(savings float64) []*mlv1.Recommendation {
	var all []*mlv1.Recommendation
	index := map[string]*mlv1.Recommendation{}
	whole := 0.0
	for _, c := range p.Buy {
		whole += c.OnDemand
		key := c.Pool() + c.NodeType()
		r := index[key]
		if r == nil {
			r = &mlv1.Recommendation{
				InstanceType: c.Type.Name, RiskScore: c.Score, HourlyPrice: c.Price, AvailabilityZone: c.Zone,
				NodeType: c.NodeType(), OnDemandHourlyPrice: c.OnDemand, Architecture: c.Type.Architecture,
			}
			index[key] = r
			all = append(all, r)
		}
		r.NodeCount++
	}
	for _, r := range all {
		r.MonthlySavings = figure.Cents(savings * r.GetOnDemandHourlyPrice() * float64(r.GetNodeCount()) / whole)
	}
	slices.SortStableFunc(all, func(a, b *mlv1.Recommendation) int {
		return cmp.Or(
			cmp.Compare(b.GetHourlyPrice()*float64(b.GetNodeCount()), a.GetHourlyPrice()*float64(a.GetNodeCount())),
			cmp.Compare(a.GetInstanceType(), b.GetInstanceType()), cmp.Compare(a.GetAvailabilityZone(), b.GetAvailabilityZone()),
			cmp.Compare(a.GetNodeType(), b.GetNodeType()))
	})
	return all
}

// Verdicts on every node, in the order of their names.
func (p Plan) Verdicts(w *scene.World) []*mlv1.NodeVerdict {
	var all []*mlv1.NodeVerdict
	for i, n := range w.Nodes {
		v := &mlv1.NodeVerdict{NodeName: n.Metric.GetNodeName(), Verdict: "keep", Reason: n.Reason, Detail: n.Detail}
		if slices.Contains(p.Gone, i) {
			v.Verdict, v.Reason, v.Detail, v.PodsMoved = "replace", scene.ReasonReplaced, "", int32(len(n.Moves))
		}
		all = append(all, v)
	}
	return all
}
