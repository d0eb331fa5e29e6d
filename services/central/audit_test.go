package main

import (
	"bytes"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/cloudoptim/cloudoptim/db"
	"github.com/cloudoptim/cloudoptim/pkg/pgembed"

	"github.com/cloudoptim/cloudoptim/services/central/internal/audit"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// unaudited are calls that change something, or look as if they did, and leave no line in the audit log.
var unaudited = map[string]string{
	"POST /api/v1/client/metrics":                 "an agent's report is what it sees, not an act",
	"POST /api/v1/client/events":                  "likewise; an interruption that follows from it is audited as such",
	"POST /api/v1/client/heartbeat":               "likewise",
	"POST /api/v1/ml/proxy/decision":              "asks ml, and changes nothing",
	"POST /api/v1/admin/gap-filler/analyze":       "looks for gaps, and fills none; the run itself is a row of gap_runs",
	"POST /api/v1/client/tasks/{id}/result":       "the first result is audited, the same again changes nothing",
	"POST /api/v1/admin/clusters/{id}/disconnect": "the first is audited, again it changes nothing: inventory_test.go counts the line",
	"PUT /api/v1/admin/clusters/{id}":             "a change is audited, the same again changes nothing: inventory_test.go counts the lines",
	"POST /api/v1/admin/models/upload":            "the first upload is audited, the same bytes again change nothing",
	"POST /api/v1/admin/models/{id}/promote":      "the first is audited, what is live already stays so: models_test.go has the lines one by one",
	"POST /api/v1/admin/models/{id}/retire":       "likewise",
	"DELETE /api/v1/admin/members/{id}":           "the first is audited, again changes nothing: people_test.go counts the lines",
	"POST /api/v1/admin/schedules/preview":        "says what a schedule would do, and does nothing",
	"DELETE /api/v1/admin/schedules/{id}":         "the first is audited, the same again changes nothing: schedules_test.go has the lines one by one",
	// The first is audited, the same again changes nothing: guard_test.go counts the lines.
	"POST /api/v1/admin/stops":                      "the stop in force is answered",
	"POST /api/v1/admin/stops/{id}/lift":            "it is lifted already",
	"POST /api/v1/admin/optimizations/{id}/approve": "it is approved already",
	"POST /api/v1/admin/optimizations/{id}/reject":  "it is rejected already",
	"POST /api/v1/admin/optimizations/{id}/cancel":  "it is being cancelled already",
}

// wantAudited wants a line in the audit log for every call through REST that changed something, whichever test
// makes it: it is found by the request's id.
func (h *house) wantAudited(t *testing.T, req *http.Request, resp *http.Response) {
	t.Helper()
	if req.Method == http.MethodGet || resp.StatusCode >= 300 {
		return
	}
	call := req.Method + " " + inPath.ReplaceAllString(req.URL.Path, "/{id}$2")
	if unaudited[call] != "" {
		return
	}
	if h.lines(t, resp.Header.Get("X-Request-Id")) == 0 {
		t.Errorf("%s went through and left no line in the audit log", call)
	}
}

// inPath is an id or a version in a path.
var inPath = regexp.MustCompile(`/([0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{16})(/|$)`)

// lines of the audit log that a request caused.
func (h *house) lines(t *testing.T, request string) (n int) {
	t.Helper()
	if err := h.db.Pool.QueryRow(t.Context(), "SELECT count(*) FROM audit_log WHERE request_id = $1", request).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Every exception is a call of the contract: one that is gone must not hide another of its name.
func TestTheExceptionsFromAuditingAreCallsOfTheContract(t *testing.T) {
	paths := map[string]bool{}
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for k := range methods.Len() {
				rule, _ := proto.GetExtension(methods.Get(k).Options(), annotations.E_Http).(*annotations.HttpRule)
				for verb, path := range map[string]string{"POST": rule.GetPost(), "PUT": rule.GetPut(), "DELETE": rule.GetDelete(), "PATCH": rule.GetPatch()} {
					paths[verb+" "+regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(path, "{id}")] = path != ""
				}
			}
		}
		return true
	})
	for call := range unaudited {
		if !paths[call] {
			t.Errorf("%s is no call of the contract", call)
		}
	}
}

