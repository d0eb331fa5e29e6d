package pack

import (
	"math"
	"slices"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
)

// search makes a plan cheaper: it empties a few nodes, the wasteful ones more often,
// puts what was on them into the room of others or onto nodes bought anew, and keeps
// what costs less. Merging nodes, splitting one, swapping pods between them and
// replacing m nodes by k are all such a step.
type search struct {
	*buyer

	bins    []*bin
	already []int // by group, on the node being added to
	random  uint64
	meanOf  int // nodes of which the mean price is known
	meanIs  float64
	heat    float64 // how much dearer a plan may become for a while, USD per hour
}

const (
	emptiesMost = 5  // nodes emptied in one step
	addsMost    = 24 // nodes whose room is looked at in one step
	leastGain   = 1e-9
	// stepsEach and stepsPerNode are how many groups may be looked at for the usual
	// effort; a look takes some ten nanoseconds.
	stepsEach, stepsPerNode, stepsMost = 2.5e5, 2500, 3e7
	idleEach, idlePerNode              = 300, 60 // steps without gain: then there is nothing to be found any more
	// laps are what the effort is cut into; beyond its end, one more is run for as long as
	// the last saved more than paying of the cost.
	laps, paying = 4, 5e-5
	heatShare    = 0.003 // of a node's price
)

func newSearch(b *buyer, bins []*bin) *search {
	b.recall, b.patience = 0, 2
	s := &search{buyer: b, bins: bins, already: make([]int, len(b.groups)), random: 0x9e3779b97f4a7c15}
	for _, bin := range bins {
		s.measure(bin)
	}
	b.chances.sort(b.m)
	return s
}

// measure what a node has left and wastes.
func (s *search) measure(b *bin) {
	b.room, b.waste = s.m.offers[b.offer].room, s.m.offers[b.offer].price
	for _, l := range b.loads {
		reduce(&b.room, &s.groups[l.group].need, l.n)
		b.waste -= float64(l.n) * s.groups[l.group].value
	}
}

// next pseudo-random number below n, the same in each run.
func (s *search) next(n int) int {
	s.random ^= s.random << 13
	s.random ^= s.random >> 7
	s.random ^= s.random << 17
	return int(s.random>>1) % n
}

// run until the effort is spent and pays no more, or nothing more is found. At first it
// may take a step back, ever less so: what is best of all it has seen is the result.
func (s *search) run(budget, most int) []*bin {
	s.steps = 0
	best, cost := slices.Clone(s.bins), 0.0
	least := cost
	pays := paying * s.mean() * float64(len(s.bins))
	end, lap := budget, budget/laps
	mark, before := lap, least
	for idle := 0; len(s.bins) > 0 && s.steps < end && idle < idleEach+idlePerNode*len(s.bins); idle++ {
		s.heat = heatShare * s.mean() * max(0, 1-float64(s.steps)/float64(budget))
		cost += s.step()
		if cost < least-leastGain {
			best, least, idle = slices.Clone(s.bins), cost, 0
		}
		s.steps += 50 // so that steps without groups end too
		if s.steps >= mark {
			if mark+lap > end && before-least > pays {
				end = min(end+lap, most)
			}
			mark, before = mark+lap, least
		}
	}
	for _, b := range s.bins { // it may have gone on from the best
		s.count[b.offer]--
	}
	for _, b := range best {
		s.count[b.offer]++
	}
	return best
}

// mean price of a node.
func (s *search) mean() float64 {
	if s.meanOf != len(s.bins) {
		sum := 0.0
		for _, b := range s.bins {
			sum += s.m.offers[b.offer].price
		}
		s.meanOf, s.meanIs = len(s.bins), sum/float64(len(s.bins))
	}
	return s.meanIs
}

// pick nodes to be emptied: each is the most wasteful of a few, so that all have their turn.
func (s *search) pick() []int {
	k := min(len(s.bins), 1+s.next(emptiesMost))
	var picks []int
	akin := s.next(4) > 0
	for range k {
		best := s.next(len(s.bins))
		for range s.next(4) {
			if other := s.next(len(s.bins)); s.bins[other].waste > s.bins[best].waste {
				best = other
			}
		}
		if akin && len(picks) > 0 {
			best = s.akin(picks[0], best)
		}
		if !slices.Contains(picks, best) {
			picks = append(picks, best)
		}
	}
	return picks
}

// akin to a node is one that takes the same pods, if a few draws find one.
func (s *search) akin(to, draw int) int {
	brand := s.m.offers[s.bins[to].offer].brand
	for range 8 {
		if s.m.offers[s.bins[draw].offer].brand == brand {
			return draw
		}
		draw = s.next(len(s.bins))
	}
	return draw
}

// step empties nodes, and keeps what came of it if that is cheaper, or hardly dearer.
// It returns by how much the plan became dearer.
func (s *search) step() (change float64) {
	picks := s.pick()
	old := s.empty(picks)
	var added []addition
	if s.next(2) == 0 {
		added = s.add(picks)
	}
	allowed := -1
	if s.m.p.MaxNodes > 0 {
		allowed = s.nodes + len(picks)
	}
	fresh, cost, ok := s.rebuild(old+s.heat, allowed)
	for _, it := range s.order {
		s.left[it.group] = 0
	}
	s.order = s.order[:0]
	if !ok {
		for _, i := range picks {
			s.count[s.bins[i].offer]++
		}
		return 0
	}
	s.keep(picks, added, fresh)
	return cost - old
}

