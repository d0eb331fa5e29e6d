package replay

import (
	"container/heap"
	"errors"
	"math"
)

// network is a directed network whose arcs lead from lower vertices to higher ones.
type network struct {
	first []int32 // of each vertex, -1 for none
	arcs  []arc   // in pairs: an arc and its reverse
}

type arc struct {
	to, next int32
	room     int32
	cost     int64
}

func newNetwork(vertices int) *network {
	n := &network{first: make([]int32, vertices)}
	for i := range n.first {
		n.first[i] = -1
	}
	return n
}

// link two vertices, from < to.
func (n *network) link(from, to, room int, cost int64) {
	n.arcs = append(n.arcs,
		arc{to: int32(to), next: n.first[from], room: int32(room), cost: cost},
		arc{to: int32(from), next: n.first[to], cost: -cost})
	n.first[from], n.first[to] = int32(len(n.arcs)-2), int32(len(n.arcs)-1)
}

const unreached = math.MaxInt64 / 4

// cheapest cost of sending so many units from the first vertex to the last, by
// successive shortest paths: each unit on the path that is cheapest given the others
// before it, which together are cheapest of all (Ford and Fulkerson; potentials after
// Edmonds and Karp keep the arcs' costs from being negative).
func (n *network) cheapest(units int) (int64, error) {
	potential := n.potentials()
	sink := len(n.first) - 1
	total := int64(0)
	for units > 0 {
		distance, by := n.shortest(potential)
		if distance[sink] >= unreached {
			return 0, errors.New("not so many units find a way")
		}
		for v := range potential {
			potential[v] += min(distance[v], distance[sink])
		}
		sent := int32(units)
		for v := sink; v != 0; v = int(n.arcs[by[v]^1].to) {
			sent = min(sent, n.arcs[by[v]].room)
		}
		for v := sink; v != 0; v = int(n.arcs[by[v]^1].to) {
			n.arcs[by[v]].room -= sent
			n.arcs[by[v]^1].room += sent
			total += int64(sent) * n.arcs[by[v]].cost
		}
		units -= int(sent)
	}
	return total, nil
}

// potentials are the distances from the first vertex, in one go since arcs lead upwards.
func (n *network) potentials() []int64 {
	distance := make([]int64, len(n.first))
	for v := range distance[1:] {
		distance[v+1] = unreached
	}
	for v := range n.first {
		for a := n.first[v]; a >= 0; a = n.arcs[a].next {
			if arc := n.arcs[a]; arc.room > 0 && distance[v] < unreached {
				distance[arc.to] = min(distance[arc.to], distance[v]+arc.cost)
			}
		}
	}
	return distance
}

// shortest distances by costs less potentials, and the arc by which each is reached.
func (n *network) shortest(potential []int64) ([]int64, []int32) {
	distance, by := make([]int64, len(n.first)), make([]int32, len(n.first))
	for v := range distance {
		distance[v] = unreached
	}
	distance[0] = 0
	queue := &reached{{}}
	for queue.Len() > 0 {
		at := heap.Pop(queue).(reach)
		if at.distance > distance[at.vertex] {
			continue
		}
		for a := n.first[at.vertex]; a >= 0; a = n.arcs[a].next {
			arc := n.arcs[a]
			if arc.room == 0 || potential[arc.to] >= unreached {
				continue
			}
			if d := at.distance + arc.cost + potential[at.vertex] - potential[arc.to]; d < distance[arc.to] {
				distance[arc.to], by[arc.to] = d, a
				heap.Push(queue, reach{distance: d, vertex: arc.to})
			}
		}
	}
	return distance, by
}

type reach struct {
	distance int64
	vertex   int32
}

// reached vertices, the nearest first.
type reached []reach

func (r reached) Len() int           { return len(r) }
func (r reached) Less(i, j int) bool { return r[i].distance < r[j].distance }
func (r reached) Swap(i, j int)      { r[i], r[j] = r[j], r[i] }

// Push as heap.Interface wants it.
func (r *reached) Push(x any) { *r = append(*r, x.(reach)) }

// Pop as heap.Interface wants it.
func (r *reached) Pop() any {
	last := (*r)[len(*r)-1]
	*r = (*r)[:len(*r)-1]
	return last
}
