package main

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	policies, stops = "/api/v1/admin/policies", "/api/v1/admin/stops"
	effective       = "/api/v1/admin/policies/effective"
)

// same compares an answer with what is wanted, by name.
func same(t *testing.T, what, want string, got any) {
	t.Helper()
	if problem := differ(what, parse(t, want), got); problem != "" {
		t.Error(problem)
	}
}

// awaiting writes a plan that awaits approval, as a story does.
func (h *house) awaiting(t *testing.T, engine string, saves float64) (id, etag string) {
	t.Helper()
	err := h.store.InTx(t.Context(), func(tx *store.Store) error {
		made, err := tx.AddOptimization(t.Context(), store.NewOptimization{
			Cluster: uuid.MustParse(h.cluster), Request: &adminv1.TriggerOptimizationRequest{OptimizationType: engine}, Actor: "operator:1",
			Mode: "approve", Steps: []string{"state", "decide", "launch", "ready", "label", "drain", "terminate", "verify", "rollback"},
		})
		if err != nil {
			return err
		}
		id = made.GetOptimizationId()
		plan := &adminv1.PlanSummary{NodesDrained: 2, BlastRadius: "drains 2 nodes"}
		if err := tx.SetPlan(t.Context(), uuid.MustParse(id), plan, uuid.NewString(), 0.9); err != nil {
			return err
		}
		return tx.SetApproval(t.Context(), uuid.MustParse(id), "awaiting", "waits for approval", time.Hour)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.db.Pool.Exec(t.Context(), "UPDATE optimization_history SET estimated_savings = $1 WHERE optimization_id = $2", saves, id); err != nil {
		t.Fatal(err)
	}
	told := h.must(t, 200, "GET", "/api/v1/admin/optimizations/"+id, h.admin, "").(map[string]any)
	return id, told["etag"].(string)
}

// wantActs wants so many lines of an action in the audit log.
func (h *house) wantActs(t *testing.T, action string, want int) {
	t.Helper()
	var acts int
	if err := h.db.Pool.QueryRow(t.Context(), "SELECT count(*) FROM audit_log WHERE action = $1", action).Scan(&acts); err != nil || acts != want {
		t.Errorf("%d lines of %s in the audit log, %v; want %d, one for each that changed something", acts, action, err, want)
	}
}

func TestPoliciesAreSetInheritedAndTakenAway(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited)
	_, stranger := h.newCustomer(t, "Other Inc.", "ops@example.org")
	_, viewer := h.newKey(t, "viewer")
	_, operator := h.newKey(t, "operator")
	made := h.must(t, 201, "POST", "/api/v1/admin/clusters", h.admin, `{"cluster_name": "b", "region": "us-east-1", "mode": "approve"}`).(map[string]any)
	same(t, "a new cluster", `{"mode": "approve", "stopped": false}`, made["cluster"])
	other := made["cluster"].(map[string]any)["cluster_id"].(string)
	h.must(t, 200, "PUT", policies, h.admin, `{"values": {"mode": "recommend", "min_savings_ratio": 0.2}}`)
	web := h.must(t, 200, "PUT", policies, h.admin, fmt.Sprintf(`{"cluster_id": %q, "namespace": "web", "values": {"mode": "read_only"}}`, other)).(map[string]any)

	same(t, "of the customer", `{"values": {"mode": "recommend", "min_savings_ratio": 0.2, "plan_every_minutes": 60},
		"sources": {"mode": {"scope": "customer", "name": "Example Inc.", "updated_by": "<string>", "updated_at": "<time>"}, "budgets": {"scope": "default"}},
		"disruption_allowed": true, "nodes_allowed": -1, "state_age_seconds": -1}`, h.must(t, 200, "GET", effective, viewer, ""))
	same(t, "of a cluster", `{"values": {"mode": "approve", "min_savings_ratio": 0.2}, "sources": {"mode": {"scope": "cluster", "name": "b"}},
		"nodes_allowed": 1, "state_age_seconds": -1, "state_is_stale": true}`, h.must(t, 200, "GET", effective+"?cluster_id="+other, viewer, ""))
	same(t, "of a namespace", `{"values": {"mode": "read_only"}, "sources": {"mode": {"scope": "namespace", "name": "web"}}}`,
		h.must(t, 200, "GET", effective+"?cluster_id="+other+"&namespace=web", viewer, ""))

	listed := h.call(t, "GET", policies+"?page_size=2", viewer, "")
	first := parse(t, listed.text).([]any)
	if len(first) != 2 || listed.header.Get("Next-Page-Token") == "" {
		t.Fatalf("the first page: %v", listed)
	}
	rest := h.call(t, "GET", policies+"?page_size=10&page_token="+url.QueryEscape(listed.header.Get("Next-Page-Token")), viewer, "")
	if got := parse(t, rest.text).([]any); len(got) != 2 || rest.header.Get("Next-Page-Token") != "" {
		t.Errorf("the rest: %s", rest.text)
	}
	if got := h.must(t, 200, "GET", policies+"?cluster_id="+other, h.platform, "").([]any); len(got) != 2 {
		t.Errorf("of one cluster: %v", got)
	}
	if got := h.must(t, 200, "GET", policies, stranger, "").([]any); len(got) != 0 {
		t.Errorf("of another customer: %v", got)
	}

	stale := fmt.Sprintf(`{"cluster_id": %q, "namespace": "web", "etag": %q, "values": {"mode": "approve"}}`, other, web["etag"])
	h.must(t, 200, "PUT", policies, h.admin, stale)
	requireError(t, h.call(t, "PUT", policies, h.admin, stale), 409, "CONFLICT")
	gone := h.must(t, 200, "PUT", policies, h.admin, fmt.Sprintf(`{"cluster_id": %q, "namespace": "web", "values": {}}`, other)).(map[string]any)
	if gone["etag"] != "" && gone["etag"] != nil {
		t.Errorf("a policy without values: %v", gone)
	}
	for name, c := range map[string]struct {
		key, body string
		status    int
		code      string
	}{
		"a viewer":               {viewer, `{"values": {"mode": "approve"}}`, 403, "PERMISSION_DENIED"},
		"an operator":            {operator, `{"values": {"mode": "approve"}}`, 403, "PERMISSION_DENIED"},
		"an agent":               {h.agent, `{"values": {"mode": "approve"}}`, 403, "PERMISSION_DENIED"},
		"another's cluster":      {stranger, fmt.Sprintf(`{"cluster_id": %q, "values": {"mode": "approve"}}`, other), 404, "NOT_FOUND"},
		"a customer that is not": {h.platform, `{"customer_id": "11111111-1111-4111-8111-111111111111", "values": {"mode": "approve"}}`, 404, "NOT_FOUND"},
		"staff for nobody":       {h.platform, `{"values": {"mode": "approve"}}`, 422, "INVALID_REQUEST"},
		"an unknown mode":        {h.admin, `{"values": {"mode": "full_auto"}}`, 422, "INVALID_REQUEST"},
		"a namespace alone":      {h.admin, `{"namespace": "web", "values": {"mode": "approve"}}`, 422, "INVALID_REQUEST"},
		"a namespace's budget":   {h.admin, fmt.Sprintf(`{"cluster_id": %q, "namespace": "web", "values": {"budgets": {"budgets": [{"nodes": "1"}]}}}`, other), 422, "INVALID_REQUEST"},
		"a zone that is not":     {h.admin, `{"values": {"windows": {"windows": [{"effect": "deny", "during": {"time_zone": "Mars/Olympus"}}]}}}`, 422, "INVALID_REQUEST"},
		"a budget in words":      {h.admin, `{"values": {"budgets": {"budgets": [{"nodes": "some"}]}}}`, 422, "INVALID_REQUEST"},
	} {
		t.Run(name, func(t *testing.T) { requireError(t, h.call(t, "PUT", policies, c.key, c.body), c.status, c.code) })
	}
	requireError(t, h.call(t, "GET", effective+"?cluster_id="+other, stranger, ""), 404, "NOT_FOUND")
	requireError(t, h.call(t, "GET", policies+"?page_token=x", h.admin, ""), 422, "INVALID_REQUEST")
	h.wantActs(t, "policy.set", 4)
}

func TestAStopIsMadeOnceSeenAndLifted(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited)
	_, stranger := h.newCustomer(t, "Other Inc.", "ops@example.org")
	_, viewer := h.newKey(t, "viewer")
	_, operator := h.newKey(t, "operator")
	task := h.addTask(t)
	news := h.stream(t, "/api/v1/admin/stream", h.admin)
	until(t, news, "type", "heartbeat")
	body := fmt.Sprintf(`{"scope": "cluster", "cluster_id": %q, "reason": "an incident"}`, h.cluster)
	made := h.must(t, 201, "POST", stops, operator, body).(map[string]any)
	same(t, "the stop", `{"stop_id": "<uuid>", "scope": "cluster", "customer_id": "<uuid>", "reason": "an incident", "created_at": "<time>",
		"created_by": "<string>", "clusters": 1, "drains_cancelled": 1, "include_interruptions": false}`, made)
	if status, err := h.store.TaskStatus(t.Context(), uuid.MustParse(h.cluster), uuid.MustParse(task)); err != nil || status != "cancelled" {
		t.Errorf("the open drain is %s, %v", status, err)
	}
	same(t, "news", `{"type": "stop", "status": "in_force", "severity": "warning", "subject": "<uuid>", "actor": "<string>"}`, any(until(t, news, "type", "stop")))
	if again := h.must(t, 201, "POST", stops, h.admin, body).(map[string]any); again["stop_id"] != made["stop_id"] {
		t.Errorf("repeated, another stop: %v", again)
	}
	same(t, "the cluster", `[{"mode": "automatic", "stopped": true}]`, h.must(t, 200, "GET", "/api/v1/admin/clusters", viewer, ""))
	same(t, "the policy", `{"disruption_allowed": false, "denied_because": "<string>", "stops": [{"reason": "an incident"}]}`,
		h.must(t, 200, "GET", effective+"?cluster_id="+h.cluster, viewer, ""))
	all := h.must(t, 201, "POST", stops, h.platform, `{"scope": "platform", "reason": "a region is down", "include_interruptions": true}`).(map[string]any)

	for name, c := range map[string]struct {
		key, path, body string
		status          int
		code            string
	}{
		"a viewer":                     {viewer, stops, body, 403, "PERMISSION_DENIED"},
		"the platform by a customer":   {h.admin, stops, `{"scope": "platform", "reason": "r"}`, 403, "PERMISSION_DENIED"},
		"without a reason":             {operator, stops, `{"scope": "customer", "reason": ""}`, 422, "INVALID_REQUEST"},
		"an unknown scope":             {operator, stops, `{"scope": "namespace", "reason": "r"}`, 422, "INVALID_REQUEST"},
		"a cluster without its id":     {operator, stops, `{"scope": "cluster", "reason": "r"}`, 422, "INVALID_REQUEST"},
		"a customer with a cluster":    {operator, stops, fmt.Sprintf(`{"scope": "customer", "cluster_id": %q, "reason": "r"}`, h.cluster), 422, "INVALID_REQUEST"},
		"another's cluster":            {stranger, stops, body, 404, "NOT_FOUND"},
		"lifted by a viewer":           {viewer, stops + "/" + made["stop_id"].(string) + "/lift", `{}`, 403, "PERMISSION_DENIED"},
		"lifted by a stranger":         {stranger, stops + "/" + made["stop_id"].(string) + "/lift", `{}`, 404, "NOT_FOUND"},
		"the platform's by a customer": {h.admin, stops + "/" + all["stop_id"].(string) + "/lift", `{}`, 403, "PERMISSION_DENIED"},
		"one that is not":              {operator, stops + "/" + uuid.NewString() + "/lift", `{}`, 404, "NOT_FOUND"},
		"no id":                        {operator, stops + "/x/lift", `{}`, 422, "INVALID_REQUEST"},
	} {
		t.Run(name, func(t *testing.T) { requireError(t, h.call(t, "POST", c.path, c.key, c.body), c.status, c.code) })
	}

	lift := stops + "/" + made["stop_id"].(string) + "/lift"
	same(t, "lifted", `{"lifted_at": "<time>", "lifted_by": "<string>", "lift_reason": "over"}`, h.must(t, 200, "POST", lift, operator, `{"reason": "over"}`))
	same(t, "lifted again", `{"lift_reason": "over"}`, h.must(t, 200, "POST", lift, h.admin, `{"reason": "again"}`))
	for query, want := range map[string]int{"": 1, "?include_lifted=true": 2, "?cluster_id=" + h.cluster: 1, "?include_lifted=true&page_size=1": 1} {
		if got := h.must(t, 200, "GET", stops+query, viewer, "").([]any); len(got) != want {
			t.Errorf("stops%s: %v, want %d", query, got, want)
		}
	}
	page := h.call(t, "GET", stops+"?include_lifted=true&page_size=1", viewer, "")
	next := h.must(t, 200, "GET", stops+"?include_lifted=true&page_size=1&page_token="+url.QueryEscape(page.header.Get("Next-Page-Token")), viewer, "").([]any)
	same(t, "the next page", fmt.Sprintf(`[{"stop_id": %q}]`, made["stop_id"]), any(next))
	if got := h.must(t, 200, "GET", stops+"?include_lifted=true", stranger, "").([]any); len(got) != 1 {
		t.Errorf("a stranger sees %v, want the platform's alone", got)
	}
	h.wantActs(t, "stop.create", 2)
	h.wantActs(t, "stop.lift", 1)
}

