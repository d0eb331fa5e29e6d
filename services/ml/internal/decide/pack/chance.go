package pack

import (
	"cmp"
	"math"
	"slices"
)

// chances are how good a buy each offer may be at best, so that few nodes need to be
// filled to see which one is.
type chances struct {
	offers  []int
	full    []float64 // no node of the offer holds more worth
	score   []float64 // price for each unit of worth: no node of it is a better buy
	last    []float64 // what it was when last filled with these prices; 0: it was not
	exact   []bool    // the score is by what is left now
	aside   []int     // looked at already in this round
	byWaste []int     // places by the least of an offer's price that is for nothing
	heap    []int     // of them, what may be bought, the one with the least score first

	dims    int
	byWorth [][]worthTo // by resource asked for, dearest first
	sums    []float64   // what is left, by mask and resource
	asks    [][]asks    // the same, by brand and resource asked for
	listed  []bool      // by brand: asks are by what is left now
}

// worthTo is what a resource is worth to pods of a mask.
type worthTo struct {
	mask  *mask
	worth float64
}

// asks is what pods of a mask ask for of a resource, and what it is worth to them.
type asks struct{ sum, worth float64 }

func newChances(m *model, shelf []int) *chances {
	n, dims := len(shelf), len(m.asked)
	floats := make([]float64, 3*n)
	byWaste := make([]int, n)
	for at := range byWaste {
		byWaste[at] = at
	}
	return &chances{
		byWaste: byWaste,
		offers:  shelf, full: floats[:n], score: floats[n : 2*n], last: floats[2*n:], exact: make([]bool, n),
		dims: dims, byWorth: make([][]worthTo, dims), sums: make([]float64, len(m.masks)*dims),
		asks: make([][]asks, len(m.brands)*dims), listed: make([]bool, len(m.brands)),
	}
}

// value what the offers may hold by prices.
func (c *chances) value(m *model, p *prices, masks []*mask) {
	for i, r := range m.asked {
		c.byWorth[i] = c.byWorth[i][:0]
		for _, k := range masks {
			worth := p.of(k)[r]
			if r == podSlots { // as each pod is worth something
				worth = max(worth, valueLeast)
			}
			if worth > 0 {
				c.byWorth[i] = append(c.byWorth[i], worthTo{k, worth})
			}
		}
		slices.SortStableFunc(c.byWorth[i], func(x, y worthTo) int { return cmp.Compare(y.worth, x.worth) })
	}
	tops := make([]float64, len(m.brands)*c.dims)
	for brand := range m.brands {
		for i := range m.asked {
			if at := slices.IndexFunc(c.byWorth[i], func(w worthTo) bool { return w.mask.has(brand) }); at >= 0 {
				tops[brand*c.dims+i] = c.byWorth[i][at].worth
			}
		}
	}
	clear(c.last)
	waste := make([]float64, len(c.offers))
	for at, offer := range c.offers {
		o := &m.offers[offer]
		c.full[at] = valueLeast
		for i, r := range m.asked {
			c.full[at] += tops[o.brand*c.dims+i] * o.space[r]
		}
		waste[at] = o.Price - c.full[at]
	}
	slices.SortFunc(c.byWaste, func(x, y int) int { return cmp.Or(cmp.Compare(waste[x], waste[y]), cmp.Compare(x, y)) })
}

// guess all scores by what is left, but for offers that would waste so much of their
// price. They hold for as long as what is left only shrinks, and what may be wasted.
func (b *buyer) guess(waste float64) {
	b.addUp()
	c := b.chances
	c.heap = c.heap[:0]
	for _, at := range c.byWaste {
		o := &b.m.offers[c.offers[at]]
		if o.Price-c.full[at] >= waste {
			break
		}
		if value := b.mayHold(o); value > 0 && o.Price-value < waste {
			c.exact[at], c.score[at] = true, o.Price/value
			c.heap = append(c.heap, at)
		}
	}
	for i := len(c.heap)/2 - 1; i >= 0; i-- {
		c.sink(i)
	}
}

// addUp what is left.
func (b *buyer) addUp() {
	c := b.chances
	clear(c.sums)
	clear(c.listed)
	clear(c.exact)
	for _, it := range b.order {
		n := float64(b.left[it.group])
		sum, vector := c.sums[it.mask.id*c.dims:], b.groups[it.group].vector
		for i, r := range b.m.asked {
			sum[i] += vector[r] * n
		}
	}
}

