package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
)

// Schedule says that web/api sleeps and that nothing is known of web/gone.
func (m *ml) Schedule(_ context.Context, req *mlv1.ScheduleRequest) (*mlv1.ScheduleResponse, error) {
	return &mlv1.ScheduleResponse{Decision: &mlv1.DecisionResponse{
		RequestId: req.GetRequest().GetRequestId(), DecisionType: "schedule", WorkloadVerdicts: []*mlv1.WorkloadVerdict{
			{Namespace: "web", Kind: "Deployment", Name: "api", Verdict: "sleep", Reason: "calendar"},
			{Namespace: "kube-system", Kind: "DaemonSet", Name: "proxy", Verdict: "keep", Reason: "not_scalable", Detail: "DaemonSet"},
		},
	}}, nil
}

func TestSchedulesOverREST(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited)
	const all = "/api/v1/admin/schedules"
	body := `{"cluster_id": "` + h.cluster + `", "name": "nights", "enabled": true, "lead_minutes": 15,
		"calendar": {"time_zone": "Europe/Berlin", "open": [{"days": ["mon-fri"], "from": "08:00", "to": "20:00"}]}}`
	made := h.must(t, 201, "POST", all, h.admin, body).(map[string]any)
	if problem := differ("schedule", parse(t, `{"schedule_id": "<uuid>", "name": "nights", "enabled": true, "lead_minutes": 15, "etag": "<string>",
		"state": "<string>", "next": "<list>", "workloads_asleep": 0, "created_at": "<time>", "updated_by": "<string>"}`), made); problem != "" {
		t.Fatal(problem)
	}
	id, etag := made["schedule_id"].(string), made["etag"].(string)
	if next := made["next"].([]any); len(next) != 5 {
		t.Fatalf("next %v", next)
	}
	_, stranger := h.newCustomer(t, "Other", "other@example.com")
	_, viewer := h.newKey(t, "viewer")
	one := all + "/" + id
	version := func(etag, change string) string {
		return strings.Replace(body, `"name"`, `"etag": "`+etag+`", `+change+`"name"`, 1)
	}
	soon := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for _, c := range []struct {
		what, method, path, key, body string
		status                        int
		says                          string
	}{
		{"the same name again", "POST", all, h.admin, body, 409, ""},
		{"a zone that is not", "POST", all, h.admin, strings.Replace(body, "Europe/Berlin", "Europe/Nowhere", 1), 422, "schedule.calendar.time_zone"},
		{"a time that is not", "POST", all, h.admin, strings.Replace(body, "20:00", "25:00", 1), 422, "open[0].to"},
		{"no calendar", "POST", all, h.admin, `{"cluster_id": "` + h.cluster + `", "name": "x"}`, 422, "calendar"},
		{"by a viewer", "POST", all, viewer, body, 403, ""},
		{"of another's cluster", "POST", all, stranger, body, 404, ""},
		{"another's list", "GET", all, stranger, "", 200, "[]"},
		{"the list", "GET", all + "?cluster_id=" + h.cluster, viewer, "", 200, id},
		{"another's update", "PUT", one, stranger, version(etag, ""), 404, ""},
		{"an old version", "PUT", one, h.admin, version("00000000-0000-0000-0000-000000000000", ""), 409, etag},
		{"an update", "PUT", one, h.admin, version(etag, `"wake_order": [{"workloads": ["web/db"]}], `), 200, "web/db"},
		{"too long a wake", "POST", one + "/wake", h.admin, `{"until": "` + time.Now().Add(15*24*time.Hour).UTC().Format(time.RFC3339) + `"}`, 422, "until"},
		{"a wake", "POST", one + "/wake", h.admin, `{"until": "` + soon + `", "reason": "release"}`, 200, `"wake_until"`},
		{"another's wake", "POST", one + "/wake", stranger, `{"until": "` + soon + `"}`, 404, ""},
		{"the runs", "GET", one + "/runs", viewer, "", 200, "["},
		{"another's runs", "GET", one + "/runs", stranger, "", 404, ""},
		{"a preview", "POST", all + "/preview", viewer, body, 200, `"not_scalable"`},
		{"another's preview", "POST", all + "/preview", stranger, body, 404, ""},
		{"another's delete", "DELETE", one, stranger, "", 404, ""},
		{"a delete", "DELETE", one, h.admin, "", 200, "{}"},
		{"a delete again", "DELETE", one, h.admin, "", 200, "{}"},
		{"a wake of what is gone", "POST", one + "/wake", h.admin, `{"until": "` + soon + `"}`, 404, ""},
		{"the list without it", "GET", all, h.admin, "", 200, "[]"},
	} {
		got := h.call(t, c.method, c.path, c.key, c.body)
		if got.status != c.status || !strings.Contains(got.text, c.says) {
			t.Errorf("%s: %d %s, want %d with %q", c.what, got.status, got.text, c.status, c.says)
		}
	}
	var entries []string
	rows, err := h.db.Pool.Query(t.Context(), "SELECT action FROM audit_log WHERE subject = $1 AND actor <> 'schedule_service' ORDER BY audit_id", id)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var action string
		if err := rows.Scan(&action); err != nil {
			t.Fatal(err)
		}
		entries = append(entries, action)
	}
	if said, _ := json.Marshal(entries); string(said) != `["schedule.create","schedule.update","schedule.wake_until","schedule.delete"]` {
		t.Errorf("audit %s", said)
	}
}
