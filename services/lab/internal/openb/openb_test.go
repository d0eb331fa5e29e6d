package openb

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloudoptim/cloudoptim/services/lab/internal/eks"
)

const nodeList = `sn,cpu_milli,memory_mib,gpu,model
openb-node-0000,32000,262144,0,
openb-node-0001,8000,32768,1,V100M16
openb-node-0002,96000,393216,0,
`

const podList = `name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time
early,1000,1024,0,0,,BE,Running,0,10,0
alive-a,8000,30517,0,0,,LS,Running,100,300,100
alive-b,8000,30517,0,0,,LS,Running,120,300,121
alive-gpu,4000,8192,1,500,,LS,Running,120,300,
too-big,200000,30517,0,0,,LS,Running,130,300,131
late,2000,1024.0,0,0,,BE,Running,500,600,500
`

func convert(t *testing.T, c Config) *Result {
	t.Helper()
	c.Region = "us-east-1"
	got, err := Convert(strings.NewReader(nodeList), strings.NewReader(podList), c)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestEachNodeBecomesTheCheapestTypeThatCoversIt(t *testing.T) {
	types := map[string]string{}
	for _, n := range convert(t, Config{Fill: 0.9}).Dump.Nodes {
		types[n.Name] = n.Labels[corev1.LabelInstanceTypeStable]
	}
	want := map[string]string{"openb-node-0000": "r6i.8xlarge", "openb-node-0001": "g4dn.2xlarge", "openb-node-0002": "m6i.24xlarge"}
	for name, instance := range want {
		if types[name] != instance {
			t.Errorf("%s is %s, want %s", name, types[name], instance)
		}
	}
}

func TestPodsKeepTheirRequestsAndAreCountedWhenDropped(t *testing.T) {
	got := convert(t, Config{Fill: 0.9})
	if got.Dropped != 1 || len(got.Dump.Pods) != 5 {
		t.Fatalf("%d dropped, %d kept", got.Dropped, len(got.Dump.Pods))
	}
	if first := got.Dump.Pods[0].Name; first != "alive-a" {
		t.Errorf("the first pod is %s, not one of the busiest moment", first)
	}
	for _, p := range got.Dump.Pods {
		request := p.Spec.Containers[0].Resources.Requests
		if p.Name == "alive-gpu" {
			gpus := request[eks.ResourceGPU]
			if p.Spec.NodeName != "openb-node-0001" || gpus.Value() != 1 {
				t.Errorf("the GPU pod has %v on %s", gpus.Value(), p.Spec.NodeName)
			}
		} else if p.Spec.NodeName == "openb-node-0001" {
			t.Errorf("%s is on the GPU node", p.Name)
		}
		if p.Name == "alive-b" && (request.Cpu().MilliValue() != 8000 || request.Memory().Value() != 30517<<20) {
			t.Errorf("alive-b asks for %v", request)
		}
		if owner := metav1.GetControllerOf(&p); owner == nil || owner.Kind != "ReplicaSet" {
			t.Errorf("%s has no owner", p.Name)
		}
	}
}

func TestNodesAreLeftAloneWhenFullEnough(t *testing.T) {
	// One pod of 8 cores is a quarter of 32: the next goes to the other node.
	got := convert(t, Config{Fill: 0.05, CPUOnly: true})
	on := map[string]int{}
	for _, p := range got.Dump.Pods {
		on[p.Spec.NodeName]++
	}
	if len(got.Dump.Nodes) != 2 || len(on) != 2 || len(got.Dump.Pods) != 2 {
		t.Errorf("pods are on %v", on)
	}
}

func TestASeedMeansOneConversion(t *testing.T) {
	printed := func(seed uint64) string {
		var b bytes.Buffer
		if err := convert(t, Config{Fill: 0.9, Seed: seed, MaxNodes: 2}).Dump.Write(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	if first, again := printed(3), printed(3); first != again {
		t.Error("two runs with seed 3 differ")
	}
}

func TestGzippedListsAreRead(t *testing.T) {
	zip := func(s string) *bytes.Buffer {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		if _, err := w.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return &b
	}
	got, err := Convert(zip(nodeList), zip(podList), Config{Fill: 0.9, Region: "us-east-1"})
	if err != nil || len(got.Dump.Nodes) != 3 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestABadCellIsNamed(t *testing.T) {
	for list, want := range map[string]string{
		strings.Replace(nodeList, "32000", "many", 1):   "line 2: column cpu_milli",
		strings.Replace(nodeList, "memory_mib", "x", 1): "no column memory_mib",
	} {
		_, err := Convert(strings.NewReader(list), strings.NewReader(podList), Config{Fill: 0.5})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q in it", err, want)
		}
	}
}