// list what is left that a brand admits.
func (c *chances) list(brand int) {
	c.listed[brand] = true
	for i, byWorth := range c.byWorth {
		list := c.asks[brand*c.dims+i][:0]
		for _, w := range byWorth {
			if sum := c.sums[w.mask.id*c.dims+i]; sum > 0 && w.mask.has(brand) {
				list = append(list, asks{sum, w.worth})
			}
		}
		c.asks[brand*c.dims+i] = list
	}
}

// mayHold is the most worth that a node of an offer may hold of what is left: of each
// resource as if the pods to which it is worth most could be taken apart.
func (b *buyer) mayHold(o *offer) (value float64) {
	c := b.chances
	if !c.listed[o.brand] {
		c.list(o.brand)
	}
	for i, r := range b.m.asked {
		space := o.space[r]
		for _, a := range c.asks[o.brand*c.dims+i] {
			if a.sum >= space {
				value += a.worth * space
				break
			}
			value += a.worth * a.sum
			space -= a.sum
		}
	}
	return value
}

// likeliest offer to be the best buy by what is left now, -1 if none may be better than
// so. It is taken off the heap.
func (b *buyer) likeliest(than, waste float64) int {
	c := b.chances
	for len(c.heap) > 0 {
		at := c.heap[0]
		if c.score[at] >= than {
			return -1
		}
		if c.exact[at] {
			c.drop()
			return at
		}
		o := &b.m.offers[c.offers[at]]
		value := b.mayHold(o)
		if o.Price-value >= waste {
			c.drop()
			continue
		}
		c.exact[at] = true
		c.score[at] = max(c.score[at], o.Price/max(valueLeast, value), b.recall*c.last[at])
		c.sink(0)
	}
	return -1
}

// before says which of two places comes first in the heap.
func (c *chances) before(a, b int) bool {
	return c.score[a] < c.score[b] || c.score[a] == c.score[b] && a < b
}

// drop the first of the heap.
func (c *chances) drop() {
	last := len(c.heap) - 1
	c.heap[0] = c.heap[last]
	c.heap = c.heap[:last]
	c.sink(0)
}

// sink what is at i of the heap to where it belongs.
func (c *chances) sink(i int) {
	for {
		least := 2*i + 1
		if least >= len(c.heap) {
			return
		}
		if other := least + 1; other < len(c.heap) && c.before(c.heap[other], c.heap[least]) {
			least = other
		}
		if !c.before(c.heap[least], c.heap[i]) {
			return
		}
		c.heap[i], c.heap[least] = c.heap[least], c.heap[i]
		i = least
	}
}

// put into the heap.
func (c *chances) put(at int) {
	c.heap = append(c.heap, at)
	for i := len(c.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if !c.before(c.heap[i], c.heap[up]) {
			return
		}
		c.heap[i], c.heap[up] = c.heap[up], c.heap[i]
		i = up
	}
}

var ways = [...]way{alike, balanced, plain}

// wanted is what a node must be like.
type wanted struct {
	least, most float64 // worth that it holds
	waste       float64 // less than that of its price is for nothing
}

// among the nodes that are as wanted, the one that costs least for each unit of worth.
// Those go first that may be best, until none can be any better.
func (b *buyer) among(w wanted) (node *bin) {
	c := b.chances
	b.addUp()
	best, vain := math.Inf(1), 0
	for vain <= b.patience || node == nil && math.IsInf(w.waste, 1) {
		at := b.likeliest(best/near, w.waste)
		if at < 0 {
			break
		}
		c.aside = append(c.aside, at)
		if b.soldOut(c.offers[at]) || c.full[at] < w.least || c.full[at] > roomy*w.most {
			continue
		}
		vain++
		tried, score := b.try(at, w, c.score[at])
		if tried != nil && score < best {
			node, best, vain = tried, score, 0
		}
	}
	for _, at := range c.aside {
		c.put(at)
	}
	c.aside = c.aside[:0]
	return node
}

// try the offer at a place of the shelf, of which the score is no better than guess.
func (b *buyer) try(at int, w wanted, guess float64) (node *bin, best float64) {
	offer := b.chances.offers[at]
	price := b.m.offers[offer].Price
	b.chances.last[at], best = 0, math.Inf(1)
	for _, how := range ways {
		value := b.fill(offer, how)
		if value <= 0 || value < w.least || value > w.most {
			continue
		}
		score := price / value
		if score >= best {
			continue
		}
		best = score
		b.chances.last[at] = score
		if node = nil; price-value < w.waste {
			node = b.filled(offer)
		}
		if best <= guess*near {
			break
		}
	}
	return node, best
}
