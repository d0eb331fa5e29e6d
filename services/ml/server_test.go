package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/observe"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

const testKey = "test-key-0123456789"

func testServer(t *testing.T) *server {
	t.Helper()
	told, err := observe.Start(t.Context(), observe.Discard())
	if err != nil {
		t.Fatal(err)
	}
	prices, err := market.New()
	if err != nil {
		t.Fatal(err)
	}
	var s settings
	s.Auth.APIKeys = []string{testKey}
	srv, err := newServer(&s, told, prices, &market.Account{Log: told.Log}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.rpc.Stop)
	return srv
}

// The guide's own example, completed to a valid request.
const decisionBody = `{
  "request_id": "req-12345", "cluster_id": "7f9c24e8-3b1a-4a6e-9d57-0c1f3a2b4d5e", "timestamp": "2025-11-28T10:00:00Z", "decision_type": "DECISION",
  "current_state": {
    "cluster_id": "7f9c24e8-3b1a-4a6e-9d57-0c1f3a2b4d5e", "cluster_name": "production", "region": "us-east-1",
    "total_nodes": 10, "spot_nodes": 0, "on_demand_nodes": 10, "total_cpu_cores": 40, "total_memory_gb": 160,
    "allocated_cpu_cores": 20, "allocated_memory_gb": 80, "total_pods": 100, "running_pods": 100, "pending_pods": 0,
    "current_cost_per_hour": 1.92, "baseline_cost_per_hour": 1.92, "last_updated": "2025-11-28T10:00:00Z", "health_status": "GREEN"
  },
  "requirements": {"cpu_required": 2.0, "node_count": 10}, "constraints": {"max_spot_percentage": 0.80}, "metadata": {"seed": 7}
}`

func decision(kind, old, replacement string) string {
	return strings.Replace(strings.Replace(decisionBody, "DECISION", kind, 1), old, replacement, 1)
}

// binPackBody asks about two half-empty nodes.
func binPackBody(constraints string) string {
	node := func(name string) string {
		return `{"node_name": "` + name + `", "instance_id": "i-` + name + `", "instance_type": "m5.xlarge", "availability_zone": "us-east-1a", "node_type": "on-demand",
			"ready": true, "max_pods": 58, "architecture": "amd64", "allocatable": {"cpu_millicores": 3920, "memory_bytes": 15000000000}}`
	}
	pod := func(name, node string) string {
		return `{"uid": "` + name + `", "namespace": "shop", "name": "` + name + `", "node_name": "` + node + `", "phase": "Running", "owner": {"kind": "ReplicaSet", "name": "r"},
			"requests": {"cpu_millicores": 1000, "memory_bytes": 1000000000}}`
	}
	return `{"request_id": "req-1", "cluster_id": "7f9c24e8-3b1a-4a6e-9d57-0c1f3a2b4d5e", "current_state": {"cluster_id": "7f9c24e8-3b1a-4a6e-9d57-0c1f3a2b4d5e", "region": "us-east-1",
		"nodes": [` + node("a") + "," + node("b") + `], "pods": [` + pod("x", "a") + "," + pod("y", "b") + `]}, "constraints": ` + constraints + `}`
}

func TestBinPackAnswersOverREST(t *testing.T) {
	front := httptest.NewServer(testServer(t).http)
	defer front.Close()
	code, answer := call(t, front, http.MethodPost, "/api/v1/ml/decision/bin-pack", testKey, binPackBody(`{"allow_purchases": false}`))
	moves, _ := answer["pod_moves"].([]any)
	summary, _ := answer["consolidation"].(map[string]any)
	if code != http.StatusOK || len(moves) != 1 || summary["evictions"] != 1.0 || answer["decision_type"] != "bin_pack" {
		t.Errorf("status %d, %v", code, answer)
	}
}

// usageBody is an hour of one container.
const usageBody = `"usage": [{"namespace": "shop", "kind": "Deployment", "name": "web", "container": "app", "replicas": 3,
  "requests": {"cpu_millicores": "500", "memory_bytes": "1073741824"},
  "hours": [{"start": "2025-11-28T10:00:00Z", "cpu": {"buckets": [95], "counts": [12], "max": 100, "samples": "12"}}]}],`

