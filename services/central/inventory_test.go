package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const clusterPath = "/api/v1/admin/clusters/{cluster}"

// populate reports five nodes with a pod and an event each.
func (h *house) populate(t *testing.T) {
	t.Helper()
	cluster := uuid.MustParse(h.cluster)
	all := store.Fleet{Complete: true}
	var events []*fleetv1.Event
	for i := range 5 {
		name := fmt.Sprintf("n%d", i)
		all.Nodes = append(all.Nodes, &fleetv1.NodeMetric{
			NodeName: name, InstanceId: "i-" + name, InstanceType: "m5.large", AvailabilityZone: "us-east-1a", NodeType: "spot", Ready: true,
			CpuAllocatable: 2, MemoryAllocatableGb: 8,
		})
		all.Pods = append(all.Pods, &fleetv1.Pod{
			Uid: "u" + name, Namespace: "web", Name: "p" + name, NodeName: name, Phase: "Running", Requests: &fleetv1.Resources{CpuMillicores: 1000},
		})
		events = append(events, &fleetv1.Event{
			EventId: name, Type: "Normal", Reason: "r", ObjectKind: "Node", ObjectName: name, LastSeen: timestamppb.Now(),
		})
	}
	if err := h.store.PutReport(t.Context(), cluster, all); err != nil {
		t.Fatal(err)
	}
	if _, err := h.store.AddEvents(t.Context(), cluster, events); err != nil {
		t.Fatal(err)
	}
}

