package fit

import (
	"cmp"
	"slices"
)

// Scheduler foretells where the kube-scheduler puts pods. It filters exactly as
// Fits does and scores as the default profile's LeastAllocated does, so it
// spreads where a packer would fill: a plan that only works if pods land as packed
// fails here. Nodes with a PreferNoSchedule taint come last, as its TaintToleration
// has them. What it leaves out (balanced allocation, image locality, soft
// spreading) is stood in for by Noise: a plan should hold for several seeds.
type Scheduler struct {
	// Seed of the noise and of ties.
	Seed uint64
	// Noise is added to scores of 0 to 100.
	Noise float64

	next int // where the search for nodes starts, as the scheduler's does
}

const (
	// A scheduler of more nodes than this looks only at some of them.
	sampleAbove = 100
	// Pods that ask for nothing count as this much in scores, as in Kubernetes.
	defaultCPU, defaultMemory = 100, 200 << 20
	// A node without a PreferNoSchedule taint scores so much more: 100 by
	// TaintToleration, which weighs three times LeastAllocated.
	untaintedScore = 300
)

// Schedule puts the pod on the best node and says which, or -1 if none takes it.
func (s *Scheduler) Schedule(c *Cluster, pod int) int {
	kind := c.book.classes[c.book.class[pod]]
	minima := c.minima(kind)
	nodes := c.candidates(kind)
	enough := sample(len(nodes))
	best, bestScore, found := -1, 0.0, 0
	start := s.next
	for i := range nodes {
		at := (start + i) % len(nodes)
		node := nodes[at]
		if !c.fits(kind, c.nodes[node], minima) {
			continue
		}
		score := leastAllocated(c.nodes[node], kind.requests) + s.noise(pod, node)
		if !discouraged(kind.pod, c.nodes[node].Taints) {
			score += untaintedScore
		}
		if best < 0 || score > bestScore {
			best, bestScore = node, score
		}
		if found++; found >= enough {
			s.next = at + 1
			break
		}
	}
	if best >= 0 {
		c.Place(pod, best)
	}
	return best
}

// sample is how many feasible nodes the scheduler looks for: half of 100 nodes,
// falling to 5 % of a very large cluster, and at least 100.
func sample(nodes int) int {
	if nodes <= sampleAbove {
		return nodes
	}
	percent := max(5, 50-nodes/125)
	return max(sampleAbove, nodes*percent/100)
}

// leastAllocated scores the mean free share of CPU and memory after the pod has come.
func leastAllocated(p *place, r Amounts) float64 {
	share := func(room, free, asked, standIn int64) float64 {
		if asked == 0 {
			asked = standIn
		}
		if room <= 0 || asked > free {
			return 0
		}
		return 100 * float64(free-asked) / float64(room)
	}
	return (share(p.Room.CPU, p.free.CPU, r.CPU, defaultCPU) + share(p.Room.Memory, p.free.Memory, r.Memory, defaultMemory)) / 2
}

// noise in [0, Noise), the same for the same seed, pod and node. At least a
// sliver, since the scheduler picks among equals at random.
func (s *Scheduler) noise(pod, node int) float64 {
	x := s.Seed*0x9e3779b97f4a7c15 + uint64(pod)*0xbf58476d1ce4e5b9 + uint64(node)*0x94d049bb133111eb
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	x ^= x >> 31
	return float64(x>>11) / (1 << 53) * max(s.Noise, 1e-6)
}

// Drain closes the nodes, moves the pods off them in order and removes the nodes.
// Pods that fit nowhere wait and try again, as they would; those that still wait
// when the last node is empty are returned. They might find a place once the old
// nodes are gone, whose zones still count for their spread, but nobody lets a pod
// wait that long.
func (s *Scheduler) Drain(c *Cluster, nodes []int, pods map[int][]int) (stuck []int) {
	for _, node := range nodes {
		c.Close(node)
	}
	for _, node := range nodes {
		evicted := slices.Clone(pods[node])
		slices.SortStableFunc(evicted, func(a, b int) int {
			return cmp.Compare(s.noise(a, node), s.noise(b, node))
		})
		for _, pod := range evicted {
			c.Remove(pod)
		}
		stuck = s.Settle(c, append(stuck, evicted...))
	}
	for _, node := range nodes {
		c.RemoveNode(node)
	}
	return stuck
}

// Settle schedules the pods, higher priorities first, until no more find a
// place; it returns those that have none.
func (s *Scheduler) Settle(c *Cluster, pods []int) (stuck []int) {
	waiting := slices.Clone(pods)
	slices.SortStableFunc(waiting, func(a, b int) int {
		return cmp.Compare(c.book.pods[b].GetPriority(), c.book.pods[a].GetPriority())
	})
	for {
		stuck = stuck[:0:0]
		refused := map[int]bool{} // what one pod of a class cannot have, the next need not ask for
		for _, pod := range waiting {
			if refused[c.book.class[pod]] || s.Schedule(c, pod) < 0 {
				stuck = append(stuck, pod)
				refused[c.book.class[pod]] = true
			}
		}
		if len(stuck) == 0 || len(stuck) == len(waiting) {
			return stuck
		}
		waiting = slices.Clone(stuck)
	}
}
