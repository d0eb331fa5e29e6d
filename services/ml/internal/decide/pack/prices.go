package pack

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// prices are what resources are worth to each mask of pods: the dual of the linear
// program "cover what pods ask for at least price". No node of any offer, filled with
// any pods it admits, holds more than it costs; so the pods' worth is a lower bound,
// and the price of a node over the worth of what is on it says how good a buy it is.
type prices struct {
	bound   float64
	demands []*demand
	y       []float64 // by demand, by resource
	worth   map[*mask][]float64
}

// value of a need to pods of a mask.
func (p *prices) value(k *mask, v []float64) float64 { return dot(p.of(k), v) }

// of a mask: those of the demands that could also go where it goes.
func (p *prices) of(k *mask) []float64 {
	worth := p.worth[k]
	if worth != nil {
		return worth
	}
	for i, d := range p.demands {
		dims := len(d.sum)
		if worth == nil {
			worth = make([]float64, dims)
		}
		if d.mask != k && !within(k, d.mask) {
			continue
		}
		for r := range dims {
			worth[r] = max(worth[r], p.y[i*dims+r])
		}
	}
	p.worth[k] = worth
	return worth
}

func dot(a, b []float64) float64 {
	sum := 0.0
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

// demand is what pods of one mask ask for.
type demand struct {
	mask *mask
	sum  []float64
}

const (
	manyMasks  = 16 // the dual's size grows with them; the rarest beyond are merged, which only lowers the bound
	cutRounds  = 150
	cutsEach   = 2
	priceLeast = 1e-6
	tolerance  = 1e-7
)

// prices for all pods of the problem.
func (m *model) prices() *prices {
	byMask := map[*mask]*demand{}
	var all []*demand
	held := map[int]bool{} // by class
	for _, pod := range m.p.Pods {
		k, need, class := m.maskOf(pod), m.p.Book.Requests(pod), m.p.Book.Class(pod)
		ok, known := held[class]
		if !known {
			ok = m.holds(k, need)
			held[class] = ok
		}
		if !ok {
			continue
		}
		d := byMask[k]
		if d == nil {
			d = &demand{mask: k, sum: make([]float64, m.dims)}
			byMask[k] = d
			all = append(all, d)
		}
		for i, v := range m.vector(need) {
			d.sum[i] += v
		}
	}
	return m.price(all)
}

// price the demands.
func (m *model) price(all []*demand) *prices {
	for _, d := range all {
		d.sum = slices.Clone(d.sum)
	}
	c := &cutter{m: m, demands: m.merge(all)}
	c.split()
	c.start()
	y := c.solve()
	return &prices{bound: c.best, demands: c.demands, y: y, worth: map[*mask][]float64{}}
}

// within says whether all offers of a are in b: then pods of a can be where those of
// b are, and their resources are worth at least as much.
func within(a, b *mask) bool {
	for i, bits := range a.bits {
		if bits&^b.bits[i] != 0 {
			return false
		}
	}
	return true
}

// merge the rarest masks into their union, if there are many.
func (m *model) merge(all []*demand) []*demand {
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b *demand) int { return cmp.Compare(b.sum[0]+b.sum[1]/4, a.sum[0]+a.sum[1]/4) })
	for len(sorted) > manyMasks {
		a, b := sorted[len(sorted)-1], sorted[len(sorted)-2]
		union := &demand{mask: m.mask(func(i int) bool { return a.mask.has(i) || b.mask.has(i) }), sum: slices.Clone(b.sum)}
		for i, v := range a.sum {
			union.sum[i] += v
		}
		sorted = append(sorted[:len(sorted)-2], union)
	}
	return sorted
}

// cutter finds the dual by cutting planes: the dual of a few offers first; then
// each offer that its worths overvalue becomes a row more.
type cutter struct {
	m       *model
	demands []*demand
	kinds   []kind // offers by which demands they admit
	rows    [][]float64
	limit   []float64
	best    float64
	bestY   []float64
}

type kind struct {
	admits []int // of demands
	offers []int
}

func (c *cutter) split() {
	index := map[string]int{}
	for i := range c.m.offers {
		if c.m.offers[i].room.Pods <= 0 {
			continue
		}
		var admits []int
		key := strings.Builder{}
		for d := range c.demands {
			if c.demands[d].mask.has(i) {
				admits = append(admits, d)
				key.WriteByte(byte(d))
			}
		}
		if len(admits) == 0 {
			continue
		}
		at, ok := index[key.String()]
		if !ok {
			at = len(c.kinds)
			index[key.String()] = at
			c.kinds = append(c.kinds, kind{admits: admits})
		}
		c.kinds[at].offers = append(c.kinds[at].offers, i)
	}
}

// start with rows that give every worth a limit.
func (c *cutter) start() {
	dims := c.m.dims
	for d, demand := range c.demands {
		for r := range dims {
			best, least := -1, math.Inf(1)
			for i := range c.m.offers {
				if space := c.m.offers[i].space[r]; demand.mask.has(i) && space > 0 && c.m.offers[i].room.Pods > 0 {
					if ratio := max(priceLeast, c.m.offers[i].Price) / space; ratio < least {
						best, least = i, ratio
					}
				}
			}
			if best < 0 {
				continue
			}
			row := make([]float64, len(c.demands)*dims)
			copy(row[d*dims:], c.m.offers[best].space)
			c.add(row, c.m.offers[best].Price)
		}
	}
}

func (c *cutter) add(row []float64, price float64) {
	c.rows, c.limit = append(c.rows, row), append(c.limit, max(priceLeast, price))
}

// solve returns the worths of the best bound.
func (c *cutter) solve() []float64 {
	dims := c.m.dims
	gain := make([]float64, len(c.demands)*dims)
	for d, demand := range c.demands {
		copy(gain[d*dims:], demand.sum)
	}
	c.bestY = make([]float64, len(gain)) // unscaled: only their relation counts
	for range cutRounds {
		y := maximize(gain, c.rows, c.limit)
		scale := min(1, c.cut(y))
		if worth := scale * dot(gain, y); worth > c.best || scale == 0 { // offers for nothing leave no bound, but weights
			c.best, c.bestY = worth, y
		}
		if scale >= 1-tolerance {
			break
		}
	}
	return c.bestY
}

// cut off worths under which an offer's room is worth more than its price. It returns
// by what they must shrink so that none is.
func (c *cutter) cut(y []float64) (scale float64) {
	scale = math.Inf(1)
	dims := c.m.dims
	for _, k := range c.kinds {
		top, whose := make([]float64, dims), make([]int, dims)
		for r := range dims {
			for _, d := range k.admits {
				if v := y[d*dims+r]; v > top[r] {
					top[r], whose[r] = v, d
				}
			}
		}
		type over struct {
			offer int
			ratio float64
		}
		var worst []over
		for _, i := range k.offers {
			value := dot(top, c.m.offers[i].space)
			if value <= 0 {
				continue
			}
			ratio := max(0, c.m.offers[i].Price) / value
			scale = min(scale, ratio)
			if max(priceLeast, c.m.offers[i].Price)/value < 1-tolerance {
				worst = append(worst, over{i, ratio})
			}
		}
		slices.SortStableFunc(worst, func(a, b over) int { return cmp.Compare(a.ratio, b.ratio) })
		for _, w := range worst[:min(cutsEach, len(worst))] {
			row := make([]float64, len(y))
			for r := range dims {
				row[whose[r]*dims+r] = c.m.offers[w.offer].space[r]
			}
			c.add(row, c.m.offers[w.offer].Price)
		}
	}
	return scale
}
