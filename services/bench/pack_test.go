package main

import (
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

func TestAWorkloadIsTheSameForTheSameSeedAndHasAllRules(t *testing.T) {
	w := ruled(1000, 3, 0.2)
	if diff := cmp.Diff(w.pods, ruled(1000, 3, 0.2).pods, protocmp.Transform()); diff != "" {
		t.Fatal(diff)
	}
	seen := map[string]int{}
	for _, pod := range w.pods {
		for what, has := range map[string]bool{
			"affinity": len(pod.PodAffinity) > 0, "anti-affinity": len(pod.PodAntiAffinity) > 0, "spread": len(pod.TopologySpread) > 0,
			"toleration": len(pod.Tolerations) > 0, "volume": len(pod.VolumeZones) > 0, "arch": pod.NodeSelector[archKey] != "",
			"capacity": pod.NodeSelector[capKey] != "",
		} {
			if has {
				seen[what]++
			}
		}
	}
	for _, what := range []string{"affinity", "anti-affinity", "spread", "toleration", "volume", "arch", "capacity"} {
		if seen[what] < 20 {
			t.Errorf("%d of 1000 pods have %s", seen[what], what)
		}
	}
}

func TestKubernetesGetsEveryRuleOfAPod(t *testing.T) {
	web := &fleetv1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
	pod := kubePod(&fleetv1.Pod{
		Name: "p", Requests: &fleetv1.Resources{CpuMillicores: 1500, MemoryBytes: 1 << 30}, HostPorts: []int32{80}, VolumeZones: []string{"z"},
		Tolerations:     []*fleetv1.Toleration{{Key: "team", Value: "batch", Effect: "NoSchedule"}},
		TopologySpread:  []*fleetv1.TopologySpread{{MaxSkew: 2, TopologyKey: zoneKey, WhenUnsatisfiable: "DoNotSchedule", Selector: web}},
		PodAffinity:     []*fleetv1.PodAffinityTerm{{Selector: web, TopologyKey: zoneKey}},
		PodAntiAffinity: []*fleetv1.PodAffinityTerm{{Selector: web, TopologyKey: hostname}},
	})
	spec := pod.Spec
	for what, ok := range map[string]bool{
		"requests":      spec.Containers[0].Resources.Requests.Cpu().MilliValue() == 1500 && spec.Containers[0].Resources.Requests.Memory().Value() == 1<<30,
		"port":          spec.Containers[0].Ports[0].HostPort == 80,
		"volume":        spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchExpressions[0].Values[0] == "z",
		"toleration":    spec.Tolerations[0].Key == "team" && spec.Tolerations[0].Value == "batch",
		"spread":        spec.TopologySpreadConstraints[0].MaxSkew == 2 && spec.TopologySpreadConstraints[0].LabelSelector.MatchLabels["app"] == "web",
		"affinity":      spec.Affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution[0].TopologyKey == zoneKey,
		"anti-affinity": spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution[0].TopologyKey == hostname,
	} {
		if !ok {
			t.Errorf("%s is not there: %+v", what, spec)
		}
	}
}

func TestASnapshotBecomesPods(t *testing.T) {
	source, into := filepath.Join(t.TempDir(), "pods.csv.gz"), filepath.Join(t.TempDir(), "pods.json")
	f, err := os.Create(source)
	if err != nil {
		t.Fatal(err)
	}
	zip := gzip.NewWriter(f)
	if _, err := zip.Write([]byte("name,cpu_milli,memory_mib,num_gpu\na,1500,2,1\n")); err != nil {
		t.Fatal(err)
	}
	zip.Close()
	f.Close()
	if err := convertSnapshot(source, into); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(into)
	if err != nil {
		t.Fatal(err)
	}
	if want := `[{"name":"a","app":"a","cpu_milli":1500,"mem_bytes":2097152}]`; strings.TrimSpace(string(raw)) != want {
		t.Errorf("got %s, want %s", raw, want)
	}
}

func TestATargetMayBeTheLeast(t *testing.T) {
	for value, want := range map[float64]string{120: "≥ 100, met", 100: "≥ 100, met", 99: "≥ 100, **missed**"} {
		if got := targetOf(Result{Value: value, Target: atMost(100), AtLeast: true}); got != want {
			t.Errorf("%v gives %q, want %q", value, got, want)
		}
	}
}
