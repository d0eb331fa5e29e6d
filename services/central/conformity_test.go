package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// unlimited is a rate that no test reaches.
const unlimited = 100_000

// The guide's Core Models, field by field, as an agent that knows no more would send them.
const (
	metricsBody = `{
		"cluster_id": "{cluster}", "timestamp": "{now}",
		"total_nodes": 1, "spot_nodes": 0, "on_demand_nodes": 1, "total_cpu": 4.0, "total_memory_gb": 16.0,
		"allocated_cpu": 1.5, "allocated_memory_gb": 3.25, "total_pods": 3,
		"nodes": [{
			"node_name": "ip-10-0-1-23", "instance_type": "m5.xlarge", "instance_id": "i-1234abcd", "availability_zone": "us-east-1a",
			"node_type": "on-demand", "cpu_allocatable": 4.0, "memory_allocatable_gb": 16.0,
			"cpu_allocated": 1.5, "memory_allocated_gb": 3.25, "pod_count": 3
		}],
		"estimated_cost_per_hour": 0.192
	}`
	stateBody = `{
		"cluster_id": "{cluster}", "cluster_name": "prod", "region": "us-east-1",
		"total_nodes": 0, "spot_nodes": 0, "on_demand_nodes": 0,
		"total_cpu_cores": 0.0, "total_memory_gb": 0.0, "allocated_cpu_cores": 0.0, "allocated_memory_gb": 0.0,
		"total_pods": 0, "running_pods": 0, "pending_pods": 0,
		"current_cost_per_hour": 0.0, "baseline_cost_per_hour": 0.0,
		"last_updated": "2025-11-28T10:00:00Z", "health_status": "GREEN"
	}`
	decisionBody = `{
		"request_id": "req-1", "cluster_id": "{cluster}", "timestamp": "2025-11-28T10:00:00Z", "decision_type": "spot_optimize",
		"current_state": ` + stateBody + `,
		"requirements": {"cpu_required": 2.0, "memory_required": 8.0, "node_count": 10},
		"constraints": {"max_spot_percentage": 0.80}, "metadata": {"note": "x"}
	}`
	resultBody = `{
		"task_id": "{task}", "status": "success", "executed_at": "2025-11-28T10:00:00Z", "duration_seconds": 45.2,
		"logs": "drained", "error": null, "metadata": {"evicted": 12}
	}`
	// The guide's example 1, to the letter.
	guidesResult = `{"status": "success", "logs": "...", "duration_seconds": 45.2}`
	eventsBody   = `[{
		"event_id": "e-1", "cluster_id": "{cluster}", "type": "Warning", "reason": "FailedScheduling", "message": "0/1 nodes",
		"object_kind": "Pod", "object_namespace": "web", "object_name": "api-0", "count": 2, "last_seen": "{now}"
	}]`
	heartbeatBody = `{"cluster_id": "{cluster}", "status": "healthy", "timestamp": "{now}"}`
	triggerBody   = `{"cluster_id": "{cluster}", "optimization_type": "spot_optimize"}`
)

// What the guide documents of answers.
const (
	clusterAnswer = `{"cluster_id": "{cluster}", "cluster_name": "prod", "region": "us-east-1", "node_count": 1, "status": "active",
		"created_at": "<time>", "last_seen_at": "<time>", "customer_id": "<uuid>"}`
	stateAnswer = `{
		"cluster_id": "{cluster}", "cluster_name": "prod", "region": "us-east-1", "total_nodes": 1, "spot_nodes": 0, "on_demand_nodes": 1,
		"total_cpu_cores": 4, "total_memory_gb": 16, "allocated_cpu_cores": "<number>", "allocated_memory_gb": "<number>",
		"total_pods": "<number>", "running_pods": "<number>", "pending_pods": 0, "current_cost_per_hour": 0.192,
		"baseline_cost_per_hour": 0.192, "last_updated": "<time>", "health_status": "GREEN"
	}`
	decisionAnswer = `{
		"request_id": "req-1", "timestamp": "<time>", "decision_type": "spot_optimize",
		"recommendations": [
			{"instance_type": "c5.large", "node_count": 6, "risk_score": 0.1, "hourly_price": 0.03, "monthly_savings": 450},
			{"instance_type": "m5a.large", "node_count": 4, "risk_score": 0.2, "hourly_price": 0.04, "monthly_savings": 350}
		],
		"confidence_score": 0.9, "estimated_savings": 800, "risk_assessment": {},
		"execution_plan": [{"step": 1, "action": "launch_spot_instances", "parameters": {}}], "metadata": {"note": "x"}
	}`
	taskAnswer = `{
		"task_id": "{task}", "cluster_id": "{cluster}", "task_type": "drain_node",
		"parameters": {"node_name": "ip-10-0-1-23", "grace_period": 90}, "priority": 1, "deadline": "<time>",
		"created_at": "<time>", "created_by": "optimizer_service"
	}`
	optimizationAnswer = `{
		"optimization_id": "<uuid>", "cluster_id": "{cluster}", "optimization_type": "spot_optimize", "status": "pending",
		"recommendations": [], "execution_plan": [], "estimated_savings": 0, "actual_savings": 0, "created_at": "<time>",
		"executed_at": null, "completed_at": null, "error_message": ""
	}`
)