// sizing is the guide's example as rightsize and schedule are asked: without the wishes of spot-optimize.
func sizing(kind, usage string) string {
	return decision(kind, `"requirements": {"cpu_required": 2.0, "node_count": 10}, "constraints": {"max_spot_percentage": 0.80},`, usage)
}

func TestDocumentedPathsAnswerAsDocumented(t *testing.T) {
	front := httptest.NewServer(testServer(t).http)
	defer front.Close()
	const post, get = http.MethodPost, http.MethodGet
	spot, pack := "/api/v1/ml/decision/spot-optimize", "/api/v1/ml/decision/bin-pack"
	rightsize, schedule := "/api/v1/ml/decision/rightsize", "/api/v1/ml/decision/schedule"
	for name, c := range map[string]struct {
		method, path, key, body string
		status                  int
		code, field             string
	}{
		"spot-optimize":                         {post, spot, testKey, decision("spot_optimize", "", ""), 200, "", ""},
		"without a decision type":               {post, spot, testKey, decision("", "", ""), 200, "", ""},
		"another decision type":                 {post, spot, testKey, decision("bin_pack", "", ""), 422, "INVALID_REQUEST", "decision_type"},
		"an unknown decision type":              {post, spot, testKey, decision("guess", "", ""), 422, "INVALID_REQUEST", "decision_type"},
		"no key":                                {post, spot, "", decision("spot_optimize", "", ""), 401, "UNAUTHENTICATED", ""},
		"a wrong key":                           {post, spot, "wrong-key-0123456789", decision("spot_optimize", "", ""), 401, "UNAUTHENTICATED", ""},
		"not JSON":                              {post, spot, testKey, "{", 400, "MALFORMED_REQUEST", ""},
		"no body":                               {post, spot, testKey, "", 422, "INVALID_REQUEST", "request_id"},
		"an unknown field":                      {post, spot, testKey, decision("spot_optimize", `"metadata"`, `"metadatum"`), 400, "MALFORMED_REQUEST", ""},
		"a field of the wrong type":             {post, spot, testKey, decision("spot_optimize", `"total_nodes": 10`, `"total_nodes": "many"`), 400, "MALFORMED_REQUEST", ""},
		"a cluster id that is none":             {post, spot, testKey, decision("spot_optimize", "7f9c24e8-3b1a-4a6e-9d57-0c1f3a2b4d5e", "cluster-123"), 422, "INVALID_REQUEST", "cluster_id"},
		"a share above one":                     {post, spot, testKey, decision("spot_optimize", "0.80", "1.80"), 422, "INVALID_REQUEST", "constraints.max_spot_percentage"},
		"an unknown constraint":                 {post, spot, testKey, decision("spot_optimize", "max_spot_percentage", "max_spot"), 422, "INVALID_REQUEST", "constraints.max_spot"},
		"an impossible request":                 {post, spot, testKey, decision("spot_optimize", `"max_spot_percentage": 0.80`, `"max_nodes": 3`), 422, "INFEASIBLE", ""},
		"bin-pack":                              {post, pack, testKey, binPackBody(`{"max_evictions": 2}`), 200, "", ""},
		"bin-pack, a wrong type":                {post, pack, testKey, binPackBody(`{"max_evictions": "two"}`), 422, "INVALID_REQUEST", "constraints.max_evictions"},
		"bin-pack of what it cannot":            {post, pack, testKey, decision("bin_pack", "", ""), 422, "INVALID_REQUEST", "requirements.cpu_required"},
		"bin-pack, no such types":               {post, pack, testKey, binPackBody(`{"instance_types": ["m99.*"]}`), 422, "INFEASIBLE", "constraints.instance_types[0]"},
		"rightsize":                             {post, rightsize, testKey, sizing("rightsize", usageBody), 200, "", ""},
		"schedule":                              {post, schedule, testKey, sizing("schedule", usageBody), 200, "", ""},
		"bin-pack without a key":                {post, pack, "", decision("bin_pack", "", ""), 401, "UNAUTHENTICATED", ""},
		"spot-interruption":                     {post, "/api/v1/ml/predict/spot-interruption", testKey, `{"instance_type": "m5.large", "region": "us-east-1"}`, 200, "", ""},
		"spot-interruption of what?":            {post, "/api/v1/ml/predict/spot-interruption", testKey, `{"region": "us-east-1"}`, 422, "INVALID_REQUEST", "instance_type"},
		"fill-gaps":                             {post, "/api/v1/ml/data/fill-gaps", testKey, `{"model_training_date": "2025-11-28T00:00:00Z", "lookback_days": 30}`, 503, "UNAVAILABLE", ""},
		"fill-gaps without a key":               {post, "/api/v1/ml/data/fill-gaps", "", `{"model_training_date": "2025-11-28T00:00:00Z", "lookback_days": 30}`, 401, "UNAUTHENTICATED", ""},
		"fill-gaps of ten years":                {post, "/api/v1/ml/data/fill-gaps", testKey, `{"model_training_date": "2025-11-28T00:00:00Z", "lookback_days": 3650}`, 422, "INVALID_REQUEST", "lookback_days"},
		"fill-gaps until never":                 {post, "/api/v1/ml/data/fill-gaps", testKey, `{"lookback_days": 30}`, 422, "INVALID_REQUEST", "model_training_date"},
		"fill-gaps of no days":                  {post, "/api/v1/ml/data/fill-gaps", testKey, `{"model_training_date": "2025-11-28T00:00:00Z"}`, 422, "INVALID_REQUEST", "lookback_days"},
		"health needs no key":                   {get, "/api/v1/ml/health", "", "", 200, "", ""},
		"health with a body":                    {get, "/api/v1/ml/health", testKey, "", 200, "", ""},
		"an unknown path":                       {get, "/api/v1/ml/nothing", testKey, "", 404, "NOT_FOUND", ""},
		"a path by another method":              {get, spot, testKey, "", 404, "NOT_FOUND", ""},
		"spot-interruption, all":                {post, "/api/v1/ml/predict/spot-interruption", testKey, `{"instance_type": "m5.large", "region": "us-east-1", "availability_zone": "us-east-1a", "uptime_minutes": 0, "horizon_minutes": 15, "price": 0.04, "activity": [{"hours": 24, "interruptions": 1, "instance_hours": 48, "launch_attempts": 3, "launch_failures": 1}]}`, 200, "", ""},
		"spot-interruption, no key":             {post, "/api/v1/ml/predict/spot-interruption", "", `{"instance_type": "m5.large", "region": "us-east-1"}`, 401, "UNAUTHENTICATED", ""},
		"spot-interruption too far":             {post, "/api/v1/ml/predict/spot-interruption", testKey, `{"instance_type": "m5.large", "region": "us-east-1", "horizon_minutes": 99999}`, 422, "INVALID_REQUEST", "horizon_minutes"},
		"spot-interruption of a zone elsewhere": {post, "/api/v1/ml/predict/spot-interruption", testKey, `{"instance_type": "m5.large", "region": "us-east-1", "availability_zone": "eu-west-1a"}`, 422, "INVALID_REQUEST", "availability_zone"},
		"rightsize without usage":               {post, rightsize, testKey, sizing("rightsize", ""), 422, "INVALID_REQUEST", "usage"},
		"rightsize of half an hour":             {post, rightsize, testKey, sizing("rightsize", strings.Replace(usageBody, "10:00:00Z", "10:30:00Z", 1)), 422, "INVALID_REQUEST", "usage[0].hours[0].start"},
		"rightsize by a spot's wish":            {post, rightsize, testKey, decision("rightsize", "", ""), 422, "INVALID_REQUEST", "requirements.cpu_required"},
		"schedule of nothing":                   {post, schedule, testKey, sizing("schedule", ""), 422, "INVALID_REQUEST", "requirements.calendar"},
		"schedule, asked for sizes":             {post, schedule, testKey, sizing("rightsize", usageBody), 422, "INVALID_REQUEST", "decision_type"},
	} {
		t.Run(name, func(t *testing.T) {
			code, answer := call(t, front, c.method, c.path, c.key, c.body)
			if code != c.status {
				t.Fatalf("status %d, want %d: %v", code, c.status, answer)
			}
			if c.code != "" {
				requireErrorBody(t, answer, c.code, c.field)
			}
		})
	}
}