func TestTheInventoryIsAnsweredAndRefusedAsItsContractSays(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited)
	h.populate(t)
	_, viewer := h.newKey(t, "viewer")
	_, operator := h.newKey(t, "operator")
	_, stranger := h.newCustomer(t, "Other Inc.", "ops@example.org")
	h.visit(t, h.fill(), []request{
		{
			"a cluster", "GET", clusterPath, viewer, ``, 200,
			`{"cluster": {"cluster_id": "{cluster}", "cluster_name": "prod", "status": "active", "node_count": 5},
			"launch": {"launch_template_id": "lt-0123456789abcdef0", "subnet_ids": {"us-east-1a": "subnet-1"}},
			"connected": true, "connected_to": "", "state_age_seconds": "<number>", "etag": "<string>", "disconnected_at": null}`,
		},
		{
			"a cluster renamed", "PUT", clusterPath, h.admin, `{"cluster_name": "renamed", "launch": {"launch_template_id": "lt-1", "subnet_ids": {"us-east-1b": "subnet-2"}}, "etag": "1"}`, 200,
			`{"cluster": {"cluster_name": "renamed"}, "launch": {"launch_template_id": "lt-1", "subnet_ids": {"us-east-1b": "subnet-2"}}, "etag": "2"}`,
		},
		{"pods", "GET", clusterPath + "/pods?node_name=n3", viewer, ``, 200, `[{"name": "pn3", "namespace": "web", "node_name": "n3"}]`},
		{"events", "GET", clusterPath + "/events?object_name=n1", viewer, ``, 200, `[{"event_id": "n1", "object_name": "n1"}]`},
		{
			"a node", "GET", clusterPath + "/nodes?search=n2", viewer, ``, 200,
			`[{"node": {"node_name": "n2", "pod_count": 1, "cpu_allocated": 1}, "requested_ratio": 0.5, "state": "active", "acted_on_by": ""}]`,
		},
		{"pools", "GET", "/api/v1/admin/spot-pools", viewer, ``, 200, `[{"region": "us-east-1", "availability_zone": "us-east-1a", "instance_type": "m5.large", "nodes": 5}]`},
		{
			"reliability", "GET", "/api/v1/admin/spot/reliability?cluster_id={cluster}", viewer, ``, 200,
			`{"bins": "<list>", "predictions": 0, "interruptions": 0, "brier": 0, "expected_calibration_error": 0}`,
		},
		{
			"how to install", "GET", clusterPath + "/install", viewer, ``, 200,
			`{"helm_command": "<string>", "helm_values": "<string>", "cloudformation_url": "", "external_id": "<string>", "central_address": "127.0.0.1:0"}`,
		},
		{"a new key", "POST", clusterPath + "/rotate-key", h.admin, `{"overlap_minutes": 60}`, 201, `{"agent_api_key": "<key>", "others_end_at": "<time>"}`},
	})
	other := uuid.NewString()
	var refusals []refusal
	for _, path := range []string{clusterPath, clusterPath + "/install", clusterPath + "/nodes", clusterPath + "/pods", clusterPath + "/events"} {
		refusals = append(refusals, refusal{"another's " + path, "GET", path, stranger, ``, 404, "NOT_FOUND", ""},
			refusal{"none at " + path, "GET", strings.ReplaceAll(path, "{cluster}", other), h.platform, ``, 404, "NOT_FOUND", ""},
			refusal{"no id at " + path, "GET", strings.ReplaceAll(path, "{cluster}", "x"), h.admin, ``, 422, "INVALID_REQUEST", `{"field": "cluster_id"}`},
			refusal{"an agent at " + path, "GET", path, h.agent, ``, 403, "PERMISSION_DENIED", ""})
	}
	for _, path := range []string{"/api/v1/admin/spot-pools", "/api/v1/admin/spot/reliability"} {
		refusals = append(refusals, refusal{"another's " + path, "GET", path + "?cluster_id={cluster}", stranger, ``, 404, "NOT_FOUND", ""},
			refusal{"an agent at " + path, "GET", path, h.agent, ``, 403, "PERMISSION_DENIED", ""},
			refusal{"no id at " + path, "GET", path + "?cluster_id=x", h.admin, ``, 422, "INVALID_REQUEST", `{"field": "cluster_id"}`})
	}
	for path, body := range map[string]string{clusterPath: `{"cluster_name": "y"}`, clusterPath + "/disconnect": `{}`, clusterPath + "/rotate-key": `{}`} {
		method := "POST"
		if path == clusterPath {
			method = "PUT"
		}
		refusals = append(refusals, refusal{"another's " + path, method, path, stranger, body, 404, "NOT_FOUND", ""},
			refusal{"an operator at " + path, method, path, operator, body, 403, "PERMISSION_DENIED", ""},
			refusal{"none at " + path, method, strings.ReplaceAll(path, "{cluster}", other), h.platform, body, 404, "NOT_FOUND", ""},
			refusal{"no id at " + path, method, strings.ReplaceAll(path, "{cluster}", "x"), h.admin, body, 422, "INVALID_REQUEST", `{"field": "cluster_id"}`})
	}
	h.refuse(t, append(refusals,
		refusal{"an old etag", "PUT", clusterPath, h.admin, `{"cluster_name": "z", "etag": "1"}`, 409, "CONFLICT", ""},
		refusal{"no name", "PUT", clusterPath, h.admin, `{"cluster_name": ""}`, 422, "INVALID_REQUEST", `{"field": "cluster_name"}`},
		refusal{"no template", "PUT", clusterPath, h.admin, `{"cluster_name": "z", "launch": {"launch_template_id": "x", "subnet_ids": {"us-east-1a": "subnet-1"}}}`, 422, "INVALID_REQUEST", `{"field": "launch.launch_template_id"}`},
		refusal{"no subnets", "PUT", clusterPath, h.admin, `{"cluster_name": "z", "launch": {"launch_template_id": "lt-1"}}`, 422, "INVALID_REQUEST", `{"field": "launch.subnet_ids"}`},
		refusal{"another region's zone", "PUT", clusterPath, h.admin, `{"cluster_name": "z", "launch": {"launch_template_id": "lt-1", "subnet_ids": {"eu-west-1a": "subnet-1"}}}`, 422, "INVALID_REQUEST", `{"field": "launch.subnet_ids"}`},
		refusal{"an unknown order", "GET", clusterPath + "/nodes?order_by=age", h.admin, ``, 422, "INVALID_REQUEST", `{"field": "order_by"}`},
		refusal{"too long a page", "GET", clusterPath + "/nodes?page_size=1001", h.admin, ``, 422, "INVALID_REQUEST", `{"field": "page_size"}`},
		refusal{"a token of nowhere", "GET", clusterPath + "/pods?page_token=x", h.admin, ``, 422, "INVALID_REQUEST", `{"field": "page_token"}`},
		refusal{"an unknown kind", "GET", clusterPath + "/nodes?node_type=reserved", h.admin, ``, 422, "INVALID_REQUEST", `{"field": "node_type"}`},
		refusal{"an unknown type", "GET", clusterPath + "/events?type=Error", h.admin, ``, 422, "INVALID_REQUEST", `{"field": "type"}`},
		refusal{"too long an overlap", "POST", clusterPath + "/rotate-key", h.admin, `{"overlap_minutes": 10081}`, 422, "INVALID_REQUEST", `{"field": "overlap_minutes"}`},
		refusal{"too many days", "GET", "/api/v1/admin/spot/reliability?days=366", h.admin, ``, 422, "INVALID_REQUEST", `{"field": "days"}`},
	))
	for action, want := range map[string]int{"cluster.update": 1, "api_key.rotate": 1, "cluster.disconnect": 0} {
		if got := h.acts(t, action); got != want {
			t.Errorf("%s is in the audit log %d times, want %d", action, got, want)
		}
	}
}

