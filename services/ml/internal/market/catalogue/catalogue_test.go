package catalogue_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/market/catalogue"
)

func load(t *testing.T) *catalogue.Facts {
	t.Helper()
	facts, err := catalogue.Load()
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

func TestEmbeddedTypesAreAsAWSDescribesThem(t *testing.T) {
	facts := load(t)
	for _, want := range []catalogue.Type{
		{Name: "m5.large", Family: "m5", Category: "General purpose", Current: true, VCPU: 2, MemoryMiB: 8192, Architecture: "amd64", MaxPods: 29},
		{Name: "c6g.xlarge", Family: "c6g", Category: "Compute optimized", Current: true, VCPU: 4, MemoryMiB: 8192, Architecture: "arm64", MaxPods: 58},
		{Name: "r5.2xlarge", Family: "r5", Category: "Memory optimized", Current: true, VCPU: 8, MemoryMiB: 65536, Architecture: "amd64", MaxPods: 58},
		{Name: "t3.medium", Family: "t3", Category: "General purpose", Current: true, VCPU: 2, MemoryMiB: 4096, Architecture: "amd64", Burstable: true, MaxPods: 17},
		{Name: "m5.metal", Family: "m5", Category: "General purpose", Current: true, VCPU: 96, MemoryMiB: 393216, Architecture: "amd64", BareMetal: true, MaxPods: 737},
		{Name: "g5.xlarge", Family: "g5", Category: "GPU instance", Current: true, VCPU: 4, MemoryMiB: 16384, Architecture: "amd64", GPUs: 1, GPU: "NVIDIA A10G", MaxPods: 58},
	} {
		if diff := cmp.Diff(want, facts.Types[want.Name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", want.Name, diff)
		}
	}
	if len(facts.Types) < 800 {
		t.Errorf("%d types, want at least 800", len(facts.Types))
	}
}

func TestAllocatableIsWhatEKSLeavesToPods(t *testing.T) {
	facts := load(t)
	// CPU by EKS' steps; memory nominal - 7.5 % - (255 + 11 × pods) - 100 MiB.
	for name, want := range map[string]catalogue.Allocatable{
		"m5.large":   {CPUMillicores: 1930, MemoryBytes: (8192 - 614 - 255 - 319 - 100) << 20, Pods: 29},
		"m5.xlarge":  {CPUMillicores: 3920, MemoryBytes: (16384 - 1228 - 255 - 638 - 100) << 20, Pods: 58},
		"c5.2xlarge": {CPUMillicores: 7910, MemoryBytes: (16384 - 1228 - 255 - 638 - 100) << 20, Pods: 58},
		"g5.xlarge":  {CPUMillicores: 3920, MemoryBytes: (16384 - 1228 - 255 - 638 - 100) << 20, Pods: 58, Accelerator: "nvidia.com/gpu", Accelerators: 1},
	} {
		if diff := cmp.Diff(want, facts.Types[name].Allocatable()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestEmbeddedPricesAreInsideWhatTheSourcesSay(t *testing.T) {
	facts := load(t)
	found := map[string]catalogue.Price{}
	for _, price := range facts.Prices {
		found[price.Region+"/"+price.Type] = price
	}
	m5 := found["us-east-1/m5.large"]
	if m5.OnDemand != 0.096 || m5.Bucket != 2 || len(m5.Spot) != 5 {
		t.Errorf("m5.large in us-east-1 = %+v, want 0.096 on demand, bucket 2, five zones", m5)
	}
	for zone, price := range m5.Spot {
		if price < 0.0315 || price > 0.0383 {
			t.Errorf("m5.large spot in %s = %v, want between 0.0315 and 0.0383", zone, price)
		}
	}
	if eu := found["eu-west-1/m5.large"]; eu.OnDemand != 0.107 {
		t.Errorf("m5.large in eu-west-1 = %v on demand, want 0.107", eu.OnDemand)
	}
	if facts.AsOf.OnDemandRegion["us-east-1"].Year() != 2026 {
		t.Errorf("on-demand prices of us-east-1 as of %v, want 2026", facts.AsOf.OnDemandRegion["us-east-1"])
	}
}
