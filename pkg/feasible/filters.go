package feasible

import (
	"slices"
	"strconv"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

const (
	zoneLabel    = "topology.kubernetes.io/zone"
	cordonTaint  = "node.kubernetes.io/unschedulable"
	hardSpread   = "DoNotSchedule"
	nameField    = "metadata.name"
	softTaint    = "PreferNoSchedule"
	defaultSlots = 110 // the kubelet's own limit, for nodes that do not say theirs
)

// tolerated names the taint that keeps the pod out, empty if none does.
func tolerated(pod *fleetv1.Pod, n *fleetv1.NodeMetric) string {
	taints := n.GetTaints()
	if n.GetUnschedulable() || !n.GetReady() {
		taints = append(slices.Clone(taints), &fleetv1.Taint{Key: cordonTaint, Effect: "NoSchedule"})
	}
	for _, t := range taints {
		if t.GetEffect() == softTaint {
			continue
		}
		if !slices.ContainsFunc(pod.GetTolerations(), func(tol *fleetv1.Toleration) bool { return tolerates(tol, t) }) {
			return t.GetKey()
		}
	}
	return ""
}

func tolerates(tol *fleetv1.Toleration, t *fleetv1.Taint) bool {
	if effect := tol.GetEffect(); effect != "" && effect != t.GetEffect() {
		return false
	}
	if tol.GetOperator() == "Exists" {
		return tol.GetKey() == "" || tol.GetKey() == t.GetKey()
	}
	if operator := tol.GetOperator(); operator != "" && operator != "Equal" {
		return false
	}
	return tol.GetKey() != "" && tol.GetKey() == t.GetKey() && tol.GetValue() == t.GetValue()
}

// admitted by node selector and one of the required node affinity's terms.
func admitted(pod *fleetv1.Pod, n *fleetv1.NodeMetric) bool {
	for key, want := range pod.GetNodeSelector() {
		if have, ok := n.GetLabels()[key]; !ok || have != want {
			return false
		}
	}
	terms := pod.GetNodeAffinity()
	if len(terms) == 0 {
		return true
	}
	name := map[string]string{nameField: n.GetNodeName()}
	return slices.ContainsFunc(terms, func(t *fleetv1.NodeSelectorTerm) bool {
		empty := len(t.GetMatchExpressions()) == 0 && len(t.GetMatchFields()) == 0
		return !empty && every(t.GetMatchExpressions(), n.GetLabels()) && every(t.GetMatchFields(), name)
	})
}

func every(requirements []*fleetv1.LabelRequirement, labels map[string]string) bool {
	return !slices.ContainsFunc(requirements, func(r *fleetv1.LabelRequirement) bool { return !holds(r, labels) })
}

func holds(r *fleetv1.LabelRequirement, labels map[string]string) bool {
	have, has := labels[r.GetKey()]
	switch r.GetOperator() {
	case "Exists":
		return has
	case "DoesNotExist":
		return !has
	case "In":
		return has && slices.Contains(r.GetValues(), have)
	case "NotIn":
		return !has || !slices.Contains(r.GetValues(), have)
	case "Gt", "Lt":
		return has && compares(r, have)
	}
	return false
}

func compares(r *fleetv1.LabelRequirement, value string) bool {
	have, want, ok := numbers(value, r.GetValues())
	if r.GetOperator() == "Gt" {
		return ok && have > want
	}
	return ok && have < want
}

func numbers(value string, values []string) (have, want int64, ok bool) {
	if len(values) != 1 {
		return 0, 0, false
	}
	have, errHave := strconv.ParseInt(value, 10, 64)
	want, errWant := strconv.ParseInt(values[0], 10, 64)
	return have, want, errHave == nil && errWant == nil
}

// Selects says whether a label selector selects the labels; none selects nothing.
func Selects(s *fleetv1.LabelSelector, labels map[string]string) bool {
	if s == nil {
		return false
	}
	for key, want := range s.GetMatchLabels() {
		if have, ok := labels[key]; !ok || have != want {
			return false
		}
	}
	return every(s.GetMatchExpressions(), labels)
}

// speaks says whether an affinity term of owner's is about the pod.
func speaks(t *fleetv1.PodAffinityTerm, owner, pod *fleetv1.Pod) bool {
	named := slices.Contains(t.GetNamespaces(), pod.GetNamespace())
	own := len(t.GetNamespaces()) == 0 && !t.GetNamespaceSelector() && pod.GetNamespace() == owner.GetNamespace()
	return (t.GetNamespaceSelector() || named || own) && Selects(t.GetSelector(), pod.GetLabels())
}

// room of a node, less what its pods ask for.
type room struct {
	cpu, memory, disk, slots int64
	extended                 map[string]int64
	anyDisk                  bool // none reported: no reason to refuse
}

func roomOf(n *fleetv1.NodeMetric) room {
	a := n.GetAllocatable()
	r := room{cpu: a.GetCpuMillicores(), memory: a.GetMemoryBytes(), disk: a.GetEphemeralStorageBytes(), slots: int64(n.GetMaxPods())}
	if a == nil {
		r.cpu, r.memory = int64(n.GetCpuAllocatable()*1000), int64(n.GetMemoryAllocatableGb()*(1<<30))
	}
	if r.slots == 0 {
		r.slots = defaultSlots
	}
	r.anyDisk = r.disk == 0
	r.extended = map[string]int64{}
	for name, v := range a.GetExtended() {
		r.extended[name] = v
	}
	return r
}

// take what a pod asks for; sign -1 gives it back.
func (r *room) take(pod *fleetv1.Pod, sign int64) {
	asked := pod.GetRequests()
	r.cpu -= sign * asked.GetCpuMillicores()
	r.memory -= sign * asked.GetMemoryBytes()
	r.disk -= sign * asked.GetEphemeralStorageBytes()
	r.slots -= sign
	for name, v := range asked.GetExtended() {
		r.extended[name] -= sign * v
	}
}

// short names the resource that there is too little of, empty if there is enough.
func (r *room) short(pod *fleetv1.Pod) string {
	asked := pod.GetRequests()
	lacks := func(want, have int64) bool { return want > 0 && want > have }
	switch {
	case r.slots < 1:
		return "pods"
	case lacks(asked.GetCpuMillicores(), r.cpu):
		return "cpu"
	case lacks(asked.GetMemoryBytes(), r.memory):
		return "memory"
	case !r.anyDisk && lacks(asked.GetEphemeralStorageBytes(), r.disk):
		return "ephemeral-storage"
	}
	for name, want := range asked.GetExtended() {
		if lacks(want, r.extended[name]) {
			return name
		}
	}
	return ""
}
