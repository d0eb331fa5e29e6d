package pack

import (
	"cmp"
	"math"
	"slices"
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
	of   []*mask // merged into it
}

const (
	manyMasks  = 24 // the dual's size grows with them; the rarest beyond are merged, which only lowers the bound
	cutRounds  = 100
	manyRows   = 2 // for each variable; then those that bind nothing are forgotten
	cutsEach   = 2
	priceLeast = 1e-6
	exact      = 1e-7 // how much of an offer's price its room may be worth too much
	rough      = 1.5e-2
	slack      = 1e-6 // how far off a sound table's worths may be
)

// prices for all pods of the problem.
func (m *model) prices() *prices {
	count := map[int]int{} // by class
	var first []int        // pod of each class
	for _, pod := range m.p.Pods {
		class := m.p.Book.Class(pod)
		if count[class]++; count[class] == 1 {
			first = append(first, pod)
		}
	}
	byMask := map[*mask]*demand{}
	var all []*demand
	for _, pod := range first {
		k, need := m.maskOf(pod), m.p.Book.Requests(pod)
		if !m.holds(k, need) {
			continue
		}
		d := byMask[k]
		if d == nil {
			d = &demand{mask: k, sum: make([]float64, m.dims)}
			byMask[k] = d
			all = append(all, d)
		}
		n := float64(count[m.p.Book.Class(pod)])
		for i, v := range m.vector(need) {
			d.sum[i] += n * v
		}
	}
	return m.price(all)
}

// price the demands.
func (m *model) price(all []*demand) *prices { return m.cutter(all, m.byPrice).price(exact) }

// cutter for demands and offers, cheapest first.
func (m *model) cutter(all []*demand, offers []int) *cutter {
	c := &cutter{m: m, demands: m.merge(all)}
	for r := range m.dims {
		if slices.ContainsFunc(all, func(d *demand) bool { return d.sum[r] > 0 }) {
			c.dims = append(c.dims, r)
		}
	}
	c.split(offers)
	c.start()
	return c
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
	for i, d := range sorted {
		sorted[i] = &demand{mask: d.mask, sum: slices.Clone(d.sum), of: []*mask{d.mask}}
	}
	for len(sorted) > manyMasks {
		a, b := sorted[len(sorted)-1], sorted[len(sorted)-2]
		union := &demand{mask: m.mask(func(brand int) bool { return a.mask.has(brand) || b.mask.has(brand) }), sum: slices.Clone(b.sum), of: slices.Concat(a.of, b.of)}
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
	dims    []int  // resources that are asked for
	kinds   []kind // offers by which demands they admit, those that none beats
	table   *tableau
	row     []float64 // being added
	most    []float64 // worths by the rows that it starts with
}

func (c *cutter) split(offers []int) {
	masks := make([]*mask, len(c.demands))
	for i, d := range c.demands {
		masks[i] = d.mask
	}
	c.kinds = c.m.front(masks, offers).kinds
}

// start with rows that give every worth a limit.
func (c *cutter) start() {
	c.table, c.row = newTableau(len(c.demands)*len(c.dims)), make([]float64, len(c.demands)*len(c.dims))
	c.most = make([]float64, len(c.demands)*len(c.dims))
	for d := range c.demands {
		for _, r := range c.dims {
			best, least := -1, math.Inf(1)
			for _, k := range c.kinds {
				if !slices.Contains(k.admits, d) {
					continue
				}
				for _, i := range k.offers {
					if space := c.m.offers[i].space[r]; space > 0 && max(priceLeast, c.m.offers[i].price)/space < least {
						best, least = i, max(priceLeast, c.m.offers[i].price)/space
					}
				}
			}
			c.most[d*len(c.dims)+slices.Index(c.dims, r)] = least
			if best >= 0 {
				c.add(best, func(int) int { return d })
			}
		}
	}
	c.table.kept = c.table.given
}

// solve the table as it is. Many pivots add up errors: worths beyond their limit show
// that, and it begins anew.
func (c *cutter) solve(gain []float64) (y []float64) {
	c.table.solve()
	y = c.table.y()
	for i, v := range y {
		if v > c.most[i]*(1+slack) {
			c.start()
			c.table.aim(gain)
			c.table.solve()
			return c.table.y()
		}
	}
	return y
}

// add the row of an offer, each resource valued as the demand does that whose names.
func (c *cutter) add(offer int, whose func(r int) int) {
	row := c.row
	clear(row)
	for r, dim := range c.dims {
		row[whose(r)*len(c.dims)+r] = c.m.offers[offer].space[dim]
	}
	c.table.add(row, max(priceLeast, c.m.offers[offer].price))
}

// price what the demands sum to now.
func (c *cutter) price(tolerance float64) *prices {
	gain := make([]float64, len(c.table.inCol))
	for d, demand := range c.demands {
		for r, dim := range c.dims {
			gain[d*len(c.dims)+r] = demand.sum[dim]
		}
	}
	c.table.aim(gain)
	best, bound := make([]float64, len(gain)), 0.0
	for range cutRounds {
		y := c.solve(gain)
		if len(c.table.rows) > manyRows*len(gain) {
			c.table.forget()
		}
		scale := min(1, c.cut(y, tolerance))
		if worth := scale * dot(gain, y); worth > bound || scale == 0 { // offers for nothing leave no bound, but weights
			bound, best = worth, y // unscaled: only the relation of worths counts
		}
		if scale >= 1-tolerance {
			break
		}
	}
	p := &prices{bound: bound, demands: c.demands, y: make([]float64, len(c.demands)*c.m.dims), worth: map[*mask][]float64{}}
	for d := range c.demands {
		for r, dim := range c.dims {
			p.y[d*c.m.dims+dim] = best[d*len(c.dims)+r]
		}
	}
	return p
}

// cut off worths under which an offer's room is worth more than its price. It returns
// by what they must shrink so that none is.
func (c *cutter) cut(y []float64, tolerance float64) (scale float64) {
	scale = math.Inf(1)
	dims := len(c.dims)
	for _, k := range c.kinds {
		top, whose := make([]float64, dims), make([]int, dims)
		for _, d := range k.admits {
			for r, v := range y[d*dims : (d+1)*dims] {
				if v > top[r] {
					top[r], whose[r] = v, d
				}
			}
		}
		least := c.cutKind(&k, top, whose, tolerance)
		scale = min(scale, least)
	}
	return scale
}

func (c *cutter) cutKind(k *kind, top []float64, whose []int, tolerance float64) (least float64) {
	least = math.Inf(1)
	worst := [cutsEach]int{}
	ratios := [cutsEach]float64{}
	n := 0
	for _, i := range k.offers {
		value := 0.0
		for r, dim := range c.dims {
			value += top[r] * c.m.offers[i].space[dim]
		}
		if value <= 0 {
			continue
		}
		least = min(least, max(0, c.m.offers[i].price)/value)
		ratio := max(priceLeast, c.m.offers[i].price) / value
		if ratio >= 1-tolerance {
			continue
		}
		switch {
		case n < cutsEach:
			worst[n], ratios[n] = i, ratio
			n++
		case ratio < ratios[cutsEach-1]:
			worst[cutsEach-1], ratios[cutsEach-1] = i, ratio
		default:
			continue
		}
		for j := n - 1; j > 0 && ratios[j] < ratios[j-1]; j-- {
			worst[j], worst[j-1], ratios[j], ratios[j-1] = worst[j-1], worst[j], ratios[j-1], ratios[j]
		}
	}
	for _, offer := range worst[:n] {
		c.add(offer, func(r int) int { return whose[r] })
	}
	return least
}
