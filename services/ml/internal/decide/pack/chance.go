package pack

import (
	"cmp"
	"math"
	"slices"
)

// chances are how good a buy each offer may be at best, so that few nodes need to be
// filled to see which one is.
type chances struct {
	offers []int
	full   []float64 // no node of the offer holds more worth
	score  []float64 // price for each unit of worth: no node of it is a better buy
	last   []float64 // what it was when last filled with these prices; 0: it was not
	exact  []bool    // the score is by what is left now

	byWaste []int  // places by the least of an offer's price that is for nothing
	heap    []int  // of them, what may be bought, the least score first
	aside   []int  // taken off the heap in this round
	best    []load // on the best node of this round

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
		offers: shelf, full: floats[:n], score: floats[n : 2*n], last: floats[2*n:], exact: make([]bool, n), byWaste: byWaste,
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
	tops := c.tops(len(m.brands))
	clear(c.last)
	for at, offer := range c.offers {
		o := &m.offers[offer]
		c.full[at] = valueLeast
		for i, r := range m.asked {
			c.full[at] += tops[o.brand*c.dims+i] * o.space[r]
		}
	}
}

// tops are the worths to those to whom a resource is worth most, by brand.
func (c *chances) tops(brands int) []float64 {
	tops := make([]float64, brands*c.dims)
	for brand := range brands {
		for i, byWorth := range c.byWorth {
			if at := slices.IndexFunc(byWorth, func(w worthTo) bool { return w.mask.has(brand) }); at >= 0 {
				tops[brand*c.dims+i] = byWorth[at].worth
			}
		}
	}
	return tops
}

// sort the offers by what they waste at least.
func (c *chances) sort(m *model) {
	waste := make([]float64, len(c.offers))
	for at, offer := range c.offers {
		waste[at] = m.offers[offer].price - c.full[at]
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
		if o.price-c.full[at] >= waste {
			break
		}
		if value := b.mayHold(o); value > 0 && o.price-value < waste {
			c.exact[at], c.score[at] = true, o.price/value
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
		if o.price-value >= waste {
			c.drop()
			continue
		}
		c.exact[at] = true
		c.score[at] = max(c.score[at], o.price/max(valueLeast, value), b.recall*c.last[at])
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
func (b *buyer) among(w wanted) *bin {
	c := b.chances
	b.addUp()
	best, offer, vain := math.Inf(1), -1, 0
	for vain <= b.patience || offer < 0 && math.IsInf(w.waste, 1) {
		at := b.likeliest(best/near, w.waste)
		if at < 0 {
			break
		}
		c.aside = append(c.aside, at)
		if b.twin(at) || b.soldOut(c.offers[at]) || c.full[at] < w.least || c.full[at] > roomy*w.most {
			continue
		}
		vain++
		if score := b.try(at, w, c.score[at], best); score < best {
			offer, best, vain = c.offers[at], score, 0
		}
	}
	for _, at := range c.aside {
		c.put(at)
	}
	c.aside = c.aside[:0]
	if offer < 0 {
		return nil
	}
	return &bin{offer: offer, loads: slices.Clone(c.best)}
}

// twin says whether the offer at a place can hold nothing else, and at no other price,
// than one that had its turn in this round: most cost the same in each zone.
func (b *buyer) twin(at int) bool {
	c := b.chances
	o := &b.m.offers[c.offers[at]]
	for _, other := range c.aside[:len(c.aside)-1] {
		p := &b.m.offers[c.offers[other]]
		if c.score[at] == c.score[other] && o.price == p.price && slices.Equal(o.space, p.space) && o.Max == 0 && p.Max == 0 &&
			b.sameAsks(o.brand, p.brand) {
			return true
		}
	}
	return false
}

func (b *buyer) sameAsks(brand, other int) bool {
	c := b.chances
	for i := range c.dims {
		if !slices.Equal(c.asks[brand*c.dims+i], c.asks[other*c.dims+i]) {
			return false
		}
	}
	return true
}

// try the offer at a place of the shelf, of which the score is no better than guess. If
// there is a node as wanted with a better score than that of the best so far, it is the
// best now.
func (b *buyer) try(at int, w wanted, guess, best float64) float64 {
	offer := b.chances.offers[at]
	price, own := b.m.offers[offer].price, math.Inf(1)
	for _, how := range ways {
		value := b.fill(offer, how)
		if value <= 0 || value < w.least || value > w.most {
			continue
		}
		score := price / value
		own = min(own, score)
		if score < best && price-value < w.waste {
			best = score
			b.note()
		}
		if own <= guess*near {
			break
		}
	}
	b.chances.last[at] = 0
	if !math.IsInf(own, 1) {
		b.chances.last[at] = own
	}
	return best
}

// note what is on the node as last filled.
func (b *buyer) note() {
	b.chances.best = b.chances.best[:0]
	for _, i := range b.loaded {
		b.chances.best = append(b.chances.best, load{group: i, n: b.taken[i]})
	}
}
