package rightsize

import (
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/question"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/usage"
)

// Rule is how much of what was used a request covers.
type Rule struct {
	// Quantile of the samples, 0 to 1.
	Quantile float64
	// Margin is the share added to it.
	Margin float64
}

// policies as the contract documents them: CPU, then memory. A lack of CPU slows down, a lack
// of memory kills, so memory is covered more.
var policies = map[string][2]Rule{
	"cost":     {{0.90, 0.05}, {0.98, 0.10}},
	"balanced": {{0.95, 0.10}, {0.99, 0.15}},
	"safe":     {{0.99, 0.15}, {1, 0.25}},
}

// Defaults of requirements and constraints, as the contract documents them.
const (
	defaultPolicy      = "balanced"
	defaultHeadroom    = 0.15
	defaultMinCPU      = 0.01
	defaultMinMemory   = 0.03125
	defaultMaxDecrease = 0.3
	defaultMinChange   = 0.1
	defaultMinSavings  = 0.1
	defaultMaxRisk     = 0.8
	defaultPerformance = 0.01

	gib = 1 << 30
	mib = 1 << 20
)

// wants is what is asked for.
type wants struct {
	cpu, memory Rule
	instances   bool
	headroom    float64
}

// bounds of one resource in its own unit: millicores or bytes. 0: no upper bound.
type bounds struct{ least, most int64 }

// limits is what must not be.
type limits struct {
	namespaces, excludedNamespaces []string
	cpu, memory                    bounds
	maxDecrease, minChange         float64
	types, excluded                []string
	minSavings, maxRisk            float64
	maxPerformanceRisk             float64
}

// decode reads the two Structs of a request.
func decode(req *mlv1.DecisionRequest) (wants, limits, error) {
	r, c := &mlv1.RightsizeRequirements{}, &mlv1.RightsizeConstraints{}
	if err := question.Read("requirements", req.GetRequirements(), r); err != nil {
		return wants{}, limits{}, err
	}
	if err := question.Read("constraints", req.GetConstraints(), c); err != nil {
		return wants{}, limits{}, err
	}
	l := limits{
		namespaces: c.GetNamespaces(), excludedNamespaces: c.GetExcludedNamespaces(),
		cpu:         bounds{int64(1000 * question.Or(c.MinCpu, defaultMinCPU)), int64(1000 * c.GetMaxCpu())},
		memory:      bounds{int64(gib * question.Or(c.MinMemory, defaultMinMemory)), int64(gib * c.GetMaxMemory())},
		maxDecrease: question.Or(c.MaxDecrease, defaultMaxDecrease), minChange: question.Or(c.MinChange, defaultMinChange),
		types: c.GetInstanceTypes(), excluded: c.GetExcludedInstanceTypes(),
		minSavings: question.Or(c.MinSavingsRatio, defaultMinSavings), maxRisk: question.Or(c.MaxRiskScore, defaultMaxRisk),
		maxPerformanceRisk: question.Or(c.MaxPerformanceRisk, defaultPerformance),
	}
	return wantsOf(r, len(req.GetCurrentState().GetNodes()) > 0), l, check(l)
}

func wantsOf(r *mlv1.RightsizeRequirements, nodes bool) wants {
	policy := r.GetPolicy()
	if policy == "" {
		policy = defaultPolicy
	}
	rules := policies[policy]
	return wants{
		cpu:       Rule{question.Or(r.CpuQuantile, rules[0].Quantile), question.Or(r.CpuMargin, rules[0].Margin)},
		memory:    Rule{question.Or(r.MemoryQuantile, rules[1].Quantile), question.Or(r.MemoryMargin, rules[1].Margin)},
		instances: question.Or(r.Instances, nodes), headroom: question.Or(r.Headroom, defaultHeadroom),
	}
}

func check(l limits) error {
	if l.cpu.most > 0 && l.cpu.most < l.cpu.least {
		return fault.Invalid("constraints.max_cpu", "must not be less than min_cpu")
	}
	if l.memory.most > 0 && l.memory.most < l.memory.least {
		return fault.Invalid("constraints.max_memory", "must not be less than min_memory")
	}
	if err := usage.CheckPatterns("constraints.namespaces", l.namespaces); err != nil {
		return err
	}
	if err := usage.CheckPatterns("constraints.excluded_namespaces", l.excludedNamespaces); err != nil {
		return err
	}
	return question.CheckPatterns(
		question.Patterns{Field: "instance_types", Given: l.types},
		question.Patterns{Field: "excluded_instance_types", Given: l.excluded})
}

// looksAt says whether the namespace is to be sized.
func (l limits) looksAt(namespace string) bool {
	return (len(l.namespaces) == 0 || usage.Matches(l.namespaces, namespace)) && !usage.Matches(l.excludedNamespaces, namespace)
}
