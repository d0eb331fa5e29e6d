package fit

import fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"

// Rules are what a pod has to do with other pods. Trackers are named by number.
type Rules struct {
	Spread      []SpreadRule
	Affinity    []int // all must see a pod in the node's domain
	SelfAffine  bool  // the pod matches its own affinity terms
	Anti        []int // none may see a pod in the node's domain
	CountedBy   []int // trackers that see this pod
	ForbiddenBy []int // anti-affinity of others that see this pod
}

// SpreadRule is one DoNotSchedule constraint.
type SpreadRule struct {
	Tracker, MaxSkew, MinDomains int
	Self                         bool // it counts the pod itself
}

// None says whether the pod has nothing to do with others.
func (r Rules) None() bool {
	return len(r.Spread)+len(r.Affinity)+len(r.Anti)+len(r.CountedBy)+len(r.ForbiddenBy) == 0
}

// Rules of a pod. The slices are the book's own: don't change them.
func (b *Book) Rules(pod int) Rules {
	kind := b.classes[b.class[pod]]
	r := Rules{
		Affinity: kind.affinity, SelfAffine: kind.selfAffine, Anti: kind.anti, CountedBy: kind.countedBy, ForbiddenBy: kind.forbiddenBy,
	}
	for _, s := range kind.spread {
		r.Spread = append(r.Spread, SpreadRule{Tracker: s.tracker, MaxSkew: s.maxSkew, MinDomains: s.minDomains, Self: s.self > 0})
	}
	return r
}

// TopologyKey that a tracker looks at.
func (b *Book) TopologyKey(tracker int) string { return b.keys[b.trackers[tracker].key] }

// Admission is equal for pods that the same empty nodes admit, empty for those
// that every node without taints admits and that tolerate none.
func (b *Book) Admission(pod int) string {
	p := b.classes[b.class[pod]].pod
	return key(&fleetv1.Pod{
		NodeSelector: p.GetNodeSelector(), NodeAffinity: p.GetNodeAffinity(), Tolerations: p.GetTolerations(), VolumeZones: p.GetVolumeZones(),
	})
}