func call(t *testing.T, front *httptest.Server, method, path, key, body string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, front.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := front.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	answer := map[string]any{}
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatalf("status %d, not JSON: %s", resp.StatusCode, text)
	}
	return resp.StatusCode, answer
}

func requireErrorBody(t *testing.T, answer map[string]any, code, field string) {
	t.Helper()
	body, _ := answer["error"].(map[string]any)
	details, _ := body["details"].(map[string]any)
	for _, name := range []string{"code", "message", "details", "request_id", "timestamp"} {
		if body[name] == nil || body[name] == "" {
			t.Errorf("the error has no %s: %v", name, answer)
		}
	}
	if body["code"] != code || field != "" && details["field"] != field {
		t.Errorf("error %v, want code %s and field %q", body, code, field)
	}
}

func TestADecisionHasTheDocumentedFields(t *testing.T) {
	front := httptest.NewServer(testServer(t).http)
	defer front.Close()
	_, answer := call(t, front, http.MethodPost, "/api/v1/ml/decision/spot-optimize", testKey, decision("spot_optimize", "", ""))
	for _, field := range []string{
		"request_id", "timestamp", "decision_type", "recommendations", "confidence_score", "estimated_savings",
		"risk_assessment", "execution_plan", "metadata",
	} {
		if answer[field] == nil {
			t.Errorf("the decision has no %s", field)
		}
	}
	if answer["request_id"] != "req-12345" || answer["decision_type"] != "spot_optimize" {
		t.Errorf("request %v, type %v", answer["request_id"], answer["decision_type"])
	}
	first, _ := answer["recommendations"].([]any)[0].(map[string]any)
	for _, field := range []string{"instance_type", "node_count", "risk_score", "hourly_price", "monthly_savings"} {
		if first[field] == nil {
			t.Errorf("the recommendation has no %s", field)
		}
	}
	step, _ := answer["execution_plan"].([]any)[0].(map[string]any)
	if step["step"] != 1.0 || !strings.HasPrefix(step["action"].(string), "launch_") || step["parameters"] == nil {
		t.Errorf("first step %v", step)
	}
	if metadata := answer["metadata"].(map[string]any); metadata["seed"] != 7.0 {
		t.Errorf("the request's metadata is not returned: %v", metadata)
	}
}

