package main

import (
	"strings"
	"testing"
)

const usageBody = `{"cluster_id": "{cluster}", "timestamp": "2026-11-28T12:00:00Z", "total_nodes": 5, "usage": {
	"nodes": [{"node_name": "n2", "cpu_millicores": "500", "memory_bytes": "4294967296"}, {"node_name": "gone", "cpu_millicores": "1"}],
	"workloads": [{"namespace": "web", "kind": "Deployment", "name": "shop", "replicas": 2, "containers": [
		{"container": "app", "cpu_millicores": "120", "memory_bytes": "67108864", "requests": {"cpu_millicores": "500", "memory_bytes": "134217728"},
			"restarts": 1, "oom_kills": [{"time": "2026-11-28T11:59:00Z", "limit_bytes": "134217728"}]}]}]}}`

func TestWhatAnAgentThatPollsSaysOfUsageIsSeen(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited)
	h.populate(t)
	const metrics, node = "/api/v1/client/metrics", clusterPath + "/nodes?search=n2"
	unknown := `{"cluster_id": "{cluster}", "timestamp": "2026-11-28T12:00:30Z", "usage": {"unknown": "no_metrics_api"}}`
	older := strings.ReplaceAll(strings.Replace(usageBody, `"500", "memory_bytes": "429`, `"1", "memory_bytes": "429`, 1), `"total_nodes": 5`, `"total_nodes": 6`)
	h.wantNoRatio(t, "n2")
	h.visit(t, h.fill(), []request{
		{"nobody said", "GET", clusterPath, h.admin, ``, 200, `{"usage": ""}`},
		{"none is known", "POST", metrics, h.agent, unknown, 200, `{"received_at": "<time>"}`},
		{"why not", "GET", clusterPath, h.admin, ``, 200, `{"usage": "no_metrics_api"}`},
	})
	h.wantNoRatio(t, "n2") // which is not zero
	h.visit(t, h.fill(), []request{
		{"a report", "POST", metrics, h.agent, usageBody, 200, `{"received_at": "<time>"}`},
		{"it is seen", "GET", node, h.admin, ``, 200, `[{"node": {"node_name": "n2"}, "cpu_used_ratio": 0.25, "memory_used_ratio": 0.5}]`},
		{"the same one again, whatever it says", "POST", metrics, h.agent, older, 200, `{"received_at": "<time>"}`},
		{"it is as it was", "GET", node, h.admin, ``, 200, `[{"cpu_used_ratio": 0.25, "memory_used_ratio": 0.5}]`},
		{"it is known", "GET", clusterPath, h.admin, ``, 200, `{"usage": "known"}`},
	})
	h.wantNoRatio(t, "n3") // of which nothing was said
	if n := h.count(t, "SELECT count(*) FROM usage_samples"); n != 1 {
		t.Errorf("%d reports are kept", n)
	}
	h.refuse(t, []refusal{
		{"less than nothing", "POST", metrics, h.agent, strings.Replace(usageBody, `"500"`, `"-500"`, 1), 422, "INVALID_REQUEST", `{"field": "usage.nodes[0].cpu_millicores"}`},
		{"another reason", "POST", metrics, h.agent, strings.Replace(unknown, "no_metrics_api", "because", 1), 422, "INVALID_REQUEST", `{"field": "usage.unknown"}`},
		{"a container of no name", "POST", metrics, h.agent, strings.Replace(usageBody, `"app"`, `""`, 1), 422, "INVALID_REQUEST", ""},
	})
}

func (h *house) wantNoRatio(t *testing.T, name string) {
	t.Helper()
	nodes := h.must(t, 200, "GET", h.fill().Replace(clusterPath)+"/nodes?search="+name, h.admin, "").([]any)
	for _, field := range []string{"cpu_used_ratio", "memory_used_ratio"} {
		if ratio, told := nodes[0].(map[string]any)[field]; told {
			t.Errorf("%s of %s is %v, which nobody knows", field, name, ratio)
		}
	}
}
