package dump

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// LabelOwner is what a stand-in finds its pods by: the real owner's selector
// is not in a dump.
const LabelOwner = "lab.cloudoptim.io/owner"

type ownerKey struct{ namespace, kind, name string }

func ownerOf(p *corev1.Pod) ownerKey {
	if owner := metav1.GetControllerOf(p); owner != nil {
		return ownerKey{p.Namespace, owner.Kind, owner.Name}
	}
	return ownerKey{namespace: p.Namespace}
}

// hash is short enough for a label and the same in every run.
func (k ownerKey) hash() string {
	sum := sha256.Sum256([]byte(k.namespace + "/" + k.kind + "/" + k.name))
	return hex.EncodeToString(sum[:8])
}

// group is the pods of one owner.
type group struct {
	key  ownerKey
	pods []*corev1.Pod
}

func sortedKeys(groups map[ownerKey]*group) []ownerKey {
	keys := make([]ownerKey, 0, len(groups))
	for k := range groups {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b ownerKey) int {
		return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.kind, b.kind), cmp.Compare(a.name, b.name))
	})
	return keys
}

// standIn adds to the copy a controller that will adopt the group's pods.
//
// A ReplicaSet stays one, without the Deployment above it; a StatefulSet and a
// DaemonSet stay what they are; a Job's and any other controller's pods get a
// ReplicaSet of the same name, so that they come back when they are evicted
// (a Job proper would end at once, as kwok completes its pods). Pods without
// an owner stay alone.
func (g *group) standIn(c *Copy) {
	if g.key.kind == "" {
		c.Pods = append(c.Pods, g.pods...)
		return
	}
	for _, p := range g.pods {
		p.Labels[LabelOwner] = g.key.hash()
	}
	switch g.key.kind {
	case "DaemonSet":
		c.DaemonSets = append(c.DaemonSets, &appsv1.DaemonSet{
			ObjectMeta: g.meta(), Spec: appsv1.DaemonSetSpec{Selector: g.selector(), Template: g.daemonTemplate()},
		})
		return
	case "StatefulSet":
		if set := g.statefulSet(); set != nil {
			c.StatefulSets = append(c.StatefulSets, set)
			c.Pods = append(c.Pods, g.pods...)
			return
		}
	}
	replicas := int32(len(g.pods))
	c.ReplicaSets = append(c.ReplicaSets, &appsv1.ReplicaSet{
		ObjectMeta: g.meta(),
		Spec:       appsv1.ReplicaSetSpec{Replicas: &replicas, Selector: g.selector(), Template: g.template()},
	})
	c.Pods = append(c.Pods, g.pods...)
}

func (g *group) meta() metav1.ObjectMeta {
	name := g.key.name
	if g.key.kind != "ReplicaSet" && g.key.kind != "StatefulSet" && g.key.kind != "DaemonSet" {
		// Two kinds of owner may share a name.
		name = strings.ToLower(g.key.kind) + "-" + g.key.name
	}
	return metav1.ObjectMeta{Name: name, Namespace: g.key.namespace, Labels: map[string]string{LabelOwner: g.key.hash()}}
}

func (g *group) selector() *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{LabelOwner: g.key.hash()}}
}

// template is the first pod's: an owner's pods are alike.
func (g *group) template() corev1.PodTemplateSpec {
	first := g.pods[0].DeepCopy()
	first.Spec.NodeName = ""
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: first.Labels, Annotations: first.Annotations},
		Spec:       first.Spec,
	}
}

// daemonTemplate takes out the one-node affinity with which the controller
// ties each of its pods to a node.
func (g *group) daemonTemplate() corev1.PodTemplateSpec {
	t := g.template()
	delete(t.Labels, appsv1.DefaultDaemonSetUniqueLabelKey)
	delete(t.Labels, "pod-template-generation")
	if t.Spec.Affinity == nil || t.Spec.Affinity.NodeAffinity == nil {
		return t
	}
	node := t.Spec.Affinity.NodeAffinity
	if required := node.RequiredDuringSchedulingIgnoredDuringExecution; required != nil {
		var kept []corev1.NodeSelectorTerm
		for _, term := range required.NodeSelectorTerms {
			term.MatchFields = nil
			if len(term.MatchExpressions) > 0 {
				kept = append(kept, term)
			}
		}
		required.NodeSelectorTerms = kept
		if len(kept) == 0 {
			node.RequiredDuringSchedulingIgnoredDuringExecution = nil
		}
	}
	return t
}

// statefulSet spans the pods' ordinals; one that is missing in between will be
// made. Nil when the names are not a StatefulSet's.
func (g *group) statefulSet() *appsv1.StatefulSet {
	low, high := int64(-1), int64(-1)
	for _, p := range g.pods {
		suffix, ok := strings.CutPrefix(p.Name, g.key.name+"-")
		n, err := strconv.ParseInt(suffix, 10, 32)
		if !ok || err != nil {
			return nil
		}
		if low < 0 || n < low {
			low = n
		}
		high = max(high, n)
		delete(p.Labels, appsv1.ControllerRevisionHashLabelKey) // of a revision that is not here
	}
	replicas := int32(high - low + 1)
	template := g.template()
	delete(template.Labels, appsv1.StatefulSetPodNameLabel)
	delete(template.Labels, appsv1.PodIndexLabel)
	return &appsv1.StatefulSet{
		ObjectMeta: g.meta(),
		Spec: appsv1.StatefulSetSpec{
			Replicas: &replicas, Selector: g.selector(), Template: template,
			Ordinals:            &appsv1.StatefulSetOrdinals{Start: int32(low)},
			PodManagementPolicy: appsv1.ParallelPodManagement,
			// The pods have no revision; a rolling update would replace them all.
			UpdateStrategy: appsv1.StatefulSetUpdateStrategy{Type: appsv1.OnDeleteStatefulSetStrategyType},
		},
	}
}