// The guide's SpotEvent, of the guide's example 2.
const spotEventAnswer = `{
	"event_id": "<uuid>", "event_type": "interruption_warning", "instance_id": "i-1234abcd", "region": "us-east-1",
	"availability_zone": "us-east-1a", "received_at": "<time>", "interruption_time": "<time>", "cluster_id": "{cluster}",
	"node_name": "ip-10-0-1-23", "action_taken": "<draining>", "state": "draining",
	"metadata": {"sources": ["imds"]},
	"foretold": {"probability": 0.125, "horizon_minutes": 1440, "said_at": "<time>", "model": "spot_advisor"}
}`

// noticeBody is what an agent without a stream reports of its node.
const noticeBody = `[{
	"event_id": "e-2", "cluster_id": "{cluster}", "type": "Warning", "reason": "SpotInterruption", "message": "terminate",
	"object_kind": "Node", "object_name": "ip-10-0-1-23", "count": 1, "last_seen": "{now}",
	"notice": {"notice_id": "n-1", "event_type": "interruption_warning", "node_name": "ip-10-0-1-23", "instance_id": "i-1234abcd",
		"action": "terminate", "remaining_seconds": 100}
}]`

func TestAnInterruptionIsDrainedListedAndToldToTheDashboards(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited)
	fill := h.fill()
	h.must(t, 200, "POST", "/api/v1/client/metrics", h.agent,
		fill.Replace(strings.Replace(metricsBody, `"estimated_cost_per_hour"`, `"complete": true, "estimated_cost_per_hour"`, 1)))
	if err := h.store.KeepPredictions(store.ForEveryone(t.Context()), []store.Prediction{{
		Node:  store.UnjudgedNode{Cluster: uuid.MustParse(h.cluster), Node: "ip-10-0-1-23", InstanceID: "i-1234abcd"},
		Known: true, Probability: 0.125, Model: "spot_advisor",
	}}); err != nil {
		t.Fatal(err)
	}
	ws := h.stream(t, "/api/v1/admin/stream", h.admin)
	until(t, ws, "type", "heartbeat")
	_, stranger := h.newCustomer(t, "Other Inc.", "ops@example.org")
	h.visit(t, fill, []request{
		{"no spot events, a bare list", "GET", "/api/v1/admin/spot-events", h.admin, "", 200, `[]`},
		{"a notice by polling", "POST", "/api/v1/client/events", h.agent, noticeBody, 200, `{"accepted": 1}`},
		{"the same again", "POST", "/api/v1/client/events", h.agent, noticeBody, 200, `{}`},
		{"spot events", "GET", "/api/v1/admin/spot-events", h.admin, "", 200, `[` + spotEventAnswer + `]`},
		{"of one cluster", "GET", "/api/v1/admin/spot-events?cluster_id={cluster}&page_size=1", h.admin, "", 200, `[` + spotEventAnswer + `]`},
		{"of the platform", "GET", "/api/v1/admin/spot-events", h.platform, "", 200, `[` + spotEventAnswer + `]`},
		{"of a stranger", "GET", "/api/v1/admin/spot-events", stranger, "", 200, `[]`},
		{"the drain", "GET", "/api/v1/client/tasks?cluster_id={cluster}", h.agent, "", 200, `[{"task_type": "drain_node", "priority": 1,
			"parameters": {"node_name": "ip-10-0-1-23", "instance_id": "i-1234abcd", "force": true}}]`},
	})
	msg := until(t, ws, "type", "spot_event")
	if problem := differ("news", parse(t, fill.Replace(`{"type": "spot_event", "status": "draining", "cluster_id": "{cluster}", "message": "<string>",
		"spot_event": {"instance_id": "i-1234abcd", "event_type": "interruption_warning", "foretold": {"probability": 0.125}}}`)), msg); problem != "" {
		t.Error(problem)
	}
}

// request is a line of the table.
type request struct {
	name, method, path, key, body string
	status                        int
	want                          string
}

// visit makes the requests in order and compares the answers.
func (h *house) visit(t *testing.T, fill *strings.Replacer, requests []request) {
	t.Helper()
	for _, r := range requests {
		t.Run(r.name, func(t *testing.T) {
			got := h.call(t, r.method, fill.Replace(r.path), r.key, fill.Replace(r.body))
			if got.status != r.status || got.header.Get("Content-Type") != "application/json" {
				t.Fatalf("%d %s, want %d: %s", got.status, got.header.Get("Content-Type"), r.status, got.text)
			}
			if got.header.Get("X-Request-Id") == "" {
				t.Error("the answer has no request id")
			}
			if problem := differ("answer", parse(t, fill.Replace(r.want)), parse(t, got.text)); problem != "" {
				t.Errorf("%s\nin %s", problem, got.text)
			}
		})
	}
}

func (h *house) fill(more ...string) *strings.Replacer {
	return strings.NewReplacer(append([]string{"{cluster}", h.cluster, "{now}", time.Now().UTC().Format(time.RFC3339)}, more...)...)
}