func TestPlansAreDecidedUponOverREST(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited)
	_, stranger := h.newCustomer(t, "Other Inc.", "ops@example.org")
	_, viewer := h.newKey(t, "viewer")
	h.must(t, 200, "PUT", policies, h.admin, fmt.Sprintf(`{"cluster_id": %q, "values": {"mode": "approve", "engines": {}}}`, h.cluster))
	id, etag := h.awaiting(t, "spot_optimize", 100)
	at := "/api/v1/admin/optimizations/" + id + "/"
	tomorrow := time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)
	bodies := map[string]string{"approve": `{}`, "reject": `{"reason": "r"}`, "snooze": fmt.Sprintf(`{"until": %q, "reason": "r"}`, tomorrow), "cancel": `{"reason": "r"}`}
	for verb, body := range bodies {
		requireError(t, h.call(t, "POST", at+verb, viewer, body), 403, "PERMISSION_DENIED")
		requireError(t, h.call(t, "POST", at+verb, stranger, body), 404, "NOT_FOUND")
		requireError(t, h.call(t, "POST", "/api/v1/admin/optimizations/"+uuid.NewString()+"/"+verb, h.admin, body), 404, "NOT_FOUND")
		requireError(t, h.call(t, "POST", "/api/v1/admin/optimizations/x/"+verb, h.admin, body), 422, "INVALID_REQUEST")
		if verb != "approve" {
			requireError(t, h.call(t, "POST", at+verb, h.admin, `{}`), 422, "INVALID_REQUEST") // no reason
		}
		if verb != "cancel" {
			body = strings.Replace(strings.Replace(body, "{", `{"etag": "another", `, 1), ", }", "}", 1)
			requireError(t, h.call(t, "POST", at+verb, h.admin, body), 409, "CONFLICT")
		}
	}
	requireError(t, h.call(t, "POST", at+"snooze", h.admin, `{"until": "2020-01-01T00:00:00Z", "reason": "r"}`), 422, "INVALID_REQUEST")
	same(t, "snoozed", `{"status": "pending", "approval": "snoozed", "snoozed_until": "<time>", "decided_by": "<string>", "decision_reason": "r"}`,
		h.must(t, 200, "POST", at+"snooze", h.admin, fmt.Sprintf(`{"until": %q, "reason": "r", "etag": %q}`, tomorrow, etag)))
	same(t, "rejected", `{"status": "cancelled", "approval": "rejected", "completed_at": "<time>"}`, h.must(t, 200, "POST", at+"reject", h.admin, `{"reason": "no"}`))
	h.must(t, 200, "POST", at+"reject", h.admin, `{"reason": "no"}`)
	requireError(t, h.call(t, "POST", at+"approve", h.admin, `{}`), 409, "CONFLICT")

	second, _ := h.awaiting(t, "spot_optimize", 50)
	third, _ := h.awaiting(t, "bin_pack", 70)
	stop := h.must(t, 201, "POST", stops, h.admin, `{"scope": "customer", "reason": "wait"}`).(map[string]any)
	requireError(t, h.call(t, "POST", "/api/v1/admin/optimizations/"+second+"/approve", h.admin, `{}`), 409, "STOPPED")
	h.must(t, 200, "POST", stops+"/"+stop["stop_id"].(string)+"/lift", h.admin, `{}`)
	same(t, "approved", `{"approval": "approved", "decision_reason": "go"}`, h.must(t, 200, "POST", "/api/v1/admin/optimizations/"+second+"/approve", h.admin, `{"reason": "go"}`))
	requireError(t, h.call(t, "POST", "/api/v1/admin/optimizations/"+third+"/approve", h.admin, `{}`), 409, "OPTIMIZATION_RUNNING")
	h.must(t, 200, "POST", "/api/v1/admin/optimizations/"+second+"/cancel", h.admin, `{"reason": "after all not"}`)
	h.must(t, 200, "PUT", policies, h.admin, fmt.Sprintf(`{"cluster_id": %q, "values": {"mode": "read_only"}}`, h.cluster))
	requireError(t, h.call(t, "POST", "/api/v1/admin/optimizations/"+third+"/approve", h.admin, `{}`), 403, "NOT_ALLOWED_BY_POLICY")

	for action, want := range map[string]int{"approved": 1, "rejected": 1, "snoozed": 1} {
		h.wantActs(t, "optimization."+action, want)
	}

	list := "/api/v1/admin/optimizations"
	for query, want := range map[string]string{
		"?order_by=estimated_savings%20desc": id + " " + third + " " + second, "?order_by=estimated_savings": second + " " + third + " " + id,
		"": third + " " + second + " " + id, "?order_by=created_at": id + " " + second + " " + third, "?approval=awaiting": third,
		"?optimization_type=bin_pack": third, "?approval=rejected&status=cancelled": id,
	} {
		var got []string
		page := h.call(t, "GET", list+join(query, "page_size=2"), viewer, "")
		for {
			for _, one := range parse(t, page.text).([]any) {
				got = append(got, one.(map[string]any)["optimization_id"].(string))
			}
			token := page.header.Get("Next-Page-Token")
			if token == "" {
				break
			}
			page = h.call(t, "GET", list+join(query, "page_size=2&page_token="+url.QueryEscape(token)), viewer, "")
		}
		if strings.Join(got, " ") != want {
			t.Errorf("list%s: %v, want %s", query, got, want)
		}
	}
	requireError(t, h.call(t, "GET", list+"?order_by=name", viewer, ""), 422, "INVALID_REQUEST")
}

