package collect

import (
	"strings"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

var born = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func amounts(pairs ...string) corev1.ResourceList {
	list := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		list[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return list
}

func container(name string, pairs ...string) corev1.Container {
	return corev1.Container{Name: name, Resources: corev1.ResourceRequirements{Requests: amounts(pairs...)}}
}

func requireProto(t *testing.T, want, got proto.Message) {
	t.Helper()
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Fatal(diff)
	}
	if err := protovalidate.Validate(got); err != nil {
		t.Fatalf("central would refuse it: %v", err)
	}
}

func TestRequestsAreCountedAsTheSchedulerDoes(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	sidecar := func(c corev1.Container) corev1.Container { c.RestartPolicy = &always; return c }
	for name, tc := range map[string]struct {
		spec         corev1.PodSpec
		status       corev1.PodStatus
		millis, mebi int64
	}{
		"containers add up": {
			spec:   corev1.PodSpec{Containers: []corev1.Container{container("a", "cpu", "100m", "memory", "1Mi"), container("b", "cpu", "2", "memory", "2Mi")}},
			millis: 2100, mebi: 3,
		},
		"the largest init container counts if larger": {
			spec: corev1.PodSpec{
				InitContainers: []corev1.Container{container("i", "cpu", "3"), container("j", "memory", "9Mi")},
				Containers:     []corev1.Container{container("a", "cpu", "1", "memory", "1Mi")},
			},
			millis: 3000, mebi: 9,
		},
		"sidecars add to containers and to later init containers": {
			spec: corev1.PodSpec{
				InitContainers: []corev1.Container{sidecar(container("s", "cpu", "500m", "memory", "4Mi")), container("i", "cpu", "2", "memory", "1Mi")},
				Containers:     []corev1.Container{container("a", "cpu", "1", "memory", "2Mi")},
			},
			millis: 2500, mebi: 6,
		},
		"overhead comes on top": {
			spec: corev1.PodSpec{
				Containers: []corev1.Container{container("a", "cpu", "1")}, Overhead: amounts("cpu", "250m", "memory", "120Mi"),
			},
			millis: 1250, mebi: 120,
		},
		"requests of the pod as a whole win": {
			spec: corev1.PodSpec{
				Containers: []corev1.Container{container("a", "cpu", "1", "memory", "1Mi")},
				Resources:  &corev1.ResourceRequirements{Requests: amounts("cpu", "4", "memory", "64Mi")},
			},
			millis: 4000, mebi: 64,
		},
		"a shrink that is not done yet still holds": {
			spec: corev1.PodSpec{Containers: []corev1.Container{container("a", "cpu", "1")}},
			status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
				Name: "a", Resources: &corev1.ResourceRequirements{Requests: amounts("cpu", "2")},
			}}},
			millis: 2000,
		},
		"no requests": {spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			whole := &corev1.Pod{Spec: tc.spec, Status: tc.status}
			stripped, err := strip(whole.DeepCopy())
			if err != nil {
				t.Fatal(err)
			}
			for what, pod := range map[string]*corev1.Pod{"whole": whole, "stripped": stripped.(*corev1.Pod)} {
				got := resources(podRequests(pod))
				if got.GetCpuMillicores() != tc.millis || got.GetMemoryBytes() != tc.mebi<<20 {
					t.Fatalf("%s pod: %d m, %d bytes; want %d m, %d Mi", what, got.GetCpuMillicores(), got.GetMemoryBytes(), tc.millis, tc.mebi)
				}
			}
		})
	}
}

func TestHowANodeWasBought(t *testing.T) {
	for labels, want := range map[string]string{
		"":                                    "on-demand",
		"eks.amazonaws.com/capacityType=SPOT": "spot",
		"eks.amazonaws.com/capacityType=ON_DEMAND":                                  "on-demand",
		"eks.amazonaws.com/capacityType=CAPACITY_BLOCK":                             "on-demand",
		"karpenter.sh/capacity-type=spot":                                           "spot",
		"karpenter.sh/capacity-type=reserved":                                       "on-demand",
		"cloudoptim.io/capacity-type=spot":                                          "spot",
		"cloudoptim.io/capacity-type=on-demand,eks.amazonaws.com/capacityType=SPOT": "on-demand",
		"cloudoptim.io/capacity-type=spot,karpenter.sh/capacity-type=on-demand":     "spot",
		"karpenter.sh/capacity-type=on-demand,eks.amazonaws.com/capacityType=SPOT":  "on-demand",
	} {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{}}}
		for _, pair := range strings.Split(labels, ",") {
			key, value, _ := strings.Cut(pair, "=")
			node.Labels[key] = value
		}
		if got := nodeType(node); got != want {
			t.Errorf("labels %q: %s, want %s", labels, got, want)
		}
	}
}

