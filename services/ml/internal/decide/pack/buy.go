package pack

import (
	"math"
	"slices"
)

// buyer buys nodes for groups of pods, one good buy after the other: it fills an
// imaginary node of each offer, takes the one that costs least for what it holds, and
// goes on with the rest.
type buyer struct {
	*filler

	count    []int // bought so far, by offer, with what was bought before
	nodes    int   // that may yet be bought, below 0: any number
	shelf    []int // offers that no other beats
	prices   *prices
	cutter   *cutter // of all the groups
	patience int     // offers to be tried in vain before the best so far is taken
	recall   float64 // how much of what was found when an offer was last filled holds; 0: nothing
	chances  *chances
	worth    float64 // of all that was left when prices were found
	whole    float64 // of all there was
}

const (
	reweigh  = 0.6    // of the worth is left: find new prices
	settled  = 0.03   // of all the worth is left: prices stay
	near     = 1.0015 // a buy so near to what is possible at best ends the search for a better one
	roomy    = 1.3    // a node that could hold so much more than it may is not looked at first
	hedge    = 0.995  // how much better an offer may have become since it was last filled
	crowding = 1.25   // how far a node may exceed the share that leaves enough nodes
)

func newBuyer(m *model, groups []*group, shelf, count []int, nodes int) *buyer {
	return &buyer{filler: newFiller(m, groups), recall: hedge, patience: 6, shelf: shelf, chances: newChances(m, shelf), count: count, nodes: nodes}
}

// run until nothing is left or nothing can be bought.
func (b *buyer) run() (bought []*bin) {
	for b.nodes != 0 {
		b.weigh()
		node := b.best()
		if node == nil {
			return bought
		}
		for range b.copies(node) {
			bought = append(bought, &bin{offer: node.offer, loads: slices.Clone(node.loads)})
			b.count[node.offer]++
			b.nodes--
			for _, l := range node.loads {
				b.left[l.group] -= l.n
			}
		}
		b.compact()
	}
	return bought
}

// remaining worth.
func (b *buyer) remaining() float64 {
	sum := 0.0
	if b.prices == nil {
		return sum
	}
	for _, it := range b.order {
		sum += float64(b.left[it.group]) * b.groups[it.group].value
	}
	return sum
}

// weigh what is left anew, unless it has hardly changed.
func (b *buyer) weigh() {
	left := b.remaining()
	if b.prices != nil && (left > reweigh*b.worth || left < settled*b.whole) {
		return
	}
	b.value(b.price(rough))
	b.whole = max(b.whole, b.worth)
}

// price what is left.
func (b *buyer) price(tolerance float64) *prices {
	if b.cutter == nil {
		b.cutter = b.m.cutter(b.demands(), b.shelf)
		return b.cutter.price(tolerance)
	}
	left := b.demands()
	for _, d := range b.cutter.demands {
		clear(d.sum)
		for _, l := range left {
			if slices.Contains(d.of, l.mask) {
				for r, v := range l.sum {
					d.sum[r] += v
				}
			}
		}
	}
	return b.cutter.price(tolerance)
}

// demands of what is left.
func (b *buyer) demands() []*demand {
	byMask := map[*mask]*demand{}
	var all []*demand
	for i, g := range b.groups {
		if b.left[i] == 0 {
			continue
		}
		d := byMask[g.mask]
		if d == nil {
			d = &demand{mask: g.mask, sum: make([]float64, b.m.dims)}
			byMask[g.mask] = d
			all = append(all, d)
		}
		for r, v := range g.vector {
			d.sum[r] += v * float64(b.left[i])
		}
	}
	return all
}

// value the groups and the offers by prices.
func (b *buyer) value(p *prices) {
	b.prices = p
	b.order = b.order[:0]
	var masks []*mask
	for i, g := range b.groups {
		g.value = max(p.value(g.mask, g.vector), valueLeast)
		if b.left[i] == 0 {
			continue
		}
		b.order = append(b.order, b.item(i))
		if !slices.Contains(masks, g.mask) {
			masks = append(masks, g.mask)
		}
	}
	b.sort()
	b.chances.value(b.m, p, masks)
	b.guess(math.Inf(1))
	b.worth = b.remaining()
}

// restore what is on the nodes to what is left, and nothing else.
func (b *buyer) restore(bins []*bin) {
	clear(b.left)
	for _, bin := range bins {
		for _, l := range bin.loads {
			b.left[l.group] += l.n
		}
	}
}

// best buy now, nil if there is none.
func (b *buyer) best() *bin {
	left := b.remaining()
	if left <= 0 {
		return nil
	}
	least, most := 0.0, math.Inf(1)
	if b.nodes > 0 {
		least = left / float64(b.nodes) * 0.99
	}
	if apart := b.apart(); apart > 1 {
		most = max(least, left/float64(apart)*crowding)
	}
	if node := b.among(wanted{least, most, math.Inf(1)}); node != nil {
		return node
	}
	if node := b.among(wanted{least, math.Inf(1), math.Inf(1)}); node != nil {
		return node
	}
	if least > 0 { // no node is large enough for all to find a place: the largest, then
		return b.largest()
	}
	return nil
}

// apart is how many nodes the rules between pods on one node ask for.
func (b *buyer) apart() int {
	nodes := 0
	for _, it := range b.order {
		i, g := it.group, b.groups[it.group]
		if g.host != nil && g.host.most > 0 {
			nodes = max(nodes, (b.left[i]+g.host.most-1)/g.host.most)
		}
	}
	return nodes
}

// largest node by what it would hold.
func (b *buyer) largest() *bin {
	var node *bin
	held := 0.0
	for _, o := range b.shelf {
		if b.soldOut(o) {
			continue
		}
		if value := b.fill(o, balanced); value > held {
			node, held = b.filled(o), value
		}
	}
	return node
}

func (b *buyer) soldOut(o int) bool {
	most := b.m.offers[o].Max
	return most > 0 && b.count[o] >= most
}

// copies of a node that can be bought at once: half of what there is, since the mix
// of what is left changes.
func (b *buyer) copies(node *bin) int {
	n := math.MaxInt
	for _, l := range node.loads {
		n = min(n, b.left[l.group]/l.n)
	}
	n /= 2
	if most := b.m.offers[node.offer].Max; most > 0 {
		n = min(n, most-b.count[node.offer])
	}
	if b.nodes > 0 {
		n = min(n, b.nodes)
	}
	return max(1, n)
}
