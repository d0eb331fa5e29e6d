package pack

import (
	"math"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
)

// bin is a node to be bought with what goes on it.
type bin struct {
	offer int
	loads []load
}

// load is some pods of a group.
type load struct{ group, n int }

// filler fills imaginary nodes from what is left of the groups.
type filler struct {
	m      *model
	groups []*group // dearest first
	left   []int    // by group

	taken  []int // by group, on the node being filled
	loaded []int // groups on it
	seen   []int // by tracker, on it
	owners []int
	ports  map[int32]bool
	steps  int // groups looked at so far: what filling costs
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
	offer := &f.m.offers[o]
	room := offer.room
	worth := 0.0
	relation := float64(room.Memory) / float64(max(1, room.CPU))
	for pass := range 2 {
		if pass == 0 && !balanced {
			continue
		}
		for i, g := range f.groups {
			n := f.left[i] - f.taken[i]
			if n <= 0 || g.need.CPU > room.CPU || g.need.Memory > room.Memory || !g.mask.has(o) {
				continue
			}
			if pass == 0 && unbalances(room, g.need, relation) {
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
			worth += float64(n) * g.value
			if room.Pods <= 0 {
				return worth
			}
		}
		f.steps += len(f.groups)
	}
	return worth
}

func (f *filler) clear(o int) {
	for _, i := range f.loaded {
		f.taken[i] = 0
		if h := f.groups[i].host; h != nil {
			for _, t := range h.counted {
				f.seen[t] = 0
			}
			for _, t := range h.anti {
				f.owners[t] = 0
			}
		}
	}
	f.loaded = f.loaded[:0]
	if len(f.ports) > 0 {
		clear(f.ports)
	}
	for _, port := range f.m.offers[o].Node.Ports {
		f.ports[port] = true
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
		n = min(n, h.most-f.taken[i])
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