func TestInstanceIDOfAProviderID(t *testing.T) {
	for provider, want := range map[string]string{
		"aws:///us-east-1a/i-0123456789abcdef0":                   "i-0123456789abcdef0",
		"aws://us-east-1a/i-0abc":                                 "i-0abc",
		"aws:///us-east-1a/0f3c/fargate-ip-10-0-1-2.ec2.internal": "",
		"gce://project/zone/i-looks-like-one":                     "",
		"":                                                        "",
		"aws:///us-east-1a/i-" + strings.Repeat("0", 60):          "",
	} {
		if got := instanceID(provider); got != want {
			t.Errorf("%s: %q, want %q", provider, got, want)
		}
	}
}

func TestNodeMessage(t *testing.T) {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: "ip-10-0-1-2", UID: "u", CreationTimestamp: metav1.NewTime(born),
			Labels: map[string]string{
				"node.kubernetes.io/instance-type": "g5.xlarge", "topology.kubernetes.io/zone": "us-east-1b",
				"kubernetes.io/arch": "arm64", "karpenter.sh/capacity-type": "spot",
			},
			Annotations: map[string]string{"cluster-autoscaler.kubernetes.io/scale-down-disabled": "true"},
		},
		Spec: corev1.NodeSpec{
			ProviderID: "aws:///us-east-1b/i-0a", Unschedulable: true,
			Taints: []corev1.Taint{{Key: "nvidia.com/gpu", Effect: corev1.TaintEffectNoSchedule}},
		},
		Status: corev1.NodeStatus{
			Allocatable: amounts("cpu", "3920m", "memory", "15Gi", "pods", "58", "ephemeral-storage", "70Gi", "nvidia.com/gpu", "1", "hugepages-2Mi", "0"),
			Conditions:  []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
			Images:      []corev1.ContainerImage{{Names: []string{"big"}}},
		},
	}
	pods := []*corev1.Pod{
		{Spec: corev1.PodSpec{Containers: []corev1.Container{container("a", "cpu", "500m", "memory", "2Gi")}}, Status: corev1.PodStatus{Phase: corev1.PodRunning}},
		{Spec: corev1.PodSpec{Containers: []corev1.Container{container("a", "cpu", "1")}}, Status: corev1.PodStatus{Phase: corev1.PodPending}},
		{Spec: corev1.PodSpec{Containers: []corev1.Container{container("a", "cpu", "9")}}, Status: corev1.PodStatus{Phase: corev1.PodSucceeded}},
	}
	stripped, err := strip(node)
	if err != nil {
		t.Fatal(err)
	}
	requireProto(t, &fleetv1.NodeMetric{
		NodeName: "ip-10-0-1-2", InstanceType: "g5.xlarge", InstanceId: "i-0a", AvailabilityZone: "us-east-1b",
		NodeType: "spot", CpuAllocatable: 3.92, MemoryAllocatableGb: 15, CpuAllocated: 1.5, MemoryAllocatedGb: 2,
		PodCount: 2, NodeUid: "u", ProviderId: "aws:///us-east-1b/i-0a", Labels: node.Labels,
		Taints: []*fleetv1.Taint{{Key: "nvidia.com/gpu", Effect: "NoSchedule"}}, Ready: true, Unschedulable: true,
		Allocatable: &fleetv1.Resources{
			CpuMillicores: 3920, MemoryBytes: 15 << 30, EphemeralStorageBytes: 70 << 30, Extended: map[string]int64{"nvidia.com/gpu": 1},
		},
		MaxPods: 58, Architecture: "arm64", CreatedAt: timestamppb.New(born), DoNotDisrupt: true,
	}, nodeMetric(stripped.(*corev1.Node), pods))
}

