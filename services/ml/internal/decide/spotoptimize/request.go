package spotoptimize

import (
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/question"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/shop"
)

// Defaults of the constraints, as the contract documents them.
const (
	defaultMaxSpot     = 1.0
	defaultPoolShare   = 0.34
	defaultPriceRatio  = 1.0
	defaultMaxRisk     = 0.8
	defaultMinSavings  = 0.05
	defaultGranularity = 1e-9 // slack for shares that are whole but for rounding
)

// wants is what must be had.
type wants struct {
	cpu, memoryGiB float64
	nodes          int
	urgent         bool
}

// limits is what must not be.
type limits struct {
	maxSpot, poolShare, priceRatio float64
	floorCPU, maxRisk, minSavings  float64
	maxNodes                       int
	zones, architectures           []string
	types, excluded, excludedPools []string

	finer
}

// decode reads the two Structs of a request strictly: an unknown key or a wrong
// type is the caller's mistake and is named, never ignored.
func decode(req *mlv1.DecisionRequest) (wants, limits, error) {
	r, c := &mlv1.SpotOptimizeRequirements{}, &mlv1.SpotOptimizeConstraints{}
	if err := checkNested(req); err != nil {
		return wants{}, limits{}, err
	}
	if err := question.Read("requirements", req.GetRequirements(), r); err != nil {
		return wants{}, limits{}, err
	}
	if err := question.Read("constraints", req.GetConstraints(), c); err != nil {
		return wants{}, limits{}, err
	}
	w := wants{
		cpu: max(r.GetCpuRequired(), r.GetCpu()), memoryGiB: max(r.GetMemoryRequired(), r.GetMemory()),
		nodes: int(r.GetNodeCount()), urgent: r.GetUrgent(),
	}
	l := limits{
		maxSpot: question.Or(c.MaxSpotPercentage, defaultMaxSpot), poolShare: question.Or(c.MaxPoolShare, defaultPoolShare),
		priceRatio: question.Or(c.MaxPriceRatio, defaultPriceRatio), floorCPU: question.Or(c.OnDemandFloorCpu, 0.0),
		maxRisk: question.Or(c.MaxRiskScore, defaultMaxRisk), minSavings: question.Or(c.MinSavingsRatio, defaultMinSavings),
		maxNodes: int(c.GetMaxNodes()), zones: c.GetZones(), architectures: c.GetArchitectures(),
		types: c.GetInstanceTypes(), excluded: c.GetExcludedInstanceTypes(), excludedPools: c.GetExcludedPools(),
	}
	l.refine(c)
	l.history = r.GetPoolHistory()
	return w, l, question.CheckPatterns(
		question.Patterns{Field: "instance_types", Given: l.types}, question.Patterns{Field: "excluded_instance_types", Given: l.excluded})
}

// shop's limits on what may be bought.
func (l limits) shop(want wants) shop.Limits {
	s := shop.Limits{
		Zones: l.zones, Architectures: l.architectures, Types: l.types, Excluded: l.excluded, ExcludedPools: l.excludedPools,
		PriceRatio: l.priceRatio, MaxRisk: l.maxRisk, NoSpot: l.maxSpot == 0,
	}
	if want.nodes > 0 {
		s.LeastCPU, s.LeastMemoryGiB = want.cpu, want.memoryGiB
	}
	return s
}