// addTask writes the guide's task, as the optimizer would.
func (h *house) addTask(t *testing.T) string {
	t.Helper()
	parameters, err := structpb.NewStruct(map[string]any{"node_name": "ip-10-0-1-23", "grace_period": 90})
	if err != nil {
		t.Fatal(err)
	}
	task := &fleetv1.Task{
		TaskId: uuid.NewString(), ClusterId: h.cluster, TaskType: "drain_node", Parameters: parameters, Priority: 1,
		Deadline: timestamppb.New(time.Now().Add(time.Hour)), CreatedBy: "optimizer_service",
	}
	if _, err := h.store.AddTask(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	return task.TaskId
}

func TestEveryDocumentedPathAnswersAsDocumented(t *testing.T) {
	decisions := &ml{hold: make(chan struct{})}
	h := open(t, decisions.serve(t), unlimited)
	// Nodes, pods and budgets in one report: the inventory of an agent that polls.
	complete := strings.Replace(metricsBody, `"estimated_cost_per_hour"`, `"complete": true, "estimated_cost_per_hour"`, 1)
	h.visit(t, h.fill(), []request{
		{"a documented report", "POST", "/api/v1/client/metrics", h.agent, metricsBody, 200, `{"received_at": "<time>"}`},
		{"its nodes count", "GET", "/api/v1/admin/clusters/{cluster}/state", h.admin, "", 200, `{"total_nodes": 1, "on_demand_nodes": 1}`},
		{"a complete report", "POST", "/api/v1/client/metrics", h.agent, complete, 200, `{"received_at": "<time>"}`},
		{"events, a bare list", "POST", "/api/v1/client/events", h.agent, eventsBody, 200, `{"accepted": 1}`},
		{"heartbeat", "POST", "/api/v1/client/heartbeat", h.agent, heartbeatBody, 200, `{"server_time": "<time>", "pending_tasks": 0}`},
		{"no tasks, a bare list", "GET", "/api/v1/client/tasks?cluster_id={cluster}", h.agent, "", 200, `[]`},
		{"clusters, a bare list", "GET", "/api/v1/admin/clusters", h.admin, "", 200, `[` + clusterAnswer + `]`},
		{"ml's health", "GET", "/api/v1/ml/health", h.admin, "", 200, `{"status": "healthy", "models_loaded": false, "latency_ms": "<number>"}`},
	})
	h.priced(t)
	h.visit(t, h.fill(), []request{
		{"state", "GET", "/api/v1/admin/clusters/{cluster}/state", h.admin, "", 200, stateAnswer},
		{"savings", "GET", "/api/v1/admin/savings", h.admin, "", 200, `{"current_cost_per_hour": 0.192, "baseline_cost_per_hour": 0.192,
			"savings_per_hour": 0, "savings_per_month": 0, "savings_ratio": 0, "timestamp": "<time>",
			"clusters": [{"cluster_id": "{cluster}", "cluster_name": "prod", "savings_per_hour": 0}]}`},
		{"savings of one cluster", "GET", "/api/v1/admin/savings?cluster_id={cluster}", h.admin, "", 200, `{"current_cost_per_hour": 0.192}`},
	})
	task := h.addTask(t)
	h.visit(t, h.fill("{task}", task), []request{
		{"tasks", "GET", "/api/v1/client/tasks?cluster_id={cluster}", h.agent, "", 200, `[` + taskAnswer + `]`},
		{"result", "POST", "/api/v1/client/tasks/{task}/result", h.agent, guidesResult, 200, `{"task_id": "{task}", "status": "success", "accepted": true}`},
		{"the same result", "POST", "/api/v1/client/tasks/{task}/result", h.agent, resultBody, 200, `{"task_id": "{task}", "status": "success", "accepted": false}`},
		{"no more tasks", "GET", "/api/v1/client/tasks?cluster_id={cluster}", h.agent, "", 200, `[]`},
		{"trigger", "POST", "/api/v1/admin/optimization/trigger", h.admin, triggerBody, 200, optimizationAnswer},
		{"trigger while one runs", "POST", "/api/v1/admin/optimization/trigger", h.admin, triggerBody, 409, `{"error": {"code": "OPTIMIZATION_RUNNING"}}`},
	})
	close(decisions.hold)
	h.visit(t, h.fill(), []request{
		{"a decision by proxy", "POST", "/api/v1/ml/proxy/decision", h.admin, decisionBody, 200, decisionAnswer},
	})
}

// priced waits until the nodes have prices, which is a background job's work.
func (h *house) priced(t *testing.T) {
	t.Helper()
	within(t, "the nodes have prices", func() bool {
		savings := h.must(t, 200, "GET", "/api/v1/admin/savings", h.admin, "").(map[string]any)
		return savings["current_cost_per_hour"] != 0.0
	})
}

func TestTheDashboardsStreamTellsOfAnOptimizationFromStartToEnd(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited)
	fill := h.fill()
	h.must(t, 200, "POST", "/api/v1/client/metrics", h.agent,
		fill.Replace(strings.Replace(metricsBody, `"estimated_cost_per_hour"`, `"complete": true, "estimated_cost_per_hour"`, 1)))
	all := h.stream(t, "/api/v1/admin/stream", h.admin)
	one := h.stream(t, "/api/v1/admin/stream?cluster_id="+h.cluster, h.admin)
	staff := h.stream(t, "/api/v1/admin/stream", h.platform)
	_, stranger := h.newCustomer(t, "Other Inc.", "ops@example.org")
	foreign := h.stream(t, "/api/v1/admin/stream", stranger)
	for _, ws := range []*websocket.Conn{all, one, staff, foreign} {
		until(t, ws, "type", "heartbeat")
	}
	started := h.must(t, 200, "POST", "/api/v1/admin/optimization/trigger", h.admin, fill.Replace(triggerBody)).(map[string]any)
	for name, ws := range map[string]*websocket.Conn{"all": all, "one": one, "staff": staff} {
		if msg := until(t, ws, "type", "optimization_started"); msg["optimization_id"] != started["optimization_id"] {
			t.Errorf("%s: %v", name, msg)
		}
		// This ml's plan drains nothing, so the story ends without a change: savings 0, honestly.
		want := map[string]any{"type": "optimization_complete", "savings": 0.0, "status": "success", "cluster_id": h.cluster}
		if problem := differ(name, want, until(t, ws, "type", "optimization_complete")); problem != "" {
			t.Error(problem)
		}
	}
	if history := h.must(t, 200, "GET", "/api/v1/admin/optimizations/"+started["optimization_id"].(string), h.admin, ""); true {
		if problem := differ("history", map[string]any{"status": "completed", "completed_at": "<time>"}, history); problem != "" {
			t.Error(problem)
		}
	}
	fill = h.fill("{optimization}", started["optimization_id"].(string))
	h.visit(t, fill, []request{{
		"the map of a plan that is over", "GET", "/api/v1/admin/optimizations/{optimization}/map", h.admin, "", 200,
		`{"before": [{"node_name": "ip-10-0-1-23", "fate": "stays", "requested_ratio": "<number>"}],
		"after": "<list>",
		"as_of": "<time>", "placed": false, "expected": false}`,
	}})
	h.refuse(t, []refusal{
		{"another's map", "GET", fill.Replace("/api/v1/admin/optimizations/{optimization}/map"), stranger, "", 404, "NOT_FOUND", ""},
		{"no map", "GET", "/api/v1/admin/optimizations/" + uuid.NewString() + "/map", h.admin, "", 404, "NOT_FOUND", ""},
	})
	// The next thing that the stranger hears is its own.
	made := h.must(t, 201, "POST", "/api/v1/admin/clusters", stranger, `{"cluster_name": "own", "region": "us-east-1"}`).(map[string]any)
	id := made["cluster"].(map[string]any)["cluster_id"].(string)
	h.must(t, 200, "POST", "/api/v1/client/metrics", made["agent_api_key"].(string), strings.ReplaceAll(fill.Replace(metricsBody), h.cluster, id))
	if _, frame, err := foreign.Read(t.Context()); err != nil || parse(t, string(frame)).(map[string]any)["cluster_id"] != id {
		t.Errorf("a stranger heard %s (%v)", frame, err)
	}
}