func TestPodMessage(t *testing.T) {
	yes, grace, priority, domains := true, int64(75), int32(1000), int32(2)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "db-0", Namespace: "shop", UID: "u", CreationTimestamp: metav1.NewTime(born),
			Labels:          map[string]string{"app": "db", "pod-template-hash": "7"},
			Annotations:     map[string]string{"karpenter.sh/do-not-disrupt": "true", "secret-ish": "dropped"},
			OwnerReferences: []metav1.OwnerReference{{Kind: "Other"}, {Kind: "StatefulSet", Name: "db", UID: "s", Controller: &yes}},
		},
		Spec: corev1.PodSpec{
			NodeName: "n1", NodeSelector: map[string]string{"disk": "ssd"},
			Priority: &priority, PriorityClassName: "high", TerminationGracePeriodSeconds: &grace,
			Tolerations: []corev1.Toleration{{Key: "k", Operator: corev1.TolerationOpEqual, Value: "v", Effect: corev1.TaintEffectNoSchedule}},
			Containers: []corev1.Container{{
				Name: "main", Ports: []corev1.ContainerPort{{HostPort: 9100}, {ContainerPort: 80}},
				Env:       []corev1.EnvVar{{Name: "PASSWORD", Value: "hidden"}},
				Resources: corev1.ResourceRequirements{Requests: amounts("cpu", "2", "memory", "4Gi", "nvidia.com/gpu", "1")},
			}},
			Volumes: []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
			Affinity: &corev1.Affinity{
				NodeAffinity: &corev1.NodeAffinity{
					RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
						MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "cpu", Operator: corev1.NodeSelectorOpGt, Values: []string{"3"}}},
						MatchFields:      []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{"n1"}}},
					}}},
					PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{Weight: 1}},
				},
				PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{
					LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "db"}},
					TopologyKey:   "kubernetes.io/hostname", NamespaceSelector: &metav1.LabelSelector{},
				}}},
				PodAffinity: &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{TopologyKey: "zone", Namespaces: []string{"a"}}}},
			},
			TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{
				MaxSkew: 1, TopologyKey: "topology.kubernetes.io/zone", WhenUnsatisfiable: corev1.DoNotSchedule, MinDomains: &domains,
				LabelSelector:  &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: metav1.LabelSelectorOpExists}}},
				MatchLabelKeys: []string{"pod-template-hash", "absent"},
			}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1", Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
	stripped, err := strip(pod)
	if err != nil {
		t.Fatal(err)
	}
	requireProto(t, &fleetv1.Pod{
		Uid: "u", Namespace: "shop", Name: "db-0", NodeName: "n1", Phase: "Running", Ready: true,
		Owner: &fleetv1.Owner{Kind: "StatefulSet", Name: "db", Uid: "s"}, Labels: pod.Labels,
		Requests:     &fleetv1.Resources{CpuMillicores: 2000, MemoryBytes: 4 << 30, Extended: map[string]int64{"nvidia.com/gpu": 1}},
		NodeSelector: map[string]string{"disk": "ssd"},
		NodeAffinity: []*fleetv1.NodeSelectorTerm{{
			MatchExpressions: []*fleetv1.LabelRequirement{{Key: "cpu", Operator: "Gt", Values: []string{"3"}}},
			MatchFields:      []*fleetv1.LabelRequirement{{Key: "metadata.name", Operator: "In", Values: []string{"n1"}}},
		}},
		PodAffinity: []*fleetv1.PodAffinityTerm{{TopologyKey: "zone", Namespaces: []string{"a"}}},
		PodAntiAffinity: []*fleetv1.PodAffinityTerm{{
			Selector: &fleetv1.LabelSelector{MatchLabels: map[string]string{"app": "db"}}, TopologyKey: "kubernetes.io/hostname", NamespaceSelector: true,
		}},
		Tolerations: []*fleetv1.Toleration{{Key: "k", Operator: "Equal", Value: "v", Effect: "NoSchedule"}},
		TopologySpread: []*fleetv1.TopologySpread{{
			MaxSkew: 1, TopologyKey: "topology.kubernetes.io/zone", WhenUnsatisfiable: "DoNotSchedule", MinDomains: 2,
			Selector: &fleetv1.LabelSelector{MatchExpressions: []*fleetv1.LabelRequirement{
				{Key: "app", Operator: "Exists"}, {Key: "pod-template-hash", Operator: "In", Values: []string{"7"}},
			}},
		}},
		Priority: 1000, PriorityClass: "high", VolumeZones: []string{"us-east-1a"}, LocalStorage: true,
		DoNotDisrupt: "karpenter.sh/do-not-disrupt", GracePeriodSeconds: 75, HostPorts: []int32{9100}, CreatedAt: timestamppb.New(born),
	}, podMessage(stripped.(*corev1.Pod), []string{"us-east-1a"}))
}

func TestStripKeepsNoSecretsOfAPod(t *testing.T) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "p", Annotations: map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "hidden"},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "hidden"}},
		},
		Spec: corev1.PodSpec{
			ServiceAccountName: "hidden",
			Containers:         []corev1.Container{{Name: "c", Image: "hidden", Args: []string{"hidden"}, Env: []corev1.EnvVar{{Name: "A", Value: "hidden"}}}},
			Volumes:            []corev1.Volume{{Name: "s", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "hidden"}}}},
		},
	}
	kept, err := strip(pod)
	if err != nil {
		t.Fatal(err)
	}
	if text := kept.(*corev1.Pod).String(); strings.Contains(text, "hidden") {
		t.Fatalf("kept: %s", text)
	}
}

