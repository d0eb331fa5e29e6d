package change

import (
	"slices"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/figure"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/scene"
)

// Risk fills the fields of RiskAssessment: scores speak of the new spot nodes, shares of
// the whole cluster as it will be.
func (p Plan) Risk(w *scene.World) *structpb.Struct {
	var score, highest, interruptions, spotCPU, total, moved float64
	pools, zones, fresh := map[string]float64{}, map[string]float64{}, map[string]bool{}
	for i, n := range w.Nodes {
		if slices.Contains(p.Gone, i) {
			moved += float64(len(n.Moves))
			continue
		}
		pools[n.Metric.GetInstanceType()+"/"+n.Metric.GetAvailabilityZone()+"/"+n.Metric.GetNodeType()] += n.VCPU
		zones[n.Metric.GetAvailabilityZone()] += n.VCPU
		total += n.VCPU
	}
	for _, c := range p.Buy {
		vcpu := float64(c.Type.VCPU)
		pools[c.Pool()+"/"+c.NodeType()] += vcpu
		zones[c.Zone] += vcpu
		total += vcpu
		interruptions += c.Probability
		if c.AsSpot {
			fresh[c.Pool()] = true
			score, spotCPU, highest = score+c.Score*vcpu, spotCPU+vcpu, max(highest, c.Score)
		}
	}
	if spotCPU > 0 {
		score /= spotCPU
	}
	return figure.Struct(map[string]any{
		"average_risk_score": figure.Digits(score), "max_risk_score": highest,
		"expected_interruptions_per_month": figure.Digits(interruptions), "largest_pool_share": figure.Digits(largest(pools, total)),
		"largest_zone_share": figure.Digits(largest(zones, total)), "pools": float64(len(fresh)), "pods_moved": moved, "level": RiskLevel(score),
	})
}

func largest(parts map[string]float64, total float64) float64 {
	most := 0.0
	for _, v := range parts {
		most = max(most, v)
	}
	if total == 0 {
		return 0
	}
	return most / total
}

// RiskLevel in the words of RiskAssessment.
func RiskLevel(average float64) string {
	switch {
	case average < 0.35:
		return "LOW"
	case average < 0.65:
		return "MEDIUM"
	}
	return "HIGH"
}
