package dump

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func realCluster(t *testing.T) *Copy {
	t.Helper()
	d, err := ReadFile("testdata/real.json")
	if err != nil {
		t.Fatal(err)
	}
	return MakeCopy(d)
}

func podNamed(t *testing.T, c *Copy, name string) *corev1.Pod {
	t.Helper()
	for _, p := range c.Pods {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("no pod %s", name)
	return nil
}

// testdata/real.json marks with SECRET whatever must not get into a copy.
func TestNothingPrivateIsCopied(t *testing.T) {
	data, err := json.Marshal(realCluster(t))
	if err != nil {
		t.Fatal(err)
	}
	if i := bytes.Index(data, []byte("SECRET")); i >= 0 {
		t.Errorf("a secret was copied: …%s", data[max(0, i-80):i+20])
	}
}

func TestWhatDecidesPlacementIsKept(t *testing.T) {
	p := podNamed(t, realCluster(t), "web-5d9c7b6f4-x2x9z")
	s := p.Spec
	main := s.Containers[0]
	if main.Resources.Requests.Cpu().MilliValue() != 250 || main.Resources.Limits.Memory().Value() != 512<<20 {
		t.Errorf("resources are %v", main.Resources)
	}
	if len(s.InitContainers) != 1 || *s.InitContainers[0].RestartPolicy != corev1.ContainerRestartPolicyAlways {
		t.Errorf("the sidecar is %v", s.InitContainers)
	}
	if s.NodeName != "ip-10-1-2-3.ec2.internal" || s.NodeSelector["disk"] != "ssd" || s.PriorityClassName != "gold" {
		t.Errorf("spec is %+v", s)
	}
	if p.Annotations["karpenter.sh/do-not-disrupt"] != "true" || len(p.Annotations) != 1 {
		t.Errorf("annotations are %v", p.Annotations)
	}
	if len(s.Tolerations) != 1 || s.Tolerations[0].Key != "dedicated" {
		t.Errorf("tolerations are %v", s.Tolerations)
	}
	if s.Priority != nil || *s.TerminationGracePeriodSeconds != maxGrace || *s.AutomountServiceAccountToken {
		t.Errorf("priority %v, grace %d", s.Priority, *s.TerminationGracePeriodSeconds)
	}
	if len(s.Volumes) != 1 || s.Volumes[0].EmptyDir == nil {
		t.Errorf("volumes are %v", s.Volumes)
	}
}

func TestASpreadKeyTheServerMergedIsNotThereTwice(t *testing.T) {
	c := podNamed(t, realCluster(t), "web-5d9c7b6f4-x2x9z").Spec.TopologySpreadConstraints
	if len(c) != 1 || len(c[0].MatchLabelKeys) != 0 || len(c[0].LabelSelector.MatchExpressions) != 1 {
		t.Errorf("constraints are %+v", c)
	}
}

func TestOwnersGetStandIns(t *testing.T) {
	c := realCluster(t)
	var sets []string
	for _, s := range c.ReplicaSets {
		sets = append(sets, s.Name)
		if s.Spec.Template.Spec.NodeName != "" {
			t.Errorf("%s's template is bound to a node", s.Name)
		}
		if got := adoptable(c, s.Spec.Selector); got != int(*s.Spec.Replicas) {
			t.Errorf("%s wants %d pods and can adopt %d", s.Name, *s.Spec.Replicas, got)
		}
	}
	slices.Sort(sets)
	if want := []string{"job-import", "web-5d9c7b6f4"}; !slices.Equal(sets, want) {
		t.Errorf("ReplicaSets are %v, want %v", sets, want)
	}
	if len(c.StatefulSets) != 1 || len(c.DaemonSets) != 1 {
		t.Fatalf("%d StatefulSets, %d DaemonSets", len(c.StatefulSets), len(c.DaemonSets))
	}
	set := c.StatefulSets[0]
	if set.Name != "db" || *set.Spec.Replicas != 2 || set.Spec.Ordinals.Start != 1 {
		t.Errorf("StatefulSet %s has %d from %d", set.Name, *set.Spec.Replicas, set.Spec.Ordinals.Start)
	}
	if a := c.DaemonSets[0].Spec.Template.Spec.Affinity; a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		t.Errorf("the DaemonSet is tied to one node: %v", a)
	}
	alone := podNamed(t, c, "alone")
	if _, owned := alone.Labels[LabelOwner]; owned {
		t.Error("the pod without owner has one")
	}
}

func adoptable(c *Copy, selector *metav1.LabelSelector) int {
	s, _ := metav1.LabelSelectorAsSelector(selector)
	n := 0
	for _, p := range c.Pods {
		if s.Matches(labelSet(p.Labels)) {
			n++
		}
	}
	return n
}

type labelSet map[string]string

func (l labelSet) Has(k string) bool              { _, ok := l[k]; return ok }
func (l labelSet) Get(k string) string            { return l[k] }
func (l labelSet) Lookup(k string) (string, bool) { v, ok := l[k]; return v, ok }

func TestPodsThatCannotBeCopiedAreLeftOutAndTold(t *testing.T) {
	c := realCluster(t)
	for _, p := range c.Pods {
		if strings.HasPrefix(p.Name, "gone-") || strings.HasPrefix(p.Name, "agent-") {
			t.Errorf("%s was copied", p.Name)
		}
	}
	if lost := podNamed(t, c, "lost"); lost.Spec.NodeName != "" {
		t.Errorf("lost is bound to %s, which is not in the dump", lost.Spec.NodeName)
	}
	if len(c.Notes) != 3 {
		t.Errorf("notes are %q", c.Notes)
	}
}

func TestNodesPrioritiesAndBudgetsAreKept(t *testing.T) {
	c := realCluster(t)
	n := c.Nodes[0]
	if n.Labels["disk"] != "ssd" || len(n.Spec.Taints) != 1 || n.Spec.Taints[0].Key != "dedicated" ||
		n.Status.Allocatable.Cpu().MilliValue() != 1930 {
		t.Errorf("node is %+v", n)
	}
	if len(c.PriorityClasses) != 1 || c.PriorityClasses[0].Name != "gold" || c.PriorityClasses[0].Value != 1000 {
		t.Errorf("priority classes are %v", c.PriorityClasses)
	}
	if len(c.PDBs) != 1 || c.PDBs[0].Spec.MinAvailable.String() != "50%" || c.PDBs[0].Status.ExpectedPods != 0 {
		t.Errorf("PDBs are %v", c.PDBs)
	}
	if want := []string{"shop", "kube-system"}; !slices.Equal(c.Namespaces, want) {
		t.Errorf("namespaces are %v", c.Namespaces)
	}
}

func TestADumpWithoutNodesIsRefused(t *testing.T) {
	_, err := Read(strings.NewReader(`{"kind":"List","items":[{"kind":"Secret"}]}`))
	if err == nil || !strings.Contains(err.Error(), "kubectl get nodes,pods,pdb") {
		t.Errorf("error is %v", err)
	}
}