func TestTheClientsStreamCarriesTheSameTasksAsJSON(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited)
	ws := h.stream(t, "/api/v1/client/stream?cluster_id="+h.cluster, h.agent)
	say := func(frame string) {
		if err := ws.Write(t.Context(), websocket.MessageText, []byte(frame)); err != nil {
			t.Fatal(err)
		}
	}
	say(fmt.Sprintf(`{"sequence": 1, "hello": {"protocol": 1, "cluster_id": %q, "agent_id": "a", "task_types": ["drain_node"]}}`, h.cluster))
	welcome := until(t, ws, "welcome", "")["welcome"]
	if problem := differ("welcome", map[string]any{"session_id": "<uuid>", "server_id": "test", "need_inventory": true, "settings": "<object>"}, welcome); problem != "" {
		t.Error(problem)
	}
	task := h.addTask(t)
	fill := h.fill("{task}", task)
	if problem := differ("task", parse(t, fill.Replace(taskAnswer)), until(t, ws, "task", "")["task"]); problem != "" {
		t.Error(problem)
	}
	say(`{"sequence": 2, "dance": {}}`)
	if problem := differ("answer", parse(t, `{"sequence": "2", "reason": "<string>"}`), until(t, ws, "unsupported", "")["unsupported"]); problem != "" {
		t.Error(problem)
	}
	say(fmt.Sprintf(`{"sequence": 3, "task_accepted": {"task_id": %q, "attempt": 1}}`, task))
	result := strings.Replace(fill.Replace(resultBody), `"task_id"`, `"attempt": 1, "task_id"`, 1)
	say(`{"sequence": 4, "task_result": ` + result + `}`)
	if problem := differ("ack", map[string]any{"task_id": task, "accepted": true}, until(t, ws, "result_ack", "")["result_ack"]); problem != "" {
		t.Error(problem)
	}
	if problem := differ("tasks", []any{}, h.must(t, 200, "GET", "/api/v1/client/tasks?cluster_id="+h.cluster, h.agent, "")); problem != "" {
		t.Error(problem)
	}
}

// refusal is a request that is refused, and how.
type refusal struct {
	name, method, path, key, body string
	status                        int
	code                          string
	// details, as JSON; "" if they don't matter.
	details string
}

func (h *house) refuse(t *testing.T, refusals []refusal) {
	t.Helper()
	fill := h.fill()
	for _, r := range refusals {
		t.Run(fmt.Sprintf("%d: %s", r.status, r.name), func(t *testing.T) {
			got := h.call(t, r.method, fill.Replace(r.path), r.key, fill.Replace(r.body))
			requireError(t, got, r.status, r.code)
			if r.details == "" {
				return
			}
			details := parse(t, got.text).(map[string]any)["error"].(map[string]any)["details"]
			if problem := differ("details", parse(t, fill.Replace(r.details)), details); problem != "" {
				t.Error(problem)
			}
		})
	}
}

