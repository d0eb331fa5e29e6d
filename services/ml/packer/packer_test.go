package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const testWorkload = `{
  "types": [{"name":"m.large","arch":"amd64","cpu_milli":2000,"mem_bytes":8589934592,"max_pods":29,"overhead_cpu_milli":70,"overhead_mem_bytes":1073741824,
             "price_on_demand":0.1,"price_spot":{"a":0.03},"zones":["a","b"]}],
  "capacity": ["spot","on-demand"],
  "pools": [{"name":"default"},{"name":"batch","labels":{"team":"batch"},"taints":[{"key":"team","value":"batch","effect":"NoSchedule"}]}],
  "pods": [
    {"uid":"1","name":"spread-0","namespace":"d","labels":{"app":"s"},"requests":{"cpuMillicores":"500"},"topologySpread":[{"maxSkew":1,"topologyKey":"topology.kubernetes.io/zone","whenUnsatisfiable":"DoNotSchedule","selector":{"matchLabels":{"app":"s"}}}]},
    {"uid":"2","name":"spread-1","namespace":"d","labels":{"app":"s"},"requests":{"cpuMillicores":"500"},"topologySpread":[{"maxSkew":1,"topologyKey":"topology.kubernetes.io/zone","whenUnsatisfiable":"DoNotSchedule","selector":{"matchLabels":{"app":"s"}}}]},
    {"uid":"3","name":"batch","namespace":"d","requests":{"cpuMillicores":"500"},"nodeSelector":{"team":"batch"},"tolerations":[{"key":"team","operator":"Exists"}]},
    {"uid":"4","name":"huge","namespace":"d","requests":{"cpuMillicores":"1900"}}
  ],
  "daemons": [{"uid":"5","name":"agent","namespace":"k","requests":{"cpuMillicores":"100"},"tolerations":[{"operator":"Exists"}]}]
}`

func readWorkload(t *testing.T, text string) *workload {
	t.Helper()
	file := filepath.Join(t.TempDir(), "workload.json")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := read(options{workload: file})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestAPlanForAFileHoldsByTheCheck(t *testing.T) {
	w := readWorkload(t, testWorkload)
	a := w.solve(1)
	v := w.check(a)
	// A zone each for the two replicas, the batch pool for one; spot is only in zone a.
	if len(v.Broken) > 0 || v.Nodes != 3 || v.Placed != 3 || v.Cost < 0.159 || v.Cost > 0.161 {
		t.Errorf("verdict %+v on %+v", v, a)
	}
	if len(a.Unplaced) != 1 || a.Unplaced[0] != "huge: too_large" { // the DaemonSet takes what it needs
		t.Errorf("unplaced %v", a.Unplaced)
	}
}

func TestTheCheckFindsWhatDoesNotHold(t *testing.T) {
	w := readWorkload(t, testWorkload)
	for name, c := range map[string]struct {
		nodes []bought
		want  string
	}{
		"too full":             {[]bought{{Type: "m.large", Zone: "a", Capacity: "spot", Pool: "default", Pods: []string{"huge", "spread-0"}}}, "resources"},
		"in one zone":          {[]bought{{Type: "m.large", Zone: "a", Capacity: "spot", Pods: []string{"spread-0", "spread-1"}}, {Type: "m.large", Zone: "b", Capacity: "on-demand"}}, "spread"},
		"in the wrong pool":    {[]bought{{Type: "m.large", Zone: "a", Capacity: "spot", Pool: "default", Pods: []string{"batch"}}}, "node affinity"},
		"nobody sells it":      {[]bought{{Type: "m.large", Zone: "b", Capacity: "spot"}}, "nobody sells"},
		"placed twice":         {[]bought{{Type: "m.large", Zone: "a", Capacity: "spot", Pods: []string{"spread-0", "spread-0"}}}, "twice"},
		"a pod that is not it": {[]bought{{Type: "m.large", Zone: "a", Capacity: "spot", Pods: []string{"ghost"}}}, "no pod ghost"},
	} {
		t.Run(name, func(t *testing.T) {
			v := w.check(&answer{Nodes: c.nodes})
			if !strings.Contains(strings.Join(v.Broken, "; "), c.want) {
				t.Errorf("broken: %v, want %q", v.Broken, c.want)
			}
		})
	}
}
