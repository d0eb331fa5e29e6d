package joint

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func nodeWith(labels map[string]string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: labels},
		Status: corev1.NodeStatus{Capacity: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("8"), corev1.ResourceMemory: resource.MustParse("30Gi"),
		}},
	}
}

func TestTheInstanceOfANodeFollowsFromItsLabels(t *testing.T) {
	for name, test := range map[string]struct {
		labels map[string]string
		want   kind
	}{
		"EKS on demand": {
			map[string]string{"node.kubernetes.io/instance-type": "m5.large", "topology.kubernetes.io/zone": "us-east-1a", "eks.amazonaws.com/capacityType": "ON_DEMAND"},
			kind{"m5.large", "us-east-1a", false},
		},
		"EKS spot": {
			map[string]string{"node.kubernetes.io/instance-type": "m5.large", "topology.kubernetes.io/zone": "us-east-1a", "eks.amazonaws.com/capacityType": "SPOT"},
			kind{"m5.large", "us-east-1a", true},
		},
		"Karpenter spot": {
			map[string]string{"node.kubernetes.io/instance-type": "c7g.2xlarge", "topology.kubernetes.io/zone": "us-east-1b", "karpenter.sh/capacity-type": "spot"},
			kind{"c7g.2xlarge", "us-east-1b", true},
		},
		"labels of old": {
			map[string]string{"beta.kubernetes.io/instance-type": "m4.large", "failure-domain.beta.kubernetes.io/zone": "us-east-1c"},
			kind{"m4.large", "us-east-1c", false},
		},
		"another cloud's": {
			map[string]string{"node.kubernetes.io/instance-type": "n2-standard-8", "topology.kubernetes.io/zone": "europe-west1-b"},
			kind{"m5.2xlarge", "europe-west1-b", false},
		},
		"no labels": {map[string]string{}, kind{"m5.2xlarge", "", false}},
	} {
		got, err := kindOf(nodeWith(test.labels))
		if err != nil || got != test.want {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, err, test.want)
		}
	}
}

func TestTyingKeepsTheNodesOwnLabels(t *testing.T) {
	n := nodeWith(map[string]string{"team": "search", "kubernetes.io/arch": "arm64"})
	tie(n, kind{"m7g.large", "us-east-1a", true}, "i-0abc")
	for key, want := range map[string]string{
		"team": "search", "kubernetes.io/arch": "arm64", "kubernetes.io/hostname": "n", "eks.amazonaws.com/capacityType": "SPOT",
		"node.kubernetes.io/instance-type": "m7g.large", "topology.kubernetes.io/zone": "us-east-1a", "topology.kubernetes.io/region": "us-east-1",
	} {
		if n.Labels[key] != want {
			t.Errorf("%s is %q, want %q", key, n.Labels[key], want)
		}
	}
	if n.Spec.ProviderID != "aws:///us-east-1a/i-0abc" {
		t.Errorf("provider id is %s", n.Spec.ProviderID)
	}
}