// requireError holds an answer to the documented error body, which has these fields and no others.
func requireError(t *testing.T, got answer, status int, code string) {
	t.Helper()
	var body struct {
		Error struct {
			Code      string          `json:"code"`
			Message   string          `json:"message"`
			Details   json.RawMessage `json:"details"`
			RequestID string          `json:"request_id"`
			Timestamp time.Time       `json:"timestamp"`
		} `json:"error"`
	}
	decoder := json.NewDecoder(strings.NewReader(got.text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil {
		t.Fatalf("%d %q is not the documented error body: %v", got.status, got.text, err)
	}
	e := body.Error
	if got.status != status || e.Code != code || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %s, want %d %s: %s", got.status, e.Code, status, code, got.text)
	}
	if e.Message == "" || !strings.HasPrefix(string(e.Details), "{") || e.RequestID != got.header.Get("X-Request-Id") || time.Since(e.Timestamp).Abs() > time.Minute {
		t.Errorf("the error body is not whole: %s", got.text)
	}
}

func TestEveryRefusalHasTheDocumentedStatusAndBody(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited)
	_, viewer := h.newKey(t, "viewer")
	_, stranger := h.newCustomer(t, "Other Inc.", "ops@example.org")
	task := h.addTask(t)
	const trigger, metrics, heartbeat = "/api/v1/admin/optimization/trigger", "/api/v1/client/metrics", "/api/v1/client/heartbeat"
	const proxy, state = "/api/v1/ml/proxy/decision", "/api/v1/admin/clusters/{cluster}/state"
	other := uuid.NewString()
	h.refuse(t, []refusal{
		{"not JSON", "POST", trigger, h.admin, `{"cluster_id":`, 400, "MALFORMED_REQUEST", ""},
		{"a bare word", "POST", trigger, h.admin, `optimize`, 400, "MALFORMED_REQUEST", ""},
		{"an unknown field", "POST", trigger, h.admin, `{"cluster_id": "{cluster}", "kind": 1}`, 400, "MALFORMED_REQUEST", ""},
		{"a value of another type", "POST", heartbeat, h.agent, `{"cluster_id": 5}`, 400, "MALFORMED_REQUEST", ""},
		{"a time that is none", "POST", heartbeat, h.agent, `{"cluster_id": "{cluster}", "status": "healthy", "timestamp": "now"}`, 400, "MALFORMED_REQUEST", ""},
		{"an unknown query parameter's type", "GET", "/api/v1/admin/optimizations?page_size=many", h.admin, ``, 400, "MALFORMED_REQUEST", ""},

		{"no key", "GET", "/api/v1/admin/clusters", "", ``, 401, "UNAUTHENTICATED", ""},
		{"an unknown key", "GET", "/api/v1/admin/clusters", "co_admin_nobody", ``, 401, "UNAUTHENTICATED", ""},
		{"no key at a client's path", "POST", metrics, "", metricsBody, 401, "UNAUTHENTICATED", ""},

		{"an agent at the dashboard", "GET", "/api/v1/admin/clusters", h.agent, ``, 403, "PERMISSION_DENIED", ""},
		{"an admin in an agent's clothes", "POST", metrics, h.admin, metricsBody, 403, "PERMISSION_DENIED", ""},
		{"a viewer who wants to act", "POST", trigger, viewer, triggerBody, 403, "PERMISSION_DENIED", ""},
		{"a customer who wants to make customers", "POST", "/api/v1/admin/customers", h.admin, `{"company_name": "x", "email": "x@example.com"}`, 403, "PERMISSION_DENIED", ""},
		{"an agent that asks for another cluster's tasks", "GET", "/api/v1/client/tasks?cluster_id=" + other, h.agent, ``, 403, "PERMISSION_DENIED", ""},
		{"an agent that speaks for another cluster", "POST", metrics, h.agent, strings.ReplaceAll(metricsBody, "{cluster}", other), 403, "PERMISSION_DENIED", ""},

		{"a cluster that is not there", "GET", "/api/v1/admin/clusters/" + other + "/state", h.admin, ``, 404, "NOT_FOUND", ""},
		{"another's cluster", "GET", state, stranger, ``, 404, "NOT_FOUND", ""},
		{"another's cluster's savings", "GET", "/api/v1/admin/savings?cluster_id={cluster}", stranger, ``, 404, "NOT_FOUND", ""},
		{"another's cluster's optimizations", "GET", "/api/v1/admin/optimizations?cluster_id={cluster}", stranger, ``, 404, "NOT_FOUND", ""},
		{"another's cluster's spot events", "GET", "/api/v1/admin/spot-events?cluster_id={cluster}", stranger, ``, 404, "NOT_FOUND", ""},
		{"an agent that asks for spot events", "GET", "/api/v1/admin/spot-events", h.agent, ``, 403, "PERMISSION_DENIED", ""},
		{"too long a page", "GET", "/api/v1/admin/spot-events?page_size=501", h.admin, ``, 422, "INVALID_REQUEST", `{"field": "page_size"}`},
		{"another's cluster triggered", "POST", trigger, stranger, triggerBody, 404, "NOT_FOUND", ""},
		{"a key for another's agent", "POST", "/api/v1/admin/api-keys", stranger, `{"scope": "agent", "cluster_id": "{cluster}"}`, 404, "NOT_FOUND", ""},
		{"a key for another customer", "POST", "/api/v1/admin/api-keys", stranger, `{"scope": "admin", "customer_id": "` + h.customer + `"}`, 404, "NOT_FOUND", ""},
		{"a task that is not there", "POST", "/api/v1/client/tasks/" + other + "/result", h.agent, strings.ReplaceAll(resultBody, "{task}", other), 404, "NOT_FOUND", ""},
		{"a path that is not there", "GET", "/api/v1/admin/cluster", h.admin, ``, 404, "NOT_FOUND", ""},
		{"a path with another method", "DELETE", "/api/v1/admin/clusters", h.admin, ``, 404, "NOT_FOUND", ""},

		{"a cluster's name used again", "POST", "/api/v1/admin/clusters", h.admin, `{"cluster_name": "prod", "region": "us-east-1"}`, 409, "CONFLICT", ""},
		{"a customer's address used again", "POST", "/api/v1/admin/customers", h.platform, `{"company_name": "x", "email": "ops@example.com"}`, 409, "CONFLICT", ""},
		{"an agent that never reported", "POST", trigger, h.admin, triggerBody, 409, "AGENT_OFFLINE", ""},

		{"no body", "POST", trigger, h.admin, ``, 422, "INVALID_REQUEST", `{"field": "cluster_id"}`},
		{
			"the guide's own example", "POST", trigger, h.admin, `{"cluster_id": "cluster-123", "optimization_type": "spot_optimize"}`, 422, "INVALID_REQUEST",
			`{"field": "cluster_id", "constraint": "must be valid UUID"}`,
		},
		{
			"the guide's own example in a path", "GET", "/api/v1/admin/clusters/cluster-123/state", h.admin, ``, 422, "INVALID_REQUEST",
			`{"field": "cluster_id", "constraint": "must be valid UUID"}`,
		},
		{
			"the guide's own example in a query", "GET", "/api/v1/client/tasks?cluster_id=cluster-123", h.agent, ``, 422, "INVALID_REQUEST",
			`{"field": "cluster_id", "constraint": "must be valid UUID"}`,
		},
		{
			"an engine that is none", "POST", trigger, h.admin, `{"cluster_id": "{cluster}", "optimization_type": "magic"}`, 422, "INVALID_REQUEST",
			`{"field": "optimization_type", "constraint": "<string>"}`,
		},
		{"a report without a time", "POST", metrics, h.agent, `{"cluster_id": "{cluster}"}`, 422, "INVALID_REQUEST", `{"field": "timestamp"}`},
		{
			"a report of fewer than no nodes", "POST", metrics, h.agent, strings.Replace(metricsBody, `"total_nodes": 1`, `"total_nodes": -1`, 1), 422, "INVALID_REQUEST",
			`{"field": "total_nodes"}`,
		},
		{
			"a node of no kind", "POST", metrics, h.agent, strings.Replace(metricsBody, `"node_type": "on-demand"`, `"node_type": "free"`, 1), 422, "INVALID_REQUEST",
			`{"field": "nodes[0].node_type"}`,
		},
		{
			"a status that is none", "POST", "/api/v1/client/tasks/" + task + "/result", h.agent,
			strings.ReplaceAll(strings.Replace(resultBody, "success", "done", 1), "{task}", task), 422, "INVALID_REQUEST", `{"field": "status"}`,
		},
		{
			"a result for another path", "POST", "/api/v1/client/tasks/" + task + "/result", h.agent, strings.ReplaceAll(resultBody, "{task}", other), 422, "INVALID_REQUEST",
			`{"field": "task_id"}`,
		},
		{
			"a decision of no type", "POST", proxy, h.admin, strings.Replace(decisionBody, `"spot_optimize"`, `""`, 1), 422, "INVALID_REQUEST",
			`{"field": "decision_type"}`,
		},
		{
			"a decision without a state", "POST", proxy, h.admin, `{"request_id": "r", "cluster_id": "{cluster}", "decision_type": "spot_optimize"}`, 422, "INVALID_REQUEST",
			`{"field": "current_state"}`,
		},
		{
			"what ml finds impossible", "POST", proxy, h.admin, strings.Replace(decisionBody, `"node_count": 10`, `"node_count": 5000`, 1), 422, "INFEASIBLE",
			`{"constraint": "max_nodes"}`,
		},
		{"an agent's key without a cluster", "POST", "/api/v1/admin/api-keys", h.admin, `{"scope": "agent"}`, 422, "INVALID_REQUEST", `{"field": "cluster_id"}`},
		{"a viewer's key with a cluster", "POST", "/api/v1/admin/api-keys", h.admin, `{"scope": "viewer", "cluster_id": "{cluster}"}`, 422, "INVALID_REQUEST", `{"field": "cluster_id"}`},
		{"a key that has ended already", "POST", "/api/v1/admin/api-keys", h.admin, `{"scope": "viewer", "expires_at": "2025-11-28T10:00:00Z"}`, 422, "INVALID_REQUEST", `{"field": "expires_at"}`},
		{"the platform's staff naming no customer", "POST", "/api/v1/admin/clusters", h.platform, `{"cluster_name": "x", "region": "us-east-1"}`, 422, "INVALID_REQUEST", `{"field": "customer_id"}`},

		{"gaps, and ml has no such service", "POST", "/api/v1/admin/gap-filler/analyze", h.platform, gapsBody, 501, "UNIMPLEMENTED", ""},
		{"gaps of a customer", "POST", "/api/v1/admin/gap-filler/analyze", h.admin, gapsBody, 403, "PERMISSION_DENIED", ""},
		{"a customer who wants to fill", "POST", "/api/v1/admin/gap-filler/fill", h.admin, gapsBody, 403, "PERMISSION_DENIED", ""},
		{"an agent who wants to fill", "POST", "/api/v1/admin/gap-filler/fill", h.agent, gapsBody, 403, "PERMISSION_DENIED", ""},
		{"filling without a date", "POST", "/api/v1/admin/gap-filler/fill", h.platform, `{"lookback_days": 30}`, 422, "INVALID_REQUEST", `{"field": "model_training_date"}`},
		{
			"filling ten years", "POST", "/api/v1/admin/gap-filler/fill", h.platform, strings.Replace(gapsBody, "30", "3650", 1), 422, "INVALID_REQUEST",
			`{"field": "lookback_days"}`,
		},
		{
			"gaps of a cluster that is none", "POST", "/api/v1/admin/gap-filler/analyze", h.platform, strings.Replace(gapsBody, "{", `{"cluster_id": "c", `, 1), 422,
			"INVALID_REQUEST", `{"field": "cluster_id"}`,
		},
	})
}

