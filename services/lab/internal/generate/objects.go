package generate

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// epoch is fixed: the same seed gives the same bytes on any day.
var epoch = time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)

func (g *generator) newPod(namespace, name, node string) corev1.Pod {
	grace := int64(30)
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, UID: types.UID(g.uid()),
			CreationTimestamp: metav1.NewTime(epoch.Add(-time.Duration(g.rand.IntN(30*24*60)) * time.Minute)),
		},
		Spec:   corev1.PodSpec{NodeName: node, TerminationGracePeriodSeconds: &grace},
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
}

func (g *generator) pod(w *workload, ordinal int, node string) corev1.Pod {
	name := w.owner + "-" + g.letters(5)
	if w.kind == "StatefulSet" {
		name = fmt.Sprintf("%s-%d", w.owner, ordinal)
	}
	p := g.newPod(w.namespace, name, node)
	p.Labels, p.Annotations = w.labels(), w.annotations()
	p.OwnerReferences = controller(w.kind, w.owner, w.uid)
	grace := p.Spec.TerminationGracePeriodSeconds
	p.Spec = w.spec()
	p.Spec.NodeName, p.Spec.TerminationGracePeriodSeconds = node, grace
	return p
}

// container limits memory to what it asks for and CPU not at all, as most
// guides now say.
func container(cpuMilli, memoryMiB int64) corev1.Container {
	c := corev1.Container{Name: "main", Image: "pause:3.10"}
	c.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: *resource.NewMilliQuantity(cpuMilli, resource.DecimalSI)}
	if memoryMiB > 0 {
		memory := *resource.NewQuantity(memoryMiB<<20, resource.BinarySI)
		c.Resources.Requests[corev1.ResourceMemory] = memory
		c.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: memory}
	}
	return c
}

// makePDB gives some workloads a budget. One for a single pod blocks every
// drain; real clusters have them too.
func (g *generator) makePDB(w *workload) {
	p := 0.75
	if w.replicas == 1 {
		p = 0.15
	}
	if !g.chance(p) {
		return
	}
	b := policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.namespace, Name: w.name, UID: types.UID(g.uid()), CreationTimestamp: metav1.NewTime(epoch),
		},
		Spec: policyv1.PodDisruptionBudgetSpec{Selector: w.selector()},
	}
	one, quarter, half := intstr.FromInt32(1), intstr.FromString("25%"), intstr.FromString("50%")
	allButOne := intstr.FromInt32(int32(max(1, w.replicas-1)))
	switch style := g.rand.IntN(4); {
	case w.replicas == 1:
		b.Spec.MinAvailable = &one
	case style == 0:
		b.Spec.MaxUnavailable = &quarter
	case style == 1:
		b.Spec.MinAvailable = &half
	case style == 2:
		b.Spec.MinAvailable = &allButOne
	default:
		b.Spec.MaxUnavailable = &one
	}
	g.out.PDBs = append(g.out.PDBs, b)
}