func TestHealthAndOpenAPIAndMetricsAreServed(t *testing.T) {
	front := httptest.NewServer(testServer(t).http)
	defer front.Close()
	if _, answer := call(t, front, http.MethodGet, "/api/v1/ml/health", "", ""); answer["status"] != "degraded" || answer["models_loaded"] != false {
		t.Errorf("health %v", answer)
	}
	_, doc := call(t, front, http.MethodGet, "/openapi.json", "", "")
	paths, _ := doc["paths"].(map[string]any)
	if paths["/api/v1/ml/decision/spot-optimize"] == nil {
		t.Error("the OpenAPI description lacks spot-optimize")
	}
	for _, path := range []string{"/healthz", "/metrics"} {
		resp, err := front.Client().Get(front.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
}

func TestGRPCDeniesByDefaultAndServesHealth(t *testing.T) {
	srv := testServer(t)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = srv.rpc.Server.Serve(lis) }()
	for name, c := range map[string]struct {
		key  string
		want codes.Code
	}{"with the key": {testKey, codes.OK}, "without": {"", codes.Unauthenticated}} {
		t.Run(name, func(t *testing.T) {
			conn, err := rpc.Dial(lis.Addr().String(), rpc.DialConfig{APIKey: c.key})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_, err = mlv1.NewMarketServiceClient(conn).ListPrices(t.Context(), &mlv1.ListPricesRequest{Region: "us-east-1"})
			if status.Code(err) != c.want {
				t.Errorf("ListPrices: %v, want %s", err, c.want)
			}
			if _, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil {
				t.Errorf("health: %v", err)
			}
		})
	}
}

func TestSettingsWithoutAGoodKeyAreRefused(t *testing.T) {
	t.Setenv(keyVariable, "")
	for name, c := range map[string]struct {
		keys []string
		ok   bool
	}{"none": {nil, false}, "a short one": {[]string{"short"}, false}, "a good one": {[]string{testKey}, true}} {
		var s settings
		s.Auth.APIKeys = c.keys
		if err := s.Validate(); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Setenv(keyVariable, testKey)
	if err := new(settings).Validate(); err != nil {
		t.Errorf("a key from the environment: %v", err)
	}
}
