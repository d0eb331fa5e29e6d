package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	accessv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/access/v1"
	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// doorman knows keys by heart. A key's context ends when revoked is closed.
type doorman struct {
	callers map[string]auth.Caller
	revoke  context.CancelCauseFunc
	life    context.Context
}

func (d *doorman) Authorize(ctx context.Context, _ string, policy *accessv1.Policy, bearer string) (context.Context, error) {
	caller, ok := d.callers[bearer]
	if !ok {
		return ctx, fault.New(faultv1.Reason_REASON_UNAUTHENTICATED, "Invalid API key")
	}
	if !slices.Contains(policy.GetCallers(), caller.Kind) {
		return ctx, fault.New(faultv1.Reason_REASON_PERMISSION_DENIED, "Insufficient permissions")
	}
	ctx, cancel := context.WithCancelCause(auth.With(ctx, caller))
	context.AfterFunc(d.life, func() { cancel(context.Cause(d.life)) })
	return ctx, nil
}

// admin and agent are services whose streams a test plays.
type admin struct {
	adminv1.UnimplementedAdminServiceServer
	stream func(*adminv1.StreamRequest, grpc.ServerStreamingServer[adminv1.StreamResponse]) error
	list   func(context.Context) error
}

func (a *admin) Stream(req *adminv1.StreamRequest, s grpc.ServerStreamingServer[adminv1.StreamResponse]) error {
	return a.stream(req, s)
}

func (a *admin) ListClusters(ctx context.Context, _ *adminv1.ListClustersRequest) (*adminv1.ListClustersResponse, error) {
	return &adminv1.ListClustersResponse{}, a.list(ctx)
}

type agent struct {
	agentv1.UnimplementedAgentServiceServer
	connect func(grpc.BidiStreamingServer[agentv1.ConnectRequest, agentv1.ConnectResponse]) error
}

func (a *agent) Connect(s grpc.BidiStreamingServer[agentv1.ConnectRequest, agentv1.ConnectResponse]) error {
	return a.connect(s)
}

// house is a gateway before services that a test plays.
type house struct {
	*gateway
	admin   *admin
	agent   *agent
	doorman *doorman
	cluster uuid.UUID
	srv     *rpc.Server
	url     string
	ready   error
}

func open(t *testing.T, with ...func(*Config)) *house {
	t.Helper()
	h := &house{admin: &admin{}, agent: &agent{}, cluster: uuid.New()}
	life, revoke := context.WithCancelCause(t.Context())
	h.doorman = &doorman{life: life, revoke: revoke, callers: map[string]auth.Caller{
		"viewer": {Kind: accessv1.Caller_CALLER_VIEWER},
		"agent":  {Kind: accessv1.Caller_CALLER_AGENT, ClusterID: uuid.NullUUID{UUID: h.cluster, Valid: true}},
	}}
	log := slog.New(slog.DiscardHandler)
	h.srv = rpc.NewServer(rpc.ServerConfig{Log: log, Authorizer: h.doorman})
	adminv1.RegisterAdminServiceServer(h.srv, h.admin)
	agentv1.RegisterAgentServiceServer(h.srv, h.agent)
	conn, err := rpc.InProcess(h.srv)
	if err != nil {
		t.Fatal(err)
	}
	h.gateway = &gateway{
		Config: Config{
			Conn: conn, Authorizer: h.doorman, Log: log, Origins: []string{"*.example.com"}, Timeout: time.Second,
			Ready:   func(context.Context) error { return h.ready },
			Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1\n") }),
		},
		beat: beat{every: time.Minute, within: time.Second},
	}
	for _, change := range with {
		change(&h.Config)
	}
	handler, err := build(t.Context(), h.gateway)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(handler)
	h.url = web.URL
	t.Cleanup(func() { h.srv.Stop(); web.Close(); _ = conn.Close(); http.DefaultClient.CloseIdleConnections() })
	return h
}

// get answers with status, headers and body.
func (h *house) get(t *testing.T, path string, headers ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(body)
}

// requireErrorBody holds text to the documented form and returns code and details.
func requireErrorBody(t *testing.T, text string) (code string, details map[string]any) {
	t.Helper()
	var body struct {
		Error struct {
			Code, Message string
			Details       map[string]any
			RequestID     string `json:"request_id"`
			Timestamp     time.Time
		}
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil {
		t.Fatalf("%q is not the documented error body: %v", text, err)
	}
	e := body.Error
	if e.Code == "" || e.Message == "" || !regexp.MustCompile(`^req-`).MatchString(e.RequestID) || time.Since(e.Timestamp).Abs() > time.Minute {
		t.Fatalf("the error body lacks something: %s", text)
	}
	return e.Code, e.Details
}

func TestTheFrontDoorAnswersWithoutAKey(t *testing.T) {
	h := open(t)
	for path, want := range map[string]string{
		"/": "CloudOptim", "/healthz": "ok", "/readyz": "ok", "/metrics": "up 1", "/openapi.json": `"/api/v1/admin/clusters"`,
	} {
		if status, _, body := h.get(t, path); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %.80q, want 200 and %q", path, status, body, want)
		}
	}
}

func TestAReplicaThatIsNotReadySaysSoInTheDocumentedForm(t *testing.T) {
	h := open(t)
	h.ready = errors.New("the database at 10.0.0.7 refuses")
	status, _, body := h.get(t, "/readyz")
	if code, _ := requireErrorBody(t, body); status != 503 || code != "UNAVAILABLE" || strings.Contains(body, "10.0.0.7") {
		t.Errorf("%d %s", status, body)
	}
	if status, _, _ := h.get(t, "/healthz"); status != 200 {
		t.Error("a replica that waits for its database is not dead")
	}
}

func TestWhatIsNotThereIsNotFoundInTheDocumentedForm(t *testing.T) {
	h := open(t)
	for _, path := range []string{"/nowhere", "/api/v1/nowhere", "/api/v1/admin/optimization/trigger"} {
		status, _, body := h.get(t, path)
		if code, _ := requireErrorBody(t, body); status != 404 || code != "NOT_FOUND" {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

func TestACallThatTakesTooLongIsEnded(t *testing.T) {
	h := open(t)
	h.admin.list = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	status, _, body := h.get(t, "/api/v1/admin/clusters", "Authorization", "Bearer viewer")
	if code, _ := requireErrorBody(t, body); status != 504 || code != "DEADLINE_EXCEEDED" {
		t.Errorf("%d %s", status, body)
	}
}

func TestAnswersAreKeptOutOfCachesAndCarryTheRequestsID(t *testing.T) {
	h := open(t)
	h.admin.list = func(context.Context) error { return nil }
	status, header, body := h.get(t, "/api/v1/admin/clusters", "Authorization", "Bearer viewer", "X-Request-Id", "req-mine")
	if status != 200 || body != "[]" || header.Get("Cache-Control") != "no-store" || header.Get("X-Request-Id") != "req-mine" {
		t.Errorf("%d %v %s", status, header, body)
	}
	if len(header.Values("Access-Control-Allow-Origin")) != 0 {
		t.Error("pages of other sites may read answers")
	}
}
