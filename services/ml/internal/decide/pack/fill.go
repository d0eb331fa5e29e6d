package pack

import (
	"cmp"
	"math"
	"slices"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
)

// bin is a node to be bought with what goes on it.
type bin struct {
	offer int
	loads []load
	room  fit.Amounts // left
	waste float64     // price beyond the worth of what is on it
}

// load is some pods of a group.
type load struct{ group, n int }

// item is a group with what is asked first of it, side by side in memory.
type item struct {
	group       int
	mask        *mask
	low         uint64 // the mask's first bits: most problems have no more brands
	cpu, memory int64
	relation    float64 // of memory to CPU
	worth       float64 // decides the order

	leastCPU, leastMemory int64 // of it and those behind it in the order
}

// admitted says whether a brand admits it.
func (it *item) admitted(brand int) bool {
	if brand < 64 {
		return it.low>>brand&1 == 1
	}
	return it.mask.has(brand)
}

// filler fills imaginary nodes from what is left of the groups.
type filler struct {
	m      *model
	groups []*group
	left   []int  // by group
	order  []item // groups with pods left, dearest first

	byRelation []item // the same by memory to CPU

	taken  []int // by group, on the node being filled
	loaded []int // groups on it
	seen   []int // by tracker, on it
	owners []int
	ports  map[int32]bool
	beside []int // by group, what the node has already; nil: nothing
	inside []int // groups that were there
	steps  int   // groups looked at so far: what filling costs
}

func newFiller(m *model, groups []*group) *filler {
	f := &filler{m: m, groups: groups, left: make([]int, len(groups)), taken: make([]int, len(groups)), ports: map[int32]bool{}}
	trackers := 0
	for i, g := range groups {
		f.left[i] = len(g.pods)
		if g.host != nil {
			for _, list := range [][]int{g.host.anti, g.host.counted, g.host.forbidden, g.host.near} {
				for _, t := range list {
					trackers = max(trackers, t+1)
				}
			}
		}
	}
	f.seen, f.owners = make([]int, trackers), make([]int, trackers)
	return f
}

// way to fill a node.
type way int

const (
	alike    way = iota // pods that ask for memory and CPU in the node's own relation first, then balanced
	balanced            // dearest first, but what draws what is left towards the node's relation
	plain               // dearest first
)

// alikeShare of a node is filled with pods like it; the rest makes things even.
const alikeShare = 0.8

// reachAlike is how many times the relation of a pod may be off that of what is left of
// a node filled with pods like it, in evening it out.
const reachAlike = 4

// fill an empty node of an offer.
func (f *filler) fill(o int, how way) (value float64) {
	f.clear(o)
	room := f.m.offers[o].room
	if how == alike {
		value += f.stuffAlike(o, &room)
	}
	if how == alike {
		value += f.stuff(o, &room, reachAlike)
	}
	if how != plain {
		value += f.stuff(o, &room, math.Inf(1))
	}
	return value + f.stuff(o, &room, 0)
}

// stuff pods into the room of a node of an offer, beside what is there; with a reach
// above 0 only those that even it out.
func (f *filler) stuff(o int, room *fit.Amounts, reach float64) (value float64) {
	own, free, brand := relation(f.m.offers[o].room), relation(*room), f.m.offers[o].brand
	for at := range f.order {
		it := &f.order[at]
		f.steps++
		if it.leastCPU > room.CPU || it.leastMemory > room.Memory {
			break
		}
		if it.cpu > room.CPU || it.memory > room.Memory || !it.admitted(brand) {
			continue
		}
		if reach > 0 && !evens(it.relation, free, own, reach) {
			continue
		}
		if more := f.put(it.group, room); more > 0 {
			value += more
			free = relation(*room)
			if room.Pods <= 0 {
				break
			}
		}
	}
	return value
}

// evens says whether a pod draws what is free of a node towards the node's own relation
// of memory to CPU, without being off by more than reach.
func evens(pod, free, own, reach float64) bool {
	if pod > reach*free || pod*reach < free {
		return false
	}
	return (free < own) != (pod > free) || math.Abs(free-own) <= 0.02*own
}

// stuffAlike goes through the groups from those whose relation of memory to CPU is the
// node's to those furthest from it.
func (f *filler) stuffAlike(o int, room *fit.Amounts) (value float64) {
	full := *room
	own, brand := relation(full), f.m.offers[o].brand
	up, _ := slices.BinarySearchFunc(f.byRelation, own, func(it item, own float64) int { return cmp.Compare(it.relation, own) })
	down := up - 1
	kept := func(left, all int64) bool { return float64(left) > (1-alikeShare)*float64(all) }
	for (down >= 0 || up < len(f.byRelation)) && kept(room.CPU, full.CPU) && kept(room.Memory, full.Memory) && room.Pods > 0 {
		var it *item
		if up < len(f.byRelation) && (down < 0 || f.byRelation[up].relation/own < own/f.byRelation[down].relation) {
			it = &f.byRelation[up]
			up++
		} else {
			it = &f.byRelation[down]
			down--
		}
		f.steps++
		if it.cpu <= room.CPU && it.memory <= room.Memory && it.admitted(brand) {
			value += f.put(it.group, room)
		}
	}
	return value
}

// put as many pods of a group as there can be on the node.
func (f *filler) put(i int, room *fit.Amounts) (value float64) {
	g := f.groups[i]
	n := f.left[i] - f.taken[i]
	if n <= 0 {
		return 0
	}
	if n = min(n, most(&g.need, room)); g.host != nil {
		n = f.sociable(i, n)
	}
	if n <= 0 {
		return 0
	}
	reduce(room, &g.need, n)
	f.take(i, n)
	return float64(n) * g.value
}

