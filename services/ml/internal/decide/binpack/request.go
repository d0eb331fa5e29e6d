package binpack

import (
	"fmt"
	"math"
	"path"
	"strconv"
	"strings"
	"time"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/question"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/shop"
)

// Defaults of the constraints, as the contract documents them.
const (
	defaultEvictionsPerPod = 1.0
	defaultMinSavings      = 0.05
	defaultMinSavingsUSD   = 5.0
	defaultEvictionCost    = 0.25
	defaultMinScore        = 0.5
	defaultMaxRisk         = 0.8
	defaultNodeShare       = 0.12
	defaultPoolShare       = 0.34
	defaultCoolDown        = 360
	granularity            = 1e-9 // slack for shares that are whole but for rounding
)

// limits of a request, requirements included.
type limits struct {
	spare                   load
	evictions               int // most, or -1
	perPod                  float64
	minSavings, minUSD      float64 // share of the bill; per month
	evictionCost, minScore  float64
	disrupted               string
	purchases, planned      bool
	zones, architectures    []string
	types, excluded         []string
	excludedPools, capacity []string
	maxRisk, nodeShare      float64
	poolShare               float64
	maxNodes                int
	coolDown                time.Duration
	protected               []string
}

func decode(req *mlv1.DecisionRequest) (limits, error) {
	r, c := &mlv1.BinPackRequirements{}, &mlv1.BinPackConstraints{}
	if err := question.Read("requirements", req.GetRequirements(), r); err != nil {
		return limits{}, err
	}
	if err := question.Read("constraints", req.GetConstraints(), c); err != nil {
		return limits{}, err
	}
	l := limits{
		spare:     load{cpu: r.GetSpareCpu(), memory: r.GetSpareMemory()},
		evictions: int(question.Or(c.MaxEvictions, -1)), perPod: question.Or(c.MaxEvictionsPerPod, defaultEvictionsPerPod),
		minSavings: question.Or(c.MinSavingsRatio, defaultMinSavings), minUSD: question.Or(c.MinSavingsUsd, defaultMinSavingsUSD),
		evictionCost: question.Or(c.EvictionCost, defaultEvictionCost), minScore: question.Or(c.MinScore, defaultMinScore),
		disrupted: c.GetMaxNodesDisrupted(), purchases: question.Or(c.AllowPurchases, true), planned: c.GetPlacement() == "planned",
		zones: c.GetZones(), architectures: c.GetArchitectures(), types: c.GetInstanceTypes(), excluded: c.GetExcludedInstanceTypes(),
		excludedPools: c.GetExcludedPools(), capacity: c.GetCapacityTypes(), maxRisk: question.Or(c.MaxRiskScore, defaultMaxRisk),
		nodeShare: question.Or(c.MaxNodeShare, defaultNodeShare), poolShare: question.Or(c.MaxPoolShare, defaultPoolShare),
		maxNodes: int(c.GetMaxNodes()), coolDown: time.Duration(question.Or(c.CoolDownMinutes, defaultCoolDown)) * time.Minute,
		protected: c.GetProtectedNamespaces(),
	}
	return l, l.check()
}

// check what the contract's own rules cannot say.
func (l limits) check() error {
	for i, pattern := range l.protected {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return fault.Invalid(fmt.Sprintf("constraints.protected_namespaces[%d]", i), "must be a namespace or a pattern with a star, such as kube-*")
		}
	}
	if !l.purchases && len(l.types) > 0 {
		return fault.Invalid("constraints.instance_types", "must be empty where allow_purchases is false")
	}
	if !l.purchases && len(l.capacity) > 0 {
		return fault.Invalid("constraints.capacity_types", "must be empty where allow_purchases is false")
	}
	return question.CheckPatterns(
		question.Patterns{Field: "instance_types", Given: l.types}, question.Patterns{Field: "excluded_instance_types", Given: l.excluded})
}

// shop's limits on what may be bought.
func (l limits) shop() shop.Limits {
	s := shop.Limits{
		Zones: l.zones, Architectures: l.architectures, Types: l.types, Excluded: l.excluded, ExcludedPools: l.excludedPools,
		PriceRatio: 1, MaxRisk: l.maxRisk,
	}
	if len(l.capacity) == 1 {
		s.NoSpot, s.NoOnDemand = l.capacity[0] == shop.OnDemand, l.capacity[0] == shop.Spot
	}
	return s
}

// mostEvictions among so many pods, and the constraint that says so.
func (l limits) mostEvictions(pods int) (int, string) {
	most, name := int(math.Floor(l.perPod*float64(pods)+granularity)), "max_evictions_per_pod"
	if l.evictions >= 0 && l.evictions < most {
		return l.evictions, "max_evictions"
	}
	return most, name
}

// mostDisrupted of so many nodes.
func (l limits) mostDisrupted(nodes int) int {
	if l.disrupted == "" {
		return nodes
	}
	digits, share := strings.CutSuffix(l.disrupted, "%")
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0 // the contract's pattern lets nothing else through
	}
	if share {
		return nodes * n / 100
	}
	return min(n, nodes)
}