func (h *house) acts(t *testing.T, action string) int {
	t.Helper()
	var n int
	if err := h.db.Pool.QueryRow(t.Context(), "SELECT count(*) FROM audit_log WHERE action = $1", action).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAListsNextPageIsInItsHeader(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited)
	h.populate(t)
	for _, list := range []string{"/nodes", "/pods", "/events"} {
		var seen []string
		token := ""
		for {
			path := h.fill().Replace(clusterPath) + list + "?page_size=2&page_token=" + token
			got := h.call(t, "GET", path, h.admin, "")
			page, ok := parse(t, got.text).([]any)
			if got.status != 200 || !ok {
				t.Fatalf("%s: %d %s", path, got.status, got.text)
			}
			for _, one := range page {
				seen = append(seen, fmt.Sprint(one))
			}
			if token = got.header.Get("Next-Page-Token"); token == "" {
				break
			}
		}
		slices.Sort(seen)
		if len(seen) != 5 || len(slices.Compact(seen)) != 5 {
			t.Errorf("%s has %d", list, len(seen))
		}
	}
}

// connect opens an agent's stream with a key and says hello.
func (h *house) connect(t *testing.T, key string) (grpc.BidiStreamingClient[agentv1.ConnectRequest, agentv1.ConnectResponse], error) {
	t.Helper()
	conn, err := grpc.NewClient(h.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	stream, err := agentv1.NewAgentServiceClient(conn).Connect(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key))
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.Send(&agentv1.ConnectRequest{Sequence: 1, Kind: &agentv1.ConnectRequest_Hello{Hello: &agentv1.Hello{
		Protocol: 1, ClusterId: h.cluster, AgentId: "a", Version: "1.2.3", TaskTypes: []string{"drain_node"},
	}}})
	first, err := stream.Recv()
	if err == nil && first.GetWelcome() == nil {
		t.Fatalf("the first word is %v", first)
	}
	return stream, err
}

func TestADisconnectedClustersAgentStopsItsTasksAndIsHeardNoMore(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited)
	stream, err := h.connect(t, h.agent)
	if err != nil {
		t.Fatal(err)
	}
	task := uuid.NewString()
	parameters, err := structpb.NewStruct(map[string]any{"node_name": "n1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.store.AddTask(t.Context(), &fleetv1.Task{
		TaskId: task, ClusterId: h.cluster, TaskType: "drain_node", Priority: 1, Parameters: parameters, Deadline: timestamppb.New(time.Now().Add(time.Hour)),
	}); err != nil {
		t.Fatal(err)
	}
	for msg, err := stream.Recv(); msg.GetTask().GetTaskId() != task; msg, err = stream.Recv() {
		if err != nil {
			t.Fatal(err)
		}
	}
	record := h.must(t, 200, "GET", h.fill().Replace(clusterPath), h.admin, "")
	if problem := differ("cluster", parse(t, `{"agent_version": "1.2.3", "connected_to": "test", "connected": true}`), record); problem != "" {
		t.Error(problem)
	}

	h.visit(t, h.fill(), []request{
		{"disconnected", "POST", clusterPath + "/disconnect", h.admin, `{"reason": "sold"}`, 200, `{"cluster": {"status": "disconnected"}, "connected": false, "disconnected_at": "<time>", "etag": "2"}`},
	})
	stopped := false
	for err == nil {
		var msg *agentv1.ConnectResponse
		msg, err = stream.Recv()
		stopped = stopped || msg.GetTaskCancel().GetTaskId() == task
	}
	if !stopped {
		t.Error("the agent was not told to stop its drain")
	}
	if code := status.Code(err); code != codes.Unauthenticated && code != codes.Aborted && code != codes.FailedPrecondition {
		t.Errorf("the stream ended with %v", err)
	}
	if _, err := h.connect(t, h.agent); status.Code(err) != codes.Unauthenticated {
		t.Errorf("the agent comes back with %v", err)
	}
	h.refuse(t, []refusal{
		{"a report", "POST", "/api/v1/client/metrics", h.agent, metricsBody, 401, "UNAUTHENTICATED", ""},
		{"an optimization", "POST", "/api/v1/admin/optimization/trigger", h.admin, triggerBody, 409, "AGENT_OFFLINE", ""},
		{"a new key", "POST", clusterPath + "/rotate-key", h.admin, `{}`, 409, "CONFLICT", ""},
		{"a new key, otherwise", "POST", "/api/v1/admin/api-keys", h.admin, `{"scope": "agent", "cluster_id": "{cluster}"}`, 409, "CONFLICT", ""},
		{"a change", "PUT", clusterPath, h.admin, `{"cluster_name": "y"}`, 409, "CONFLICT", ""},
	})
	again := h.must(t, 200, "POST", h.fill().Replace(clusterPath)+"/disconnect", h.admin, `{}`) // it changes nothing, hence is no act
	if problem := differ("again", parse(t, `{"cluster": {"status": "disconnected"}, "etag": "2"}`), again); problem != "" {
		t.Error(problem)
	}
	h.visit(t, h.fill(), []request{
		{"how to remove it", "GET", clusterPath + "/install", h.admin, ``, 200, `{"helm_uninstall_command": "<string>"}`},
		{"its name again", "POST", "/api/v1/admin/clusters", h.admin, `{"cluster_name": "prod", "region": "us-east-1"}`, 201, `{"cluster": {"cluster_name": "prod"}}`},
	})
	if got := h.acts(t, "cluster.disconnect"); got != 1 {
		t.Errorf("it is in the audit log %d times", got)
	}
}