func TestWhatPeopleDoIsListedWithItsRequestAndOnlyToThem(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited)
	id, _ := h.newKey(t, "viewer")
	h.must(t, 200, "DELETE", "/api/v1/admin/api-keys/"+id, h.platform, "")
	stranger, strangerKey := h.newCustomer(t, "Other Inc.", "ops@example.org")
	list := func(query, key string) []map[string]any {
		t.Helper()
		var out []map[string]any
		for _, e := range h.must(t, 200, "GET", "/api/v1/admin/audit"+query, key, "").([]any) {
			out = append(out, e.(map[string]any))
		}
		return out
	}
	actions := func(entries []map[string]any) (out []string) {
		for _, e := range entries {
			out = append(out, e["action"].(string))
		}
		return out
	}
	want := []string{"api_key.revoke", "api_key.create", "cluster.create", "customer.create"}
	if got := actions(list("", h.admin)); !slices.Equal(got, want) {
		t.Errorf("the customer sees %v, want %v", got, want)
	}
	if got := actions(list("", strangerKey)); !slices.Equal(got, []string{"customer.create"}) {
		t.Errorf("the other customer sees %v", got)
	}
	if got := len(list("", h.platform)); got != 6 { // and the key of the configuration
		t.Errorf("the platform sees %d", got)
	}
	for query, want := range map[string][]string{
		"?action=api_key.*":             {"api_key.revoke", "api_key.create"},
		"?action=api_key.create":        {"api_key.create"},
		"?action=api_key":               nil,
		"?action=api_k%25":              nil,
		"?actor=key:co_platform_*":      {"api_key.revoke", "customer.create"},
		"?subject=" + id:                {"api_key.revoke", "api_key.create"},
		"?cluster_id=" + h.cluster:      {"cluster.create"},
		"?end=2020-01-01T00:00:00Z":     nil,
		"?start=2020-01-01T00:00:00Z":   want,
		"?action=*&page_size=1000":      want,
		"?subject=" + id + "&action=c*": nil,
	} {
		if got := actions(list(query, h.admin)); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", query, got, want)
		}
	}
	var paged []string
	for token := ""; ; {
		got := h.call(t, "GET", "/api/v1/admin/audit?page_size=3&page_token="+token, h.admin, "")
		for _, e := range parse(t, got.text).([]any) {
			paged = append(paged, e.(map[string]any)["action"].(string))
		}
		if token = got.header.Get("Next-Page-Token"); token == "" {
			break
		}
	}
	if !slices.Equal(paged, want) {
		t.Errorf("page by page: %v", paged)
	}
	h.must(t, 404, "GET", "/api/v1/admin/audit?cluster_id="+h.cluster, strangerKey, "")
	h.must(t, 404, "GET", "/api/v1/admin/audit?cluster_id="+stranger, h.admin, "")
	h.must(t, 422, "GET", "/api/v1/admin/audit?page_token=x", h.admin, "")
	first := list("?page_size=1", h.admin)[0]
	if problem := differ("entry", map[string]any{
		"at": "<time>", "action": "api_key.revoke", "customer_id": h.customer, "subject": id, "detail": map[string]any{"scope": "viewer"},
	}, first); problem != "" || !strings.HasPrefix(first["request_id"].(string), "req-") || !strings.HasPrefix(first["actor"].(string), "key:co_platform_") {
		t.Errorf("%s: %v", problem, first)
	}
	h.wantSealed(t, 6)
	head := h.must(t, 200, "GET", "/api/v1/admin/audit/verify", h.platform, "").(map[string]any)
	if head["intact"] != true || head["head"] != list("?page_size=1", h.platform)[0]["hash"] {
		t.Errorf("got %v", head)
	}
	h.must(t, 403, "GET", "/api/v1/admin/audit/verify", h.admin, "")
	h.must(t, 422, "GET", "/api/v1/admin/audit/verify?known_head=xyz", h.platform, "")
	lost := strings.Repeat("0", 64)
	if got := h.must(t, 200, "GET", "/api/v1/admin/audit/verify?known_head="+lost, h.platform, "").(map[string]any); got["intact"] != false || got["broken_at"] != "7" {
		t.Errorf("a head that never was: %v", got)
	}
}

