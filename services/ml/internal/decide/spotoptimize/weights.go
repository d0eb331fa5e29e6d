package spotoptimize

import (
	"cmp"
	"math"
	"slices"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
)

// weights price a vCPU, a GiB and a pod slot so that no column offers its room
// for less than it is worth: the dual of the linear program "cover the pods'
// sums at least price". What a node is filled with, valued so, against its price
// says how good a buy it is.
type weights struct{ cpu, memory, pods float64 }

func (w weights) value(a fit.Amounts) float64 {
	return w.cpu*float64(a.CPU)/1000 + w.memory*float64(a.Memory)/gib + w.pods*float64(a.Pods)
}

// Steps of the search for the best ratio of a GiB's and a slot's price to a vCPU's.
const (
	memorySteps  = 24
	memoryLeast  = 0.01
	memoryFactor = 1.35 // 24 steps reach from 0.01 to 10
)

var slotRatios = [...]float64{0, 0.005, 0.02, 0.08, 0.3}

// shelf is the columns with the weights they can justify, found once.
type shelf struct {
	columns []*column
	duals   []weights
	sorted  []*ranking // by dual, made when first needed
	admits  map[string][]bool
}

// ranking is columns by the least that they could cost for each unit of value.
type ranking struct {
	order []int
	bound []float64 // by column
}

// newShelf tries a grid of ratios: a ratio slightly off costs a fraction of the
// grid's step. room says what of a column counts.
func newShelf(columns []*column, room func(*column) fit.Amounts) *shelf {
	s := &shelf{columns: columns, admits: map[string][]bool{}}
	ratio := memoryLeast
	for range memorySteps {
		for _, slot := range slotRatios {
			w := weights{cpu: 1, memory: ratio, pods: slot}
			unit := math.Inf(1)
			for _, c := range columns {
				if value := w.value(room(c)); value > 0 {
					unit = min(unit, c.Price/value)
				}
			}
			if !math.IsInf(unit, 1) {
				s.duals = append(s.duals, weights{cpu: unit, memory: unit * ratio, pods: unit * slot})
			}
		}
		ratio *= memoryFactor
	}
	s.sorted = make([]*ranking, len(s.duals))
	return s
}

// free is the room of a column for pods.
func free(c *column) fit.Amounts { return c.Room }

// nominal is what a column has in name, which is what requirements without pods
// speak of.
func nominal(c *column) fit.Amounts {
	return fit.Amounts{CPU: int64(c.Type.VCPU) * 1000, Memory: c.Type.MemoryMiB << 20}
}

// dual finds the weights under which the sums are worth most, -1 without columns.
func (s *shelf) dual(need fit.Amounts) int {
	best, worth := -1, -1.0
	for i, w := range s.duals {
		if v := w.value(need); v > worth {
			best, worth = i, v
		}
	}
	return best
}

// ranking of the columns under a dual.
func (s *shelf) ranking(dual int) *ranking {
	if s.sorted[dual] != nil {
		return s.sorted[dual]
	}
	r := &ranking{order: make([]int, len(s.columns)), bound: make([]float64, len(s.columns))}
	for i, c := range s.columns {
		r.order[i], r.bound[i] = i, c.Price/max(1e-12, s.duals[dual].value(c.Room))
	}
	slices.SortStableFunc(r.order, func(a, b int) int { return cmp.Compare(r.bound[a], r.bound[b]) })
	s.sorted[dual] = r
	return r
}