func TestAnAgentsOldKeyEndsAtOnceWithoutOverlapAndItsStreamWithIt(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited)
	stream, err := h.connect(t, h.agent)
	if err != nil {
		t.Fatal(err)
	}
	made := h.must(t, 201, "POST", h.fill().Replace(clusterPath)+"/rotate-key", h.admin, `{"overlap_minutes": 5}`).(map[string]any)
	second := made["agent_api_key"].(string)
	body := h.fill().Replace(heartbeatBody)
	for _, key := range []string{h.agent, second} {
		h.must(t, 200, "POST", "/api/v1/client/heartbeat", key, body)
	}
	made = h.must(t, 201, "POST", h.fill().Replace(clusterPath)+"/rotate-key", h.admin, `{}`).(map[string]any)
	for _, key := range []string{h.agent, second} {
		requireError(t, h.call(t, "POST", "/api/v1/client/heartbeat", key, body), 401, "UNAUTHENTICATED")
	}
	h.must(t, 200, "POST", "/api/v1/client/heartbeat", made["agent_api_key"].(string), body)
	for err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("the stream ended with %v", err)
	}
}

func TestWhereClustersConnectIsConfiguredOrWhereItListens(t *testing.T) {
	for name, c := range map[string]struct {
		grpc, public, url, address, rest string
		tls                              bool
	}{
		"where it listens":     {grpc: "127.0.0.1:8443", address: "127.0.0.1:8443", rest: "http://127.0.0.1:8080"},
		"behind TLS":           {grpc: ":8443", public: "c.example.com:443", url: "https://c.example.com/", address: "c.example.com:443", rest: "https://c.example.com", tls: true},
		"in a trusted place":   {grpc: ":8443", public: "central:8443", url: "http://central:8080", address: "central:8443", rest: "http://central:8080"},
		"only the gRPC's name": {grpc: ":8443", public: "c:443", address: "c:443", rest: "http://127.0.0.1:8080", tls: true},
	} {
		cfg := &settings{}
		cfg.Central.GRPCAddress, cfg.Central.HTTPAddress, cfg.Central.PublicGRPCAddress, cfg.Central.PublicURL = c.grpc, "127.0.0.1:8080", c.public, c.url
		got := cfg.install()
		if got.Address != c.address || got.URL != c.rest || got.TLS != c.tls {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := reachable("0.0.0.0:8443"); strings.HasPrefix(got, "0.0.0.0") || !strings.HasSuffix(got, ":8443") {
		t.Errorf("all interfaces are called %s", got)
	}
	for _, bad := range []string{"https://x:443", "x", "x,y:1"} {
		cfg := &settings{}
		cfg.Central.PublicGRPCAddress, cfg.ML.APIKey = bad, "k"
		if err := cfg.Validate(); err == nil {
			t.Errorf("%q is taken as an address", bad)
		}
	}
}