// wantSealed waits until n entries are sealed, which takes at most a second.
func (h *house) wantSealed(t *testing.T, n float64) {
	t.Helper()
	within(t, fmt.Sprintf("%v entries are sealed", n), func() bool {
		got, err := audit.Verify(t.Context(), h.store, "")
		if err != nil {
			t.Fatal(err)
		}
		return float64(got.GetEntries()) == n
	})
}

func TestSavingsOverTimeAsJSONAndAsATable(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited)
	_, stranger := h.newCustomer(t, "Other Inc.", "ops@example.org")
	evil := h.must(t, 201, "POST", "/api/v1/admin/clusters", h.admin, `{"cluster_name": "=HYPERLINK(\"http://x\",\"a, b\")", "region": "us-east-1"}`).(map[string]any)
	id := evil["cluster"].(map[string]any)["cluster_id"].(string)
	_, err := h.db.Pool.Exec(t.Context(), `INSERT INTO savings_hours (cluster_id, hour, actual, saved_spot_optimize, saved_interruption, spot_ms, metered_ms)
		SELECT c, timestamptz '2026-03-28 00:00Z' + make_interval(hours => h), 3600000000000, 1800000000000, -900000000000, 3600000, 3600000
		FROM unnest($1::uuid[]) c, generate_series(0, 47) h`, []string{h.cluster, id})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.db.Pool.Exec(t.Context(), "UPDATE clusters SET created_at = '2026-03-01'"); err != nil {
		t.Fatal(err)
	}
	const march = "?start=2026-03-28T10:20:00Z&end=2026-03-29T12:00:00Z&step=day"
	got := h.must(t, 200, "GET", "/api/v1/admin/savings/history"+march, h.admin, "").(map[string]any)
	if problem := differ("history", map[string]any{
		"step": "day", "points": []any{
			map[string]any{
				"start": "2026-03-28T00:00:00Z", "end": "2026-03-29T00:00:00Z", "actual": 48.0, "saved": 12.0, "baseline": 60.0, "coverage": 1.0,
				"by_mechanism": map[string]any{"spot_optimize": 24.0, "interruption": -12.0}, "spot_node_hours": 48.0,
			},
			map[string]any{"start": "2026-03-29T00:00:00Z", "end": "2026-03-30T00:00:00Z", "actual": 24.0, "coverage": 0.5},
		},
		"total": map[string]any{"actual": 72.0, "saved": 18.0, "baseline": 90.0},
		"clusters": []any{
			map[string]any{"cluster_id": id, "total": map[string]any{"actual": 36.0}}, map[string]any{"cluster_id": h.cluster, "cluster_name": "prod"},
		},
	}, got); problem != "" {
		t.Error(problem)
	}
	table := h.call(t, "GET", "/api/v1/admin/savings/history.csv"+march, h.admin, "")
	if table.status != 200 || table.header.Get("Content-Type") != "text/csv; charset=utf-8" ||
		table.header.Get("Content-Disposition") != `attachment; filename="cloudoptim-savings-2026-03-28-2026-03-30.csv"` || table.header.Get("X-Request-Id") == "" {
		t.Fatalf("%d %v", table.status, table.header)
	}
	rows, err := csv.NewReader(strings.NewReader(table.text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 6 || !strings.Contains(table.text, "\r\n") || !slices.Equal(rows[1][:9], []string{
		"day", "", "", "2026-03-28T00:00:00Z", "2026-03-29T00:00:00Z", "60.000000", "48.000000", "12.000000", "24.000000",
	}) || rows[3][2] != `'=HYPERLINK("http://x","a, b")` || rows[4][2] != "prod" || rows[5][0] != "total" {
		t.Errorf("got %q", rows)
	}
	one := h.call(t, "GET", "/api/v1/admin/savings/history.csv"+march+"&cluster_id="+h.cluster, h.admin, "")
	if rows, _ := csv.NewReader(strings.NewReader(one.text)).ReadAll(); len(rows) != 5 || rows[1][2] != "prod" || rows[4][6] != "36.000000" {
		t.Errorf("of one cluster: %q", rows)
	}
	for path, status := range map[string]int{
		"/api/v1/admin/savings/history": 200, "/api/v1/admin/savings/history?start=2020-01-01T00:00:00Z&step=hour": 422,
		"/api/v1/admin/savings/history?start=2026-03-28T10:20:00Z&end=2026-03-28T10:20:00Z": 422, "/api/v1/admin/savings/history?step=week": 422,
		"/api/v1/admin/savings/decisions": 200, "/api/v1/admin/savings/decisions?page_token=x": 422, "/api/v1/admin/savings/history?start=soon": 400,
	} {
		for _, path := range []string{path, strings.Replace(path, "history", "history.csv", 1)} {
			got := h.call(t, "GET", path, h.admin, "")
			if got.status != status || status != 200 && got.header.Get("Content-Type") != "application/json" {
				t.Errorf("%s: %d, want %d: %s", path, got.status, status, got.text)
			}
		}
	}
	for key, status := range map[string]int{"": 401, stranger: 404, h.agent: 403} {
		if got := h.call(t, "GET", "/api/v1/admin/savings/history.csv?cluster_id="+h.cluster, key, ""); got.status != status {
			t.Errorf("%d, want %d: %s", got.status, status, got.text)
		}
	}
}

func TestTheCommandVerifiesTheLogOfARunningCentralAndOfOneThatIsNot(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "central-audit-") //nolint:usetesting // PostgreSQL runs as another user, who cannot reach t.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "postgres")
	verify := func(args ...string) (string, error) {
		var out bytes.Buffer
		err := auditCommand(t.Context(), append([]string{"verify", "--central.data_dir", data, "--ml.api_key", "x", "--database.host="}, args...), &out)
		return out.String(), err
	}
	if out, err := verify(); err == nil || !strings.Contains(err.Error(), "there is no database") {
		t.Fatalf("%q, %v", out, err)
	}
	if _, err := os.Stat(data); err == nil {
		t.Error("looking for a database made one")
	}
	running, err := pgembed.Start(t.Context(), pgembed.Config{DataDir: data, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	stop := func() {
		if err := running.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(stop)
	if err := db.Migrate(t.Context(), running.CentralDSN()); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), running.CentralDSN(), 4, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := s.Audit(store.ForEveryone(t.Context()), store.Act{Actor: "a", Action: "b"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := (audit.Sealer{Store: s}).Seal(store.ForEveryone(t.Context())); err != nil {
		t.Fatal(err)
	}
	found, err := s.Head(store.ForEveryone(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	head := hex.EncodeToString(found.Hash)
	want := "entries   3\nunsealed  0\nhead      " + head + "\nintact\n"
	for _, args := range [][]string{nil, {"--known-head", head}, {"--known-head=" + strings.ToUpper(head)}} {
		if out, err := verify(args...); err != nil || out != want {
			t.Errorf("while it runs, %v: %q, %v", args, out, err)
		}
	}
	if out, err := verify("--known-head", strings.Repeat("0", 64)); err == nil || !strings.Contains(out, "broken at 4: ") {
		t.Errorf("a head that never was: %q, %v", out, err)
	}
	conn, err := pgx.Connect(t.Context(), running.AdminDSN("cloudoptim"))
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"SET session_replication_role = replica", "UPDATE audit_log SET actor = 'x' WHERE audit_id = 2"} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	_ = conn.Close(t.Context())
	stop()
	if out, err := verify(); err == nil || !strings.Contains(out, "entries   1\n") || !strings.Contains(out, "broken at 2: the hash does not fit") {
		t.Errorf("when it has stopped: %q, %v", out, err)
	}
	for _, args := range [][]string{{"--known-head"}, {"--known-head", "xyz"}, {"--no-such-flag"}} {
		if _, err := verify(args...); err == nil {
			t.Errorf("%v went through", args)
		}
	}
	if err := auditCommand(t.Context(), nil, &bytes.Buffer{}); err == nil {
		t.Error("central audit alone went through")
	}
}