func TestAKeyThatIsUsedTooMuchMustWait(t *testing.T) {
	h := open(t, (&ml{}).serve(t), 60)
	_, viewer := h.newKey(t, "viewer")
	for i := range 60 {
		if got := h.call(t, "GET", "/api/v1/admin/clusters", viewer, ""); got.status != 200 {
			t.Fatalf("call %d of 60: %d", i+1, got.status)
		}
	}
	got := h.call(t, "GET", "/api/v1/admin/clusters", viewer, "")
	for got.status == 200 { // the loop's own time refills
		got = h.call(t, "GET", "/api/v1/admin/clusters", viewer, "")
	}
	requireError(t, got, http.StatusTooManyRequests, "RATE_LIMITED")
	if got.header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After is %q, want 1", got.header.Get("Retry-After"))
	}
	if got := h.call(t, "GET", "/api/v1/admin/clusters", h.admin, ""); got.status != 200 {
		t.Errorf("another key is limited too: %d", got.status)
	}
}

func TestAFailureOfOursIsLoggedWholeAndToldPlainly(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited)
	if _, err := h.db.Pool.Exec(t.Context(), "ALTER VIEW optimizations RENAME TO gone"); err != nil {
		t.Fatal(err)
	}
	got := h.call(t, "GET", "/api/v1/admin/optimizations", h.admin, "")
	requireError(t, got, http.StatusInternalServerError, "INTERNAL")
	for _, secret := range []string{"\"optimizations\"", "42P01", "SQLSTATE", "relation"} {
		if strings.Contains(got.text, secret) {
			t.Errorf("the answer tells of %s: %s", secret, got.text)
		}
	}
	if id := got.header.Get("X-Request-Id"); !strings.Contains(h.log.String(), id) || !strings.Contains(h.log.String(), "42P01") {
		t.Errorf("the log does not tell what happened to %s", id)
	}
}

