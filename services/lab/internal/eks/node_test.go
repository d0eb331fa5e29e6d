package eks

import "testing"

// The wanted figures are Karpenter's published allocatable resources, for
// Amazon Linux 2023 with its defaults.
func TestAllocatableIsWhatEKSLeaves(t *testing.T) {
	for _, test := range []struct {
		machine           Type
		cpu, pods, memory int64
	}{
		{Type{"m5.large", 2, 8192, 0, 3, 10, 0}, 1930, 29, 6903},
		{Type{"c5.2xlarge", 8, 16384, 0, 4, 15, 0}, 7910, 58, 14162},
		{Type{"m6i.4xlarge", 16, 65536, 0, 8, 30, 0}, 15890, 234, 57691},
		{Type{"r6i.32xlarge", 128, 1048576, 0, 15, 50, 0}, 127610, 737, 961470},
	} {
		_, got := test.machine.Resources()
		if cpu := got.Cpu().MilliValue(); cpu != test.cpu {
			t.Errorf("%s: %dm CPU, want %dm", test.machine.Name, cpu, test.cpu)
		}
		if pods := got.Pods().Value(); pods != test.pods {
			t.Errorf("%s: %d pods, want %d", test.machine.Name, pods, test.pods)
		}
		if memory := got.Memory().Value() >> 20; memory != test.memory {
			t.Errorf("%s: %d MiB, want %d", test.machine.Name, memory, test.memory)
		}
	}
}

func TestCheapestCoversAndKeepsGPUsApart(t *testing.T) {
	for _, test := range []struct {
		cpu, memory, gpus int64
		want              string
	}{
		{8000, 16384, 0, "c5.2xlarge"},
		{8000, 30000, 0, "m5.2xlarge"},
		{96000, 393216, 0, "m6i.24xlarge"},
		{96000, 393216, 8, "g4dn.metal"},
		{8000, 32768, 1, "g4dn.2xlarge"},
		{128000, 1048576, 1, "g6e.48xlarge"},
	} {
		got, ok := Cheapest(test.cpu, test.memory, test.gpus)
		if !ok || got.Name != test.want {
			t.Errorf("Cheapest(%d, %d, %d) = %s, want %s", test.cpu, test.memory, test.gpus, got.Name, test.want)
		}
	}
	if got, ok := Cheapest(1_000_000, 1, 0); ok {
		t.Errorf("a thousand cores fit %s", got.Name)
	}
}

func TestProviderIDsGoBothWays(t *testing.T) {
	if id := ProviderID("us-east-1a", "i-0abc"); id != "aws:///us-east-1a/i-0abc" || InstanceID(id) != "i-0abc" {
		t.Errorf("got %s and %s", id, InstanceID(id))
	}
	for _, other := range []string{"", "kind://docker/kind/worker", "gce://project/zone/name"} {
		if got := InstanceID(other); got != "" {
			t.Errorf("InstanceID(%q) = %q", other, got)
		}
	}
	if got := Region("eu-central-1b"); got != "eu-central-1" {
		t.Errorf("region is %s", got)
	}
}
