package dump

import (
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Copy is what has to be created, in the order of the fields.
type Copy struct {
	Namespaces      []string
	PriorityClasses []*schedulingv1.PriorityClass
	Nodes           []*corev1.Node
	Pods            []*corev1.Pod // without DaemonSets' pods, which their controllers make
	ReplicaSets     []*appsv1.ReplicaSet
	StatefulSets    []*appsv1.StatefulSet
	DaemonSets      []*appsv1.DaemonSet
	PDBs            []*policyv1.PodDisruptionBudget
	Notes           []string // what is not as it was, for the user
}

// MakeCopy sorts a dump's pods by owner and makes a stand-in for each owner.
func MakeCopy(d *Dump) *Copy {
	c := &Copy{}
	names := map[string]bool{}
	for i := range d.Nodes {
		names[d.Nodes[i].Name] = true
		c.Nodes = append(c.Nodes, Node(&d.Nodes[i]))
	}
	var finished, static, lost int
	groups := map[ownerKey]*group{}
	for i := range d.Pods {
		p := &d.Pods[i]
		switch {
		case over(p):
			finished++
			continue
		case isStatic(p):
			static++
			continue
		}
		clean := Pod(p)
		if clean.Spec.NodeName != "" && !names[clean.Spec.NodeName] {
			clean.Spec.NodeName = "" // podgc would remove it
			lost++
		}
		c.addPriorityClass(p)
		c.addNamespace(p.Namespace)
		key := ownerOf(p)
		if groups[key] == nil {
			groups[key] = &group{key: key}
		}
		groups[key].pods = append(groups[key].pods, clean)
	}
	for _, key := range sortedKeys(groups) {
		groups[key].standIn(c)
	}
	c.addPDBs(d.PDBs)
	c.note(finished, "pods had finished or were going away: left out")
	c.note(static, "static pods: left out, the lab's nodes run no kubelet")
	c.note(lost, "pods were on nodes that are not in the dump: left to the scheduler")
	return c
}

func (c *Copy) note(n int, what string) {
	if n > 0 {
		c.Notes = append(c.Notes, fmt.Sprintf("%d %s", n, what))
	}
}

func (c *Copy) addNamespace(name string) {
	if !slices.Contains(c.Namespaces, name) {
		c.Namespaces = append(c.Namespaces, name)
	}
}

// addPriorityClass makes the class that the pod names, with the value that the
// API server had copied from the real one. The system- classes exist always.
func (c *Copy) addPriorityClass(p *corev1.Pod) {
	name := p.Spec.PriorityClassName
	if name == "" || strings.HasPrefix(name, "system-") {
		return
	}
	if slices.ContainsFunc(c.PriorityClasses, func(k *schedulingv1.PriorityClass) bool { return k.Name == name }) {
		return
	}
	class := &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: name}, PreemptionPolicy: p.Spec.PreemptionPolicy}
	if p.Spec.Priority != nil {
		class.Value = *p.Spec.Priority
	}
	c.PriorityClasses = append(c.PriorityClasses, class)
}

func (c *Copy) addPDBs(all []policyv1.PodDisruptionBudget) {
	for i := range all {
		b := &all[i]
		c.addNamespace(b.Namespace)
		c.PDBs = append(c.PDBs, &policyv1.PodDisruptionBudget{
			ObjectMeta: metav1.ObjectMeta{Name: b.Name, Namespace: b.Namespace, Labels: copyOf(b.Labels)},
			Spec:       *b.Spec.DeepCopy(),
		})
	}
}

func over(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed || p.DeletionTimestamp != nil
}

func isStatic(p *corev1.Pod) bool {
	_, mirror := p.Annotations[corev1.MirrorPodAnnotationKey]
	return mirror || ownerOf(p).kind == "Node"
}