func TestWhatIsAwayIsUnavailable(t *testing.T) {
	h := open(t, "127.0.0.1:1", unlimited)
	got := h.call(t, "POST", "/api/v1/ml/proxy/decision", h.admin, h.fill().Replace(decisionBody))
	requireError(t, got, http.StatusServiceUnavailable, "UNAVAILABLE")
	if strings.Contains(got.text, "127.0.0.1") {
		t.Errorf("the answer tells where ml is: %s", got.text)
	}
	health := h.must(t, 200, "GET", "/api/v1/ml/health", h.admin, "")
	if problem := differ("health", parse(t, `{"status": "unhealthy", "models_loaded": false, "latency_ms": "<number>"}`), health); problem != "" {
		t.Error(problem)
	}
}

func TestAKeyOfCentralsThatMLRefusesIsNotTheCallersFault(t *testing.T) {
	h := open(t, (&ml{key: "another"}).serve(t), unlimited)
	got := h.call(t, "POST", "/api/v1/ml/proxy/decision", h.admin, h.fill().Replace(decisionBody))
	requireError(t, got, http.StatusServiceUnavailable, "UNAVAILABLE")
}

func TestWhatIsMadeIsAnsweredWith201AndItsKeyOnce(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited)
	foreign, _ := h.newCustomer(t, "Other Inc.", "ops@example.org")
	h.visit(t, h.fill("{customer}", h.customer, "{foreign}", foreign), []request{
		{
			"a customer", "POST", "/api/v1/admin/customers", h.platform, `{"company_name": "New Inc.", "email": "new@example.com",
			"aws_role_arn": "arn:aws:iam::123456789012:role/cloudoptim", "sqs_queue_shared": true}`, 201,
			`{"customer_id": "<uuid>", "external_id": "<string>", "admin_api_key": "<key>"}`,
		},
		{
			"a cluster", "POST", "/api/v1/admin/clusters", h.admin, `{"cluster_name": "stage", "region": "eu-west-1"}`, 201,
			`{"cluster": {"cluster_id": "<uuid>", "customer_id": "{customer}", "cluster_name": "stage", "region": "eu-west-1", "status": "pending"}, "agent_api_key": "<key>"}`,
		},
		{
			"a cluster by the platform's staff", "POST", "/api/v1/admin/clusters", h.platform, `{"customer_id": "{foreign}", "cluster_name": "prod", "region": "us-east-1"}`, 201,
			`{"cluster": {"customer_id": "{foreign}"}}`,
		},
		{
			"a key", "POST", "/api/v1/admin/api-keys", h.admin, `{"scope": "operator", "description": "CI", "expires_at": "2036-01-01T00:00:00Z"}`, 201,
			`{"api_key": {"api_key_id": "<uuid>", "prefix": "<string>", "scope": "operator", "customer_id": "{customer}", "cluster_id": "", "description": "CI",
			"created_at": "<time>", "expires_at": "2036-01-01T00:00:00Z", "revoked_at": null, "last_used_at": null}, "secret": "<key>"}`,
		},
		{
			"another key for the agent", "POST", "/api/v1/admin/api-keys", h.admin, `{"scope": "agent", "cluster_id": "{cluster}"}`, 201,
			`{"api_key": {"scope": "agent", "cluster_id": "{cluster}"}, "secret": "<key>"}`,
		},
		{
			"a key that would join two customers", "POST", "/api/v1/admin/api-keys", h.platform, `{"scope": "agent", "customer_id": "{foreign}", "cluster_id": "{cluster}"}`, 404,
			`{"error": {"code": "NOT_FOUND"}}`,
		},
		{"keys of one customer", "GET", "/api/v1/admin/api-keys?customer_id={foreign}", h.platform, "", 200, `[{"scope": "agent"}, {"scope": "admin"}]`},
		{
			"clusters of the platform", "GET", "/api/v1/admin/clusters", h.platform, "", 200,
			`[{"cluster_name": "prod"}, {"cluster_name": "prod"}, {"cluster_name": "stage"}]`,
		},
		{"optimizations, a bare list", "GET", "/api/v1/admin/optimizations", h.admin, "", 200, `[]`},
	})
}