func TestBudgetMessage(t *testing.T) {
	percent, number := intstr.FromString("25%"), intstr.FromInt(2)
	requireProto(t, &fleetv1.PodDisruptionBudget{
		Uid: "u", Namespace: "shop", Name: "web", Selector: &fleetv1.LabelSelector{}, MinAvailable: "2", MaxUnavailable: "25%",
		ExpectedPods: 4, CurrentHealthy: 3, DesiredHealthy: 2, DisruptionsAllowed: 1,
	}, budgetMessage(&policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "u"},
		Spec:       policyv1.PodDisruptionBudgetSpec{MinAvailable: &number, MaxUnavailable: &percent, Selector: &metav1.LabelSelector{}},
		Status:     policyv1.PodDisruptionBudgetStatus{ExpectedPods: 4, CurrentHealthy: 3, DesiredHealthy: 2, DisruptionsAllowed: 1},
	}))
}

func TestEventMessage(t *testing.T) {
	involved := corev1.ObjectReference{Kind: "Pod", Namespace: "shop", Name: "web", UID: "p"}
	old := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{UID: "e"}, Type: "Warning", Reason: "FailedScheduling", Message: strings.Repeat("x", 5000),
		InvolvedObject: involved, Source: corev1.EventSource{Component: "default-scheduler"}, Count: 7,
		FirstTimestamp: metav1.NewTime(born), LastTimestamp: metav1.NewTime(born.Add(time.Minute)),
	}
	requireProto(t, &fleetv1.Event{
		EventId: "e", Type: "Warning", Reason: "FailedScheduling", Message: strings.Repeat("x", 4096),
		ObjectKind: "Pod", ObjectNamespace: "shop", ObjectName: "web", ObjectUid: "p", ReportingComponent: "default-scheduler",
		Count: 7, FirstSeen: timestamppb.New(born), LastSeen: timestamppb.New(born.Add(time.Minute)),
	}, eventMessage(old))
	folded := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{UID: "e"}, Type: "Normal", Reason: "NodeReady",
		InvolvedObject: corev1.ObjectReference{Kind: "Node", Name: "n1"}, ReportingController: "kubelet",
		EventTime: metav1.NewMicroTime(born), Series: &corev1.EventSeries{Count: 3, LastObservedTime: metav1.NewMicroTime(born.Add(time.Hour))},
	}
	requireProto(t, &fleetv1.Event{
		EventId: "e", Type: "Normal", Reason: "NodeReady", ObjectKind: "Node", ObjectName: "n1", ReportingComponent: "kubelet",
		Count: 3, FirstSeen: timestamppb.New(born), LastSeen: timestamppb.New(born.Add(time.Hour)),
	}, eventMessage(folded))
	if m := eventMessage(&corev1.Event{Type: "Warning", Reason: "x"}); m != nil {
		t.Fatalf("an event about nothing became %v", m)
	}
}

func TestEventQueueFoldsRepeatsAndIsBounded(t *testing.T) {
	q := newEventQueue()
	for i := range 1500 {
		q.add(&corev1.Event{
			ObjectMeta: metav1.ObjectMeta{UID: uid(i % 1200)}, Type: "Warning", Reason: "R", Count: int32(i),
			InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: "p"},
		})
	}
	events, dropped := q.take()
	if len(events) != 1000 || dropped != 200 {
		t.Fatalf("%d events, %d dropped", len(events), dropped)
	}
	for _, e := range events {
		if e.GetEventId() == string(uid(7)) && e.GetCount() != 1207 {
			t.Fatalf("a repeat was not folded: %v", e)
		}
	}
}

func TestZonesOfAVolume(t *testing.T) {
	affinity := func(key string, op corev1.NodeSelectorOperator, zones ...string) *corev1.PersistentVolume {
		return &corev1.PersistentVolume{Spec: corev1.PersistentVolumeSpec{NodeAffinity: &corev1.VolumeNodeAffinity{
			Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: op, Values: zones}},
			}}},
		}}}
	}
	labelled := func(value string) *corev1.PersistentVolume {
		return &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"topology.kubernetes.io/zone": value}}}
	}
	for name, tc := range map[string]struct {
		pv   *corev1.PersistentVolume
		want []string
	}{
		"the EBS driver's":      {affinity("topology.ebs.csi.aws.com/zone", corev1.NodeSelectorOpIn, "us-east-1a"), []string{"us-east-1a"}},
		"the well-known key's":  {affinity("topology.kubernetes.io/zone", corev1.NodeSelectorOpIn, "us-east-1b", "us-east-1c"), []string{"us-east-1b", "us-east-1c"}},
		"bound to a host":       {affinity("kubernetes.io/hostname", corev1.NodeSelectorOpIn, "n1"), nil},
		"anywhere but":          {affinity("topology.kubernetes.io/zone", corev1.NodeSelectorOpNotIn, "us-east-1a"), nil},
		"an old in-tree one":    {labelled("us-east-1a__us-east-1b"), []string{"us-east-1a", "us-east-1b"}},
		"a network file system": {&corev1.PersistentVolume{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, zonesOf(tc.pv)); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}
