// Package fittest is a second, slow reading of the kube-scheduler's filters,
// written from the API's documentation and sharing no code with package fit, to
// check it and the plans made with it.
package fittest

import (
	"fmt"
	"slices"
	"strconv"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// World is nodes and pods; a pod is on the node that it names.
type World struct {
	Nodes []*fleetv1.NodeMetric
	Pods  []*fleetv1.Pod
}

// Refusal says why the scheduler would not put the pod on the node now, empty if it
// would. The pod itself must not be on any node.
func (w *World) Refusal(pod *fleetv1.Pod, node *fleetv1.NodeMetric) string {
	for _, check := range []func(*fleetv1.Pod, *fleetv1.NodeMetric) string{
		w.taints, w.selectors, w.resources, w.ports, w.volumes, w.spread, w.affinity, w.antiAffinity, w.shunned,
	} {
		if why := check(pod, node); why != "" {
			return why
		}
	}
	return ""
}

func (w *World) on(node string) []*fleetv1.Pod {
	var pods []*fleetv1.Pod
	for _, p := range w.Pods {
		if p.GetNodeName() == node {
			pods = append(pods, p)
		}
	}
	return pods
}

func (w *World) node(name string) *fleetv1.NodeMetric {
	for _, n := range w.Nodes {
		if n.GetNodeName() == name {
			return n
		}
	}
	return nil
}

// Discouraged says whether a taint of the node asks for another one, if there is any.
func (w *World) Discouraged(pod *fleetv1.Pod, node *fleetv1.NodeMetric) bool {
	for _, t := range node.GetTaints() {
		mind := !slices.ContainsFunc(pod.GetTolerations(), func(tol *fleetv1.Toleration) bool { return tolerates(tol, t) })
		if mind && t.GetEffect() == "PreferNoSchedule" {
			return true
		}
	}
	return false
}

func (w *World) taints(pod *fleetv1.Pod, node *fleetv1.NodeMetric) string {
	taints := slices.Clone(node.GetTaints())
	if node.GetUnschedulable() || !node.GetReady() {
		taints = append(taints, &fleetv1.Taint{Key: "node.kubernetes.io/unschedulable", Effect: "NoSchedule"})
	}
	for _, t := range taints {
		soft := t.GetEffect() == "PreferNoSchedule"
		if !soft && !slices.ContainsFunc(pod.GetTolerations(), func(tol *fleetv1.Toleration) bool { return tolerates(tol, t) }) {
			return "taint " + t.GetKey()
		}
	}
	return ""
}

func tolerates(tol *fleetv1.Toleration, t *fleetv1.Taint) bool {
	exists := tol.GetOperator() == "Exists"
	equal := tol.GetOperator() == "Equal" || tol.GetOperator() == ""
	keyOK := tol.GetKey() == t.GetKey() || tol.GetKey() == "" && exists
	valueOK := exists || equal && tol.GetValue() == t.GetValue()
	effectOK := tol.GetEffect() == "" || tol.GetEffect() == t.GetEffect()
	return keyOK && valueOK && effectOK
}

func (w *World) selectors(pod *fleetv1.Pod, node *fleetv1.NodeMetric) string {
	if !admits(pod, node) {
		return "node affinity"
	}
	return ""
}

func admits(pod *fleetv1.Pod, node *fleetv1.NodeMetric) bool {
	for k, v := range pod.GetNodeSelector() {
		if have, ok := node.GetLabels()[k]; !ok || have != v {
			return false
		}
	}
	for _, t := range pod.GetNodeAffinity() {
		fields := map[string]string{"metadata.name": node.GetNodeName()}
		if len(t.GetMatchExpressions())+len(t.GetMatchFields()) > 0 &&
			all(t.GetMatchExpressions(), node.GetLabels()) && all(t.GetMatchFields(), fields) {
			return true
		}
	}
	return len(pod.GetNodeAffinity()) == 0
}

func all(requirements []*fleetv1.LabelRequirement, labels map[string]string) bool {
	for _, r := range requirements {
		if !holds(r, labels) {
			return false
		}
	}
	return true
}

func holds(r *fleetv1.LabelRequirement, labels map[string]string) bool {
	value, has := labels[r.GetKey()]
	listed := slices.Contains(r.GetValues(), value)
	switch r.GetOperator() {
	case "In":
		return has && listed
	case "NotIn":
		return !has || !listed
	case "Exists":
		return has
	case "DoesNotExist":
		return !has
	case "Gt":
		have, want, ok := numbers(value, r.GetValues())
		return ok && have > want
	case "Lt":
		have, want, ok := numbers(value, r.GetValues())
		return ok && have < want
	}
	return false
}

func numbers(value string, values []string) (have, want int64, ok bool) {
	if len(values) != 1 {
		return 0, 0, false
	}
	have, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return 0, 0, false
	}
	want, err = strconv.ParseInt(values[0], 10, 64)
	return have, want, err == nil
}

func selects(s *fleetv1.LabelSelector, labels map[string]string) bool {
	if s == nil {
		return false
	}
	for k, v := range s.GetMatchLabels() {
		if have, ok := labels[k]; !ok || have != v {
			return false
		}
	}
	return all(s.GetMatchExpressions(), labels)
}

func (w *World) resources(pod *fleetv1.Pod, node *fleetv1.NodeMetric) string {
	room, asked := node.GetAllocatable(), pod.GetRequests()
	cpu, memory, disk, pods := room.GetCpuMillicores(), room.GetMemoryBytes(), room.GetEphemeralStorageBytes(), int64(node.GetMaxPods())
	extended := map[string]int64{}
	for name, v := range room.GetExtended() {
		extended[name] = v
	}
	for _, p := range w.on(node.GetNodeName()) {
		r := p.GetRequests()
		cpu, memory, disk, pods = cpu-r.GetCpuMillicores(), memory-r.GetMemoryBytes(), disk-r.GetEphemeralStorageBytes(), pods-1
		for name, v := range r.GetExtended() {
			extended[name] -= v
		}
	}
	short := func(asked, free int64) bool { return asked > 0 && asked > free }
	if short(asked.GetCpuMillicores(), cpu) || short(asked.GetMemoryBytes(), memory) || short(asked.GetEphemeralStorageBytes(), disk) || pods < 1 {
		return "resources"
	}
	for name, v := range asked.GetExtended() {
		if short(v, extended[name]) {
			return name
		}
	}
	return ""
}

func (w *World) ports(pod *fleetv1.Pod, node *fleetv1.NodeMetric) string {
	for _, p := range w.on(node.GetNodeName()) {
		for _, port := range p.GetHostPorts() {
			if slices.Contains(pod.GetHostPorts(), port) {
				return fmt.Sprint("port ", port)
			}
		}
	}
	return ""
}

func (w *World) volumes(pod *fleetv1.Pod, node *fleetv1.NodeMetric) string {
	if zones := pod.GetVolumeZones(); len(zones) > 0 && !slices.Contains(zones, node.GetLabels()["topology.kubernetes.io/zone"]) {
		return "volume zone"
	}
	return ""
}
