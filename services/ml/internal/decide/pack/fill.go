package pack

import (
	"math"

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

// filler fills imaginary nodes from what is left of the groups.
type filler struct {
	m      *model
	groups []*group
	left   []int // by group
	order  []int // groups with pods left, dearest first

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

// fill an empty node of an offer. In a balanced filling the first pass takes only what
// draws the free CPU and memory towards the node's own relation; otherwise the dearest
// pods go first.
func (f *filler) fill(o int, balanced bool) (value float64) {
	f.clear(o)
	room := f.m.offers[o].room
	if balanced {
		value = f.stuff(o, &room, true)
	}
	return value + f.stuff(o, &room, false)
}

// stuff pods into the room of a node of an offer, beside what is there.
func (f *filler) stuff(o int, left *fit.Amounts, balanced bool) (value float64) {
	room := *left
	relation := float64(f.m.offers[o].room.Memory) / float64(max(1, f.m.offers[o].room.CPU))
	f.steps += len(f.order)
	for _, i := range f.order {
		g := f.groups[i]
		n := f.left[i] - f.taken[i]
		if n <= 0 || g.need.CPU > room.CPU || g.need.Memory > room.Memory || !g.mask.has(o) {
			continue
		}
		if balanced && unbalances(room, g.need, relation) {
			continue
		}
		if n = min(n, most(g.need, room)); g.host != nil {
			n = f.sociable(i, n)
		}
		if n <= 0 {
			continue
		}
		room = less(room, g.need, n)
		f.take(i, n)
		value += float64(n) * g.value
		if room.Pods <= 0 {
			break
		}
	}
	*left = room
	return value
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

// unbalances says whether a pod would take the free room further from the relation
// of memory to CPU.
func unbalances(room, need fit.Amounts, relation float64) bool {
	free := float64(room.Memory) / float64(max(1, room.CPU))
	asked := float64(need.Memory) / float64(max(1, need.CPU))
	return math.Abs(free-relation) > 0.02*relation && (free < relation) == (asked > free)
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
	for _, port := range h.ports {
		if f.ports[port] {
			return 0
		}
	}
	for _, t := range h.anti {
		if f.seen[t] > 0 {
			return 0
		}
	}
	for _, t := range h.forbidden {
		if f.owners[t] > 0 {
			return 0
		}
	}
	if h.together {
		if n < f.left[i] {
			return 0
		}
		return n
	}
	for _, t := range h.near {
		if f.seen[t] == 0 {
			return 0
		}
	}
	return n
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
func most(need, room fit.Amounts) int {
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

// less room after n pods have come.
func less(room, need fit.Amounts, n int) fit.Amounts {
	k := int64(n)
	room.CPU -= k * need.CPU
	room.Memory -= k * need.Memory
	room.Disk -= k * need.Disk
	room.Pods -= k
	if len(need.Extended) > 0 {
		extended := append([]int64(nil), room.Extended...)
		for i, v := range need.Extended {
			if v > 0 {
				extended[i] -= k * v
			}
		}
		room.Extended = extended
	}
	return room
}
