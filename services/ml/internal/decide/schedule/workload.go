package schedule

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/usage"
)

// Verdicts and reasons of WorkloadVerdict, as the contract names them.
const (
	sleep = "sleep"
	keep  = "keep"

	reasonCalendar     = "calendar"
	reasonQuiet        = "quiet"
	reasonProtected    = "protected_namespace"
	reasonOutOfScope   = "out_of_scope"
	reasonNotScalable  = "not_scalable"
	reasonDoNotDisrupt = "do_not_disrupt"
	reasonNoUsage      = "no_usage"
	reasonTwoWeeks     = "less_than_two_weeks"
	reasonNotPeriodic  = "not_periodic"
	reasonAlwaysActive = "always_active"
	reasonLowConfident = "low_confidence"
	reasonNoWindow     = "no_quiet_window"
)

// workload is something that runs pods.
type workload struct {
	namespace, kind, name string

	replicas   int  // to wake with; 0: someone else has scaled it to nothing, which is left so
	running    int  // pods now
	asleep     bool // an earlier plan put it to sleep
	pods       []*fleetv1.Pod
	containers []usage.Container

	reason, detail string // why it stays awake; empty while it may sleep
	sleeps         bool
	why            string // it sleeps
}

func (w *workload) id() string { return w.namespace + "/" + w.kind + "/" + w.name }

// named says whether a selector of the form namespace/name or namespace/kind/name means it.
func (w *workload) named(selectors []string) bool {
	return slices.Contains(selectors, w.id()) || slices.Contains(selectors, w.namespace+"/"+w.name)
}

// controllerOf a pod: the Deployment where the pod's ReplicaSet is one's, which its name tells.
func controllerOf(pod *fleetv1.Pod) (kind, name string) {
	kind, name = pod.GetOwner().GetKind(), pod.GetOwner().GetName()
	if hash := pod.GetLabels()["pod-template-hash"]; kind == "ReplicaSet" && hash != "" {
		if deployment, ok := strings.CutSuffix(name, "-"+hash); ok {
			return "Deployment", deployment
		}
	}
	if kind == "" {
		return "Pod", pod.GetName()
	}
	return kind, name
}

// world is the cluster by workloads and nodes.
type world struct {
	state     *fleetv1.ClusterState
	want      *wants
	workloads []*workload
	byPod     map[*fleetv1.Pod]*workload
	nodes     map[string]*fleetv1.NodeMetric
}

// newWorld finds the workloads: of pods, of an earlier plan's sleepers, and of usage.
func newWorld(state *fleetv1.ClusterState, containers []usage.Container, want *wants) *world {
	w := &world{state: state, want: want, byPod: map[*fleetv1.Pod]*workload{}, nodes: map[string]*fleetv1.NodeMetric{}}
	for _, n := range state.GetNodes() {
		w.nodes[n.GetNodeName()] = n
	}
	index := map[string]*workload{}
	find := func(namespace, kind, name string) *workload {
		one := &workload{namespace: namespace, kind: kind, name: name}
		if known := index[one.id()]; known != nil {
			return known
		}
		index[one.id()] = one
		return one
	}
	for _, pod := range state.GetPods() {
		if pod.GetPhase() == "Succeeded" || pod.GetPhase() == "Failed" || pod.GetMirror() {
			continue
		}
		kind, name := controllerOf(pod)
		one := find(pod.GetNamespace(), kind, name)
		w.byPod[pod] = one
		if !pod.GetTerminating() {
			one.pods = append(one.pods, pod)
			one.running, one.replicas = one.running+1, one.replicas+1
		}
	}
	for _, c := range containers {
		one := find(c.GetNamespace(), c.GetKind(), c.GetName())
		one.containers = append(one.containers, c)
	}
	for _, s := range want.sleeping {
		if one := find(s.GetNamespace(), s.GetKind(), s.GetName()); one.running == 0 {
			one.replicas, one.asleep = int(s.GetReplicas()), true
		}
	}
	w.workloads = slices.SortedFunc(maps.Values(index), func(a, b *workload) int { return cmp.Compare(a.id(), b.id()) })
	for _, one := range w.workloads {
		one.reason, one.detail = w.stays(one)
	}
	w.dropEmptyStages()
	return w
}

// stageOf a workload, by index.
func (w *world) stageOf(one *workload) int {
	for i, s := range w.want.stages {
		if one.named(s.workloads) {
			return i
		}
	}
	return len(w.want.stages) - 1
}

// dropEmptyStages, so that waking does not wait for nothing.
func (w *world) dropEmptyStages() {
	used := map[int]bool{}
	for _, one := range w.workloads {
		if one.reason == "" {
			used[w.stageOf(one)] = true
		}
	}
	var rest []stage
	for i, s := range w.want.stages {
		if used[i] || i == len(w.want.stages)-1 && len(rest) == 0 {
			rest = append(rest, s)
		}
	}
	w.want.stages = rest
}

// stays says why a workload may not sleep, whatever calendars say.
func (w *world) stays(one *workload) (reason, detail string) {
	switch one.kind {
	case "Deployment", "StatefulSet", "ReplicaSet":
	default:
		return reasonNotScalable, one.kind
	}
	if usage.Matches(w.want.protected, one.namespace) {
		return reasonProtected, ""
	}
	if why := w.outside(one); why != "" {
		return reasonOutOfScope, why
	}
	for _, pod := range one.pods {
		if pod.GetDoNotDisrupt() != "" {
			return reasonDoNotDisrupt, pod.GetName() + ": " + pod.GetDoNotDisrupt()
		}
	}
	return "", ""
}

// outside of the scope, and by what.
func (w *world) outside(one *workload) string {
	scope := w.want.scope
	switch {
	case len(scope.GetNamespaces()) > 0 && !usage.Matches(scope.GetNamespaces(), one.namespace):
		return "namespaces"
	case len(scope.GetWorkloads()) > 0 && !one.named(scope.GetWorkloads()):
		return "workloads"
	case len(scope.GetNodeLabels()) == 0:
		return ""
	}
	for _, pod := range one.pods {
		labels := w.nodes[pod.GetNodeName()].GetLabels()
		for key, value := range scope.GetNodeLabels() {
			if labels[key] != value {
				return "node_labels: " + pod.GetName() + " is elsewhere"
			}
		}
	}
	return ""
}

// unknown selectors of the request: a workload that is gone stops no schedule, but is told of.
func (w *world) unknown() []any {
	var all []any
	lists := [][]string{w.want.scope.GetWorkloads()}
	for _, s := range w.want.stages {
		lists = append(lists, s.workloads)
	}
	for _, selector := range slices.Concat(lists...) {
		if !slices.ContainsFunc(w.workloads, func(one *workload) bool { return one.named([]string{selector}) }) {
			all = append(all, selector)
		}
	}
	return all
}
