package fit

import (
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// Amounts are resources as the scheduler counts them. Extended resources are
// a slice in an order that one Book fixes; nil means none.
type Amounts struct {
	CPU, Memory, Disk, Pods int64
	Extended                []int64
}

// Plus is the sum.
func (a Amounts) Plus(b Amounts) Amounts {
	return Amounts{
		CPU: a.CPU + b.CPU, Memory: a.Memory + b.Memory, Disk: a.Disk + b.Disk, Pods: a.Pods + b.Pods,
		Extended: combine(a.Extended, b.Extended, 1),
	}
}

// Minus is the difference, which may be negative.
func (a Amounts) Minus(b Amounts) Amounts {
	return Amounts{
		CPU: a.CPU - b.CPU, Memory: a.Memory - b.Memory, Disk: a.Disk - b.Disk, Pods: a.Pods - b.Pods,
		Extended: combine(a.Extended, b.Extended, -1),
	}
}

func combine(a, b []int64, sign int64) []int64 {
	if len(b) == 0 {
		return a
	}
	sum := make([]int64, max(len(a), len(b)))
	copy(sum, a)
	for i, v := range b {
		sum[i] += sign * v
	}
	return sum
}

// Within says whether all of the amounts fit into room. A resource not asked
// for may be overdrawn already: the scheduler does not mind either.
func (a Amounts) Within(room Amounts) bool {
	if exceeds(a.CPU, room.CPU) || exceeds(a.Memory, room.Memory) || exceeds(a.Disk, room.Disk) || exceeds(a.Pods, room.Pods) {
		return false
	}
	for i, v := range a.Extended {
		if v > 0 && (i >= len(room.Extended) || v > room.Extended[i]) {
			return false
		}
	}
	return true
}

func exceeds(asked, room int64) bool { return asked > 0 && asked > room }

// names of extended resources, in the order of Amounts.Extended.
type names struct{ index map[string]int }

func (n *names) amounts(r *fleetv1.Resources) Amounts {
	a := Amounts{CPU: r.GetCpuMillicores(), Memory: r.GetMemoryBytes(), Disk: r.GetEphemeralStorageBytes()}
	for name, v := range r.GetExtended() {
		i, ok := n.index[name]
		if !ok {
			i = len(n.index)
			n.index[name] = i
		}
		for len(a.Extended) <= i {
			a.Extended = append(a.Extended, 0)
		}
		a.Extended[i] = v
	}
	return a
}
