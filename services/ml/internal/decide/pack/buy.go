package pack

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// buyer buys nodes for groups of pods, one good buy after the other: it fills an
// imaginary node of each offer, takes the one that costs least for what it holds, and
// goes on with the rest.
type buyer struct {
	*filler

	count  []int // bought so far, by offer, with what was bought before
	nodes  int   // that may yet be bought, below 0: any number
	shelf  []int // offers that are not beaten by another that the pods can use alike
	prices *prices
	cutter *cutter   // of all the groups
	bound  []float64 // least price for each unit of worth, by offer
	offers []int     // shelf by bound
	worth  float64   // of all that was left when prices were found
	whole  float64   // of all there was
}

const (
	reweigh  = 0.75   // of the worth is left: find new prices
	settled  = 0.02   // of all the worth is left: prices stay
	near     = 1.0015 // a buy so near to what is possible at best ends the search for a better one
	roomy    = 1.3    // a node that could hold so much more than it may is not looked at first
	crowding = 1.25   // how far a node may exceed the share that leaves enough nodes
)

func newBuyer(m *model, groups []*group, count []int, nodes int) *buyer {
	b := &buyer{filler: newFiller(m, groups), count: count, nodes: nodes}
	b.shelve()
	return b
}

// shelve drops offers that have a twin for less: on-demand nodes cost the same in
// every zone, and where no pod minds the zone, one zone's will do.
func (b *buyer) shelve() {
	users := b.users()
	type twin struct {
		cpu, memory, disk, pods int64
		users, rest             string
	}
	twins := map[twin]int{}
	for i := range b.m.offers {
		o := &b.m.offers[i]
		key := twin{cpu: o.room.CPU, memory: o.room.Memory, disk: o.room.Disk, pods: o.room.Pods, users: users[o.brand]}
		if key.users == "" || o.room.Pods <= 0 {
			continue
		}
		if len(o.room.Extended)+len(o.Node.Ports) > 0 {
			key.rest = fmt.Sprint(o.room.Extended, o.Node.Ports)
		}
		at, ok := twins[key]
		switch {
		case o.Max > 0:
			b.shelf = append(b.shelf, i)
		case !ok:
			twins[key] = len(b.shelf)
			b.shelf = append(b.shelf, i)
		case o.Price < b.m.offers[b.shelf[at]].Price:
			b.shelf[at] = i
		}
	}
}

// users spells, by brand, which masks of the groups have it.
func (b *buyer) users() []string {
	var masks []*mask
	for _, g := range b.groups {
		if !slices.Contains(masks, g.mask) {
			masks = append(masks, g.mask)
		}
	}
	users := make([]string, len(b.m.brands))
	for brand := range users {
		text := strings.Builder{}
		for i, k := range masks {
			if k.has(brand) {
				fmt.Fprint(&text, i, " ")
			}
		}
		users[brand] = text.String()
	}
	return users
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

// unplaced pods.
func (b *buyer) unplaced() int {
	n := 0
	for _, left := range b.left {
		n += left
	}
	return n
}

func (b *buyer) cost(bins []*bin) float64 {
	sum := 0.0
	for _, bin := range bins {
		sum += b.m.offers[bin.offer].Price
	}
	return sum
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
		b.cutter = b.m.cutter(b.demands())
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
	b.bound = make([]float64, len(b.m.offers))
	tops := make([][]float64, len(b.m.brands))
	for _, o := range b.shelf {
		brand := b.m.offers[o].brand
		if tops[brand] == nil {
			tops[brand] = b.top(p, masks, brand)
		}
		b.bound[o] = b.m.offers[o].Price / max(valueLeast, dot(tops[brand], b.m.offers[o].space))
	}
	b.offers = slices.Clone(b.shelf)
	slices.SortStableFunc(b.offers, func(x, y int) int { return cmp.Compare(b.bound[x], b.bound[y]) })
	b.worth = b.remaining()
}

// top worths that any of the masks gives resources of a brand.
func (b *buyer) top(p *prices, masks []*mask, brand int) []float64 {
	top := make([]float64, b.m.dims)
	for _, k := range masks {
		if k.has(brand) {
			for r, v := range p.of(k) {
				top[r] = max(top[r], v)
			}
		}
	}
	return top
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
	if node := b.among(least, most); node != nil {
		return node
	}
	if node := b.among(least, math.Inf(1)); node != nil {
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

var ways = [...]way{alike, balanced, plain}

// among the nodes that hold worth between least and most, the one that costs least
// for each unit.
func (b *buyer) among(least, most float64) (node *bin) {
	score := math.Inf(1)
	for _, o := range b.offers {
		if b.bound[o]*near >= score {
			break
		}
		if full := b.m.offers[o].Price / b.bound[o]; b.soldOut(o) || full < least || full > roomy*most {
			continue
		}
		for _, how := range ways {
			value := b.fill(o, how)
			if value <= 0 || value < least || value > most {
				continue
			}
			if s := b.m.offers[o].Price / value; s < score || node == nil {
				node, score = b.filled(o), s
			}
			if score <= b.bound[o]*near {
				return node
			}
		}
	}
	return node
}

// largest node by what it would hold.
func (b *buyer) largest() *bin {
	var node *bin
	held := 0.0
	for _, o := range b.offers {
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