func (f *filler) clear(o int) {
	for _, i := range f.loaded {
		f.taken[i] = 0
		f.forget(i)
	}
	for _, i := range f.inside {
		f.forget(i)
	}
	f.loaded, f.inside = f.loaded[:0], f.inside[:0]
	if len(f.ports) > 0 {
		clear(f.ports)
	}
	for _, port := range f.m.offers[o].Node.Ports {
		f.ports[port] = true
	}
}

func (f *filler) forget(i int) {
	h := f.groups[i].host
	if h == nil {
		return
	}
	for _, t := range h.counted {
		f.seen[t] = 0
	}
	for _, t := range h.anti {
		f.owners[t] = 0
	}
}

// relation of memory to CPU.
func relation(a fit.Amounts) float64 {
	return float64(max(1, a.Memory)) / float64(max(1, a.CPU))
}

func (f *filler) take(i, n int) {
	if f.taken[i] == 0 {
		f.loaded = append(f.loaded, i)
	}
	f.taken[i] += n
	f.meet(i, n)
}

// introduce pods that are on the node already.
func (f *filler) introduce(i, n int) {
	f.inside = append(f.inside, i)
	f.meet(i, n)
}

// meet tells the rules of the node that n pods of a group are on it.
func (f *filler) meet(i, n int) {
	h := f.groups[i].host
	if h == nil {
		return
	}
	for _, t := range h.counted {
		f.seen[t] += n
	}
	for _, t := range h.anti {
		f.owners[t] += n
	}
	for _, port := range h.ports {
		f.ports[port] = true
	}
}

// sociable is how many of n pods of a group the rules between pods on a node allow.
func (f *filler) sociable(i, n int) int {
	h := f.groups[i].host
	if h.most > 0 {
		there := f.taken[i]
		if f.beside != nil {
			there += f.beside[i]
		}
		n = min(n, h.most-there)
	}
	if f.refuses(h) {
		return 0
	}
	if h.together && n < f.left[i] {
		return 0
	}
	if h.together {
		return n
	}
	for _, t := range h.near {
		if f.seen[t] == 0 {
			return 0
		}
	}
	return n
}

// refuses says whether something on the node keeps pods with these rules off.
func (f *filler) refuses(h *hostRules) bool {
	return slices.ContainsFunc(h.ports, func(port int32) bool { return f.ports[port] }) ||
		slices.ContainsFunc(h.anti, func(t int) bool { return f.seen[t] > 0 }) ||
		slices.ContainsFunc(h.forbidden, func(t int) bool { return f.owners[t] > 0 })
}

func (f *filler) item(i int) item {
	g := f.groups[i]
	return item{group: i, mask: g.mask, low: g.mask.low(), cpu: g.need.CPU, memory: g.need.Memory, worth: g.value, relation: relation(g.need)}
}

// compact the order: groups of which nothing is left go.
func (f *filler) compact() {
	gone := func(it item) bool { return f.left[it.group] == 0 }
	f.order, f.byRelation = slices.DeleteFunc(f.order, gone), slices.DeleteFunc(f.byRelation, gone)
	f.look()
}

// look ahead in the order for what the least is that is asked for.
func (f *filler) look() {
	cpu, memory := int64(math.MaxInt64), int64(math.MaxInt64)
	for at := len(f.order) - 1; at >= 0; at-- {
		it := &f.order[at]
		cpu, memory = min(cpu, it.cpu), min(memory, it.memory)
		it.leastCPU, it.leastMemory = cpu, memory
	}
}

// sort the groups in order, dearest first.
func (f *filler) sort() {
	slices.SortFunc(f.order, dearer)
	f.look()
	f.byRelation = append(f.byRelation[:0], f.order...)
	slices.SortFunc(f.byRelation, func(a, b item) int {
		switch {
		case a.relation < b.relation:
			return -1
		case a.relation > b.relation:
			return 1
		}
		return dearer(a, b)
	})
}

// dearer first, then by number.
func dearer(a, b item) int {
	switch {
	case a.worth > b.worth:
		return -1
	case a.worth < b.worth:
		return 1
	}
	return a.group - b.group
}

// filled is the node as last filled.
func (f *filler) filled(o int) *bin {
	b := &bin{offer: o}
	for _, i := range f.loaded {
		b.loads = append(b.loads, load{group: i, n: f.taken[i]})
	}
	return b
}

// most pods with this need that go into the room; without a need, as many as there are slots.
func most(need, room *fit.Amounts) int {
	n := room.Pods
	if need.CPU > 0 {
		n = min(n, room.CPU/need.CPU)
	}
	if need.Memory > 0 {
		n = min(n, room.Memory/need.Memory)
	}
	if need.Disk > 0 {
		n = min(n, room.Disk/need.Disk)
	}
	for i, v := range need.Extended {
		if v > 0 {
			have := int64(0)
			if i < len(room.Extended) {
				have = room.Extended[i]
			}
			n = min(n, have/v)
		}
	}
	return int(max(0, n))
}

// reduce room by what n pods take.
func reduce(room, need *fit.Amounts, n int) {
	k := int64(n)
	room.CPU -= k * need.CPU
	room.Memory -= k * need.Memory
	room.Disk -= k * need.Disk
	room.Pods -= k
	if len(need.Extended) > 0 {
		extended := slices.Clone(room.Extended) // others may hold the slice too
		for i, v := range need.Extended {
			if v > 0 {
				extended[i] -= k * v
			}
		}
		room.Extended = extended
	}
}