// keep what came of a step. Nodes are never changed, since the best plan may hold them.
func (s *search) keep(picks []int, added []addition, fresh []*bin) {
	s.nodes += len(picks) - len(fresh)
	for _, b := range fresh {
		s.count[b.offer]++
	}
	for _, a := range added {
		s.bins[a.at] = &bin{offer: s.bins[a.at].offer, loads: join(s.bins[a.at].loads, a.loads)}
		s.measure(s.bins[a.at])
	}
	slices.Sort(picks)
	for i := len(picks) - 1; i >= 0; i-- {
		s.bins[picks[i]] = s.bins[len(s.bins)-1]
		s.bins = s.bins[:len(s.bins)-1]
	}
	for _, b := range fresh {
		s.measure(b)
		s.bins = append(s.bins, b)
	}
}

// empty the nodes into what is left. It returns what they cost.
func (s *search) empty(picks []int) (cost float64) {
	for _, at := range picks {
		b := s.bins[at]
		cost += s.m.offers[b.offer].price
		s.count[b.offer]--
		for _, l := range b.loads {
			if s.left[l.group] == 0 {
				s.order = append(s.order, s.item(l.group))
			}
			s.left[l.group] += l.n
		}
	}
	if s.next(2) == 0 {
		for i := range s.order {
			s.order[i].worth *= 1 + float64(s.next(1000))/1000
		}
	}
	s.sort()
	return cost
}

// addition is loads for a node that stays.
type addition struct {
	at    int
	loads []load
}

// add what is left to the room of nodes that stay.
func (s *search) add(picks []int) (added []addition) {
	for range min(addsMost, len(s.bins)) {
		at := s.next(len(s.bins))
		b := s.bins[at]
		if slices.Contains(picks, at) || b.room.Pods <= 0 || slices.ContainsFunc(added, func(a addition) bool { return a.at == at }) {
			continue
		}
		if loads := s.addTo(b); len(loads) > 0 {
			added = append(added, addition{at, loads})
			for _, l := range loads {
				s.left[l.group] -= l.n
			}
		}
	}
	return added
}

func (s *search) addTo(b *bin) []load {
	s.resume(b)
	room := b.room
	s.stuff(b.offer, &room, 0)
	loads := s.filled(b.offer).loads
	for _, l := range b.loads {
		s.already[l.group] = 0
	}
	s.clear(b.offer)
	s.beside = nil
	return loads
}

// resume filling a node.
func (s *search) resume(b *bin) {
	s.clear(b.offer)
	s.beside = s.already
	for _, l := range b.loads {
		s.already[l.group] = l.n
		s.introduce(l.group, l.n)
	}
}

func join(a, b []load) []load {
	sum := slices.Clone(a)
	for _, l := range b {
		if i := slices.IndexFunc(sum, func(have load) bool { return have.group == l.group }); i >= 0 {
			sum[i].n += l.n
		} else {
			sum = append(sum, l)
		}
	}
	return sum
}

// rebuild nodes for what is left for less than limit, with at most so many nodes,
// any number below 0.
func (s *search) rebuild(limit float64, allowed int) (fresh []*bin, cost float64, ok bool) {
	var best []*bin
	s.guess(limit - s.remaining())
	s.steps += 10 * len(s.chances.heap)
	for cost = 0; ; {
		rest := s.remaining()
		if rest <= 0 && cost < limit {
			best, limit, ok = fresh, cost, true
			break
		}
		if cost+rest >= limit-leastGain || allowed == 0 {
			break
		}
		if last := s.last(limit - cost); last != nil {
			limit = cost + s.m.offers[last.offer].price
			best = append(slices.Clone(fresh), last)
			ok = true
		}
		node := s.among(wanted{0, math.Inf(1), limit - cost - rest})
		if node == nil || allowed == 1 {
			break
		}
		allowed--
		cost += s.m.offers[node.offer].price
		fresh = append(fresh, node)
		s.count[node.offer]++
		for _, l := range node.loads {
			s.left[l.group] -= l.n
		}
	}
	for _, b := range fresh {
		s.count[b.offer]--
	}
	return best, limit, ok
}

// last is the cheapest node that takes all that is left for less than limit.
func (s *search) last(limit float64) *bin {
	var sum fit.Amounts
	var admit []uint64
	for _, it := range s.order {
		i := it.group
		if s.left[i] == 0 {
			continue
		}
		g := s.groups[i]
		sum = sum.Plus(times(g.need, s.left[i]))
		if admit == nil {
			admit = slices.Clone(g.mask.bits)
			continue
		}
		for w, bits := range g.mask.bits {
			admit[w] &= bits
		}
	}
	for _, o := range s.shelf {
		if s.m.offers[o].price >= limit-leastGain {
			return nil
		}
		if brand := s.m.offers[o].brand; admit[brand>>6]>>(brand&63)&1 == 0 || s.soldOut(o) || !sum.Within(s.m.offers[o].room) {
			continue
		}
		s.fill(o, plain)
		node := s.filled(o)
		all := 0
		for _, l := range node.loads {
			all += l.n
		}
		if int64(all) == sum.Pods {
			return node
		}
	}
	return nil
}

// times a need.
func times(a fit.Amounts, n int) fit.Amounts {
	k := int64(n)
	product := fit.Amounts{CPU: a.CPU * k, Memory: a.Memory * k, Disk: a.Disk * k, Pods: a.Pods * k}
	for _, v := range a.Extended {
		product.Extended = append(product.Extended, v*k)
	}
	return product
}