func TestDifferFindsWhatDiffers(t *testing.T) {
	for want, got := range map[string]string{
		`{"a": 1}`: `{"b": 1}`, `{"a": 2}`: `{"a": "2"}`, `[]`: `{}`, `[1]`: `[1, 2]`, `"<time>"`: `"2025-11-28 10:00:00"`, `"<uuid>"`: `"cluster-123"`,
		`{"a": {"b": "<number>"}}`: `{"a": {"b": "1"}}`, `null`: `0`, `"<list>"`: `null`, `"<object>"`: `[]`, `"<key>"`: `"co_admin_x"`,
	} {
		if differ("x", parse(t, want), parse(t, got)) == "" {
			t.Errorf("%s passes for %s", got, want)
		}
		if problem := differ("x", parse(t, got), parse(t, got)); problem != "" {
			t.Error(problem)
		}
	}
}

func TestAKeyThatIsRevokedEndsAtOnce(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited)
	id, viewer := h.newKey(t, "viewer")
	ws := h.stream(t, "/api/v1/admin/stream", viewer)
	until(t, ws, "type", "heartbeat")
	_, stranger := h.newCustomer(t, "Other Inc.", "ops@example.org")
	requireError(t, h.call(t, "DELETE", "/api/v1/admin/api-keys/"+id, stranger, ""), 404, "NOT_FOUND")
	h.must(t, 200, "GET", "/api/v1/admin/clusters", viewer, "")

	for range 2 { // repeating it changes nothing
		if got := h.must(t, 200, "DELETE", "/api/v1/admin/api-keys/"+id, h.admin, ""); differ("answer", map[string]any{}, got) != "" {
			t.Errorf("got %v", got)
		}
	}
	requireError(t, h.call(t, "GET", "/api/v1/admin/clusters", viewer, ""), 401, "UNAUTHENTICATED")
	last := until(t, ws, "type", "bye")
	if _, _, err := ws.Read(t.Context()); last["message"] != "signed_out" || websocket.CloseStatus(err) != 4401 {
		t.Errorf("the stream ended with %v, %v", last, err)
	}
	keys := h.must(t, 200, "GET", "/api/v1/admin/api-keys?include_ended=true", h.admin, "").([]any)
	for _, key := range keys {
		record := key.(map[string]any)
		if _, ok := record["secret"]; ok || strings.Contains(viewer, fmt.Sprint(record["secret_hash"])) {
			t.Errorf("a list tells a secret: %v", record)
		}
		if record["api_key_id"] == id && record["revoked_at"] == nil {
			t.Error("the list does not tell that the key has ended")
		}
	}
	if len(keys) != 3 { // admin, agent, viewer
		t.Errorf("%d keys, want 3", len(keys))
	}
	var acts int
	if err := h.db.Pool.QueryRow(t.Context(), "SELECT count(*) FROM audit_log WHERE action = 'api_key.revoke' AND subject = $1", id).Scan(&acts); err != nil || acts != 2 {
		t.Errorf("the audit log tells of %d revocations (%v), want 2", acts, err)
	}
}
