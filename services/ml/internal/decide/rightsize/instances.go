package rightsize

import (
	"cmp"
	"maps"
	"slices"
	"time"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/change"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/figure"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/scene"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/shop"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/usage"
)

const (
	// settleFor is how long nodes that CloudOptim bought are left alone.
	settleFor = 6 * time.Hour
	// rehearsals that the plan must survive.
	rehearsals = 12
	// priceRatio is the most paid for spot, as a share of on demand.
	priceRatio = 1
)

// Reasons of GroupSize, as the contract names them.
const (
	groupReplaced = "replaced"
	groupNoSaving = "no_saving"
	groupNoType   = "no_type_fits"
	groupNoPlace  = "pods_without_place"
)

// group is nodes of one type, zone and way of buying.
type group struct {
	size    *mlv1.GroupSize
	nodes   []int // of them, those that may be replaced
	stay    string
	column  *shop.Column
	savings float64 // USD per hour
}

// sizing is the nodes' part of an answer.
type sizing struct {
	answer  *answer
	world   *scene.World
	columns []*shop.Column
	demand  []demand // by node
	groups  []*group
}

// instances recommends a type for each group of equal nodes, one for one: fewer and
// larger, or more and smaller, is what bin_pack weighs.
func (a *answer) instances(containers []usage.Container, r *mlv1.DecisionResponse) error {
	state := a.req.GetCurrentState()
	if len(state.GetNodes()) == 0 {
		return fault.Invalid("current_state.nodes", "must not be empty for requirements.instances")
	}
	if !a.prices.Known(state.GetRegion()) {
		return fault.Infeasible("region", "No prices are known for region %q", state.GetRegion())
	}
	s := &sizing{answer: a, world: scene.New(state, a.prices, a.now, scene.Rules{Settle: settleFor})}
	s.columns = shop.Columns(s.world, shop.Limits{
		Types: a.limits.types, Excluded: a.limits.excluded, PriceRatio: priceRatio, MaxRisk: a.limits.maxRisk,
	})
	s.measure(containers, r.GetRequestChanges())
	s.form()
	for _, g := range s.groups {
		s.suit(g)
	}
	plan := s.plan()
	s.explain(plan)
	r.EstimatedSavings = figure.Cents(max(0, s.world.CostPerHour()-plan.CostAfter(s.world)) * figure.HoursPerMonth)
	r.Recommendations, r.NodeVerdicts = plan.Recommendations(r.GetEstimatedSavings()), plan.Verdicts(s.world)
	r.ExecutionPlan, r.RiskAssessment = plan.Steps(s.world, priceRatio), plan.Risk(s.world)
	for _, g := range s.groups {
		r.NodeGroups = append(r.NodeGroups, g.size)
	}
	return nil
}

// form the groups, in the order of their names.
func (s *sizing) form() {
	index := map[string]*group{}
	for i, n := range s.world.Nodes {
		m := n.Metric
		key := m.GetInstanceType() + "/" + m.GetAvailabilityZone() + "/" + m.GetNodeType()
		g := index[key]
		if g == nil {
			g = &group{size: &mlv1.GroupSize{
				InstanceType: m.GetInstanceType(), AvailabilityZone: m.GetAvailabilityZone(), NodeType: m.GetNodeType(),
				Checked: []string{"cpu", "memory", "pods"}, Unknown: []string{"network", "ebs"},
			}}
			index[key] = g
		}
		if n.Reason != "" {
			g.stay = n.Reason
			continue
		}
		g.nodes = append(g.nodes, i)
		g.size.Nodes++
	}
	for _, key := range slices.Sorted(maps.Keys(index)) {
		s.groups = append(s.groups, index[key])
	}
}

// suit a group with the cheapest type that all its nodes' pods fit on with headroom.
func (s *sizing) suit(g *group) {
	if len(g.nodes) == 0 {
		g.size.Reason = g.stay
		return
	}
	price := 0.0
	for _, n := range g.nodes {
		price += s.world.Nodes[n].Price / float64(len(g.nodes))
	}
	fits := false
	for _, c := range s.cheapestFirst(g) {
		if !s.holds(g, c) {
			continue
		}
		fits = true
		if c.Price > price*(1-s.answer.limits.minSavings) {
			break
		}
		risk := s.performance(g, c)
		if risk != nil && risk.GetShare() > s.answer.limits.maxPerformanceRisk {
			continue
		}
		g.column, g.savings = c, (price-c.Price)*float64(len(g.nodes))
		g.size.PerformanceRisk, g.size.ToInstanceType, g.size.Reason = risk, c.Type.Name, groupReplaced
		return
	}
	g.size.Reason = groupNoType
	if fits {
		g.size.Reason = groupNoSaving
	}
}

// cheapestFirst of the columns in the group's zone that are bought as it is.
func (s *sizing) cheapestFirst(g *group) []*shop.Column {
	var all []*shop.Column
	for _, c := range shop.Takeable(s.columns) {
		if c.Zone == g.size.GetAvailabilityZone() && c.NodeType() == g.size.GetNodeType() {
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, func(a, b *shop.Column) int {
		return cmp.Or(cmp.Compare(a.Price, b.Price), cmp.Compare(a.Type.Name, b.Type.Name))
	})
	return all
}

// plan of the groups that save most first; a group whose pods would not all find a place
// is left out.
func (s *sizing) plan() change.Plan {
	var plan change.Plan
	order := slices.Clone(s.groups)
	slices.SortStableFunc(order, func(a, b *group) int { return cmp.Compare(b.savings, a.savings) })
	for _, g := range order {
		if g.column == nil {
			continue
		}
		trial := change.Plan{
			Gone: change.DrainOrder(s.world, slices.Concat(plan.Gone, g.nodes)),
			Buy:  slices.Concat(plan.Buy, slices.Repeat([]*shop.Column{g.column}, len(g.nodes))),
		}
		if s.stuck(trial) {
			g.size.Reason, g.size.ToInstanceType, g.column = groupNoPlace, "", nil
			continue
		}
		plan = trial
	}
	return plan
}

// stuck says whether a pod that runs today would be without a place, with this luck or that. Those that
// wait today may go on waiting.
func (s *sizing) stuck(p change.Plan) bool {
	for i := range rehearsals {
		for _, pod := range p.Rehearse(s.world, s.world.Pending, change.Scheduler(i)).Stuck {
			if !slices.Contains(s.world.Pending, pod) {
				return true
			}
		}
	}
	return false
}

// explain the nodes that could have gone and stay.
func (s *sizing) explain(plan change.Plan) {
	for _, g := range s.groups {
		for _, i := range g.nodes {
			n := s.world.Nodes[i]
			if slices.Contains(plan.Gone, i) {
				continue
			}
			n.Reason = scene.ReasonNoSaving
			switch g.size.GetReason() {
			case groupNoPlace:
				n.Reason, n.Detail = scene.ReasonUnschedulable, "some pods of its group would not find a place"
			case groupNoType:
				n.Detail = "no type fits its pods with headroom"
			default:
				n.Detail = "no cheaper type saves enough"
			}
		}
	}
}
