package fit

import (
	"slices"
	"strconv"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// Labels that decide where a pod may go.
const (
	LabelHostname = "kubernetes.io/hostname"
	LabelZone     = "topology.kubernetes.io/zone"
)

// fieldName is the one node field that selectors may ask for.
const fieldName = "metadata.name"

// requirement holds when the labels satisfy one LabelRequirement, as
// apimachinery's selectors define it.
func requirement(r *fleetv1.LabelRequirement, labels map[string]string) bool {
	value, has := labels[r.GetKey()]
	switch r.GetOperator() {
	case "In":
		return has && slices.Contains(r.GetValues(), value)
	case "NotIn":
		return !has || !slices.Contains(r.GetValues(), value)
	case "Exists":
		return has
	case "DoesNotExist":
		return !has
	case "Gt", "Lt":
		return has && compares(r, value)
	}
	return false
}

func compares(r *fleetv1.LabelRequirement, value string) bool {
	if len(r.GetValues()) != 1 {
		return false
	}
	have, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return false
	}
	want, err := strconv.ParseInt(r.GetValues()[0], 10, 64)
	if err != nil {
		return false
	}
	if r.GetOperator() == "Gt" {
		return have > want
	}
	return have < want
}

// Selects says whether a selector selects the labels; nil selects nothing, an
// empty one everything.
func Selects(s *fleetv1.LabelSelector, labels map[string]string) bool {
	if s == nil {
		return false
	}
	for key, value := range s.GetMatchLabels() {
		if have, ok := labels[key]; !ok || have != value {
			return false
		}
	}
	for _, r := range s.GetMatchExpressions() {
		if !requirement(r, labels) {
			return false
		}
	}
	return true
}

// admitted says whether the pod's node selector and required node affinity let
// it onto a node with this name and these labels.
func admitted(pod *fleetv1.Pod, name string, labels map[string]string) bool {
	for key, value := range pod.GetNodeSelector() {
		if have, ok := labels[key]; !ok || have != value {
			return false
		}
	}
	if len(pod.GetNodeAffinity()) == 0 {
		return true
	}
	return slices.ContainsFunc(pod.GetNodeAffinity(), func(t *fleetv1.NodeSelectorTerm) bool {
		return term(t, name, labels)
	})
}

// term holds when all its requirements do; one without any holds nowhere.
func term(t *fleetv1.NodeSelectorTerm, name string, labels map[string]string) bool {
	if len(t.GetMatchExpressions()) == 0 && len(t.GetMatchFields()) == 0 {
		return false
	}
	for _, r := range t.GetMatchExpressions() {
		if !requirement(r, labels) {
			return false
		}
	}
	fields := map[string]string{fieldName: name}
	for _, r := range t.GetMatchFields() {
		if r.GetKey() != fieldName || !requirement(r, fields) {
			return false
		}
	}
	return true
}

// tolerated says whether the pod tolerates every taint that keeps pods out.
func tolerated(taints []*fleetv1.Taint, tolerations []*fleetv1.Toleration) bool {
	for _, taint := range taints {
		if taint.GetEffect() == "PreferNoSchedule" {
			continue
		}
		if !slices.ContainsFunc(tolerations, func(t *fleetv1.Toleration) bool { return tolerates(t, taint) }) {
			return false
		}
	}
	return true
}

// discouraged says whether a taint asks the scheduler to put the pod elsewhere if it can.
func discouraged(pod *fleetv1.Pod, taints []*fleetv1.Taint) bool {
	return slices.ContainsFunc(taints, func(taint *fleetv1.Taint) bool {
		return taint.GetEffect() == "PreferNoSchedule" &&
			!slices.ContainsFunc(pod.GetTolerations(), func(t *fleetv1.Toleration) bool { return tolerates(t, taint) })
	})
}

func tolerates(t *fleetv1.Toleration, taint *fleetv1.Taint) bool {
	if t.GetEffect() != "" && t.GetEffect() != taint.GetEffect() {
		return false
	}
	if t.GetKey() != "" && t.GetKey() != taint.GetKey() {
		return false
	}
	switch t.GetOperator() {
	case "Exists":
		return true
	case "", "Equal":
		return t.GetKey() != "" && t.GetValue() == taint.GetValue()
	}
	return false
}

// inZone says whether the pod's volumes can be attached in the node's zone.
func inZone(pod *fleetv1.Pod, labels map[string]string) bool {
	return len(pod.GetVolumeZones()) == 0 || slices.Contains(pod.GetVolumeZones(), labels[LabelZone])
}