func join(query, more string) string {
	if query == "" {
		return "?" + more
	}
	return query + "&" + more
}

func TestAnEstimateIsThereSecondsAfterTheFirstInventory(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited)
	_, stranger := h.newCustomer(t, "Other Inc.", "ops@example.org")
	at := "/api/v1/admin/clusters/" + h.cluster + "/estimate"
	same(t, "at first", `{"status": "waiting_for_agent", "message": "<string>", "estimates": []}`, h.must(t, 200, "GET", at, h.admin, ""))
	requireError(t, h.call(t, "GET", at, stranger, ""), 404, "NOT_FOUND")
	requireError(t, h.call(t, "GET", "/api/v1/admin/clusters/x/estimate", h.admin, ""), 422, "INVALID_REQUEST")
	h.must(t, 200, "PUT", policies, h.admin, fmt.Sprintf(`{"cluster_id": %q, "values": {"mode": "read_only"}}`, h.cluster))
	h.must(t, 200, "POST", "/api/v1/client/metrics", h.agent,
		h.fill().Replace(strings.Replace(metricsBody, `"estimated_cost_per_hour"`, `"complete": true, "estimated_cost_per_hour"`, 1)))
	var got map[string]any
	within(t, "the estimate is ready", func() bool {
		got = h.must(t, 200, "GET", at, h.admin, "").(map[string]any)
		return got["status"] == "ready"
	})
	// This ml knows no bin_pack; what spot_optimize would save is told all the same.
	same(t, "then", `{"status": "ready", "current_cost_per_hour": 0.192, "best_savings_per_month": 800,
		"estimates": [{"optimization_type": "spot_optimize", "dry_run": true, "requested_by": "estimate", "status": "completed"}]}`, any(got))
	if listed := h.must(t, 200, "GET", "/api/v1/admin/optimizations", h.admin, "").([]any); len(listed) != 0 {
		t.Errorf("dry runs are listed unasked: %v", listed)
	}
}
