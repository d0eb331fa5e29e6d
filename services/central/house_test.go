package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/config"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/observe"
	"github.com/cloudoptim/cloudoptim/pkg/pgtest"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/pkg/run"

	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// ml is a decision server that says what the guide's example says. A decision
// waits until hold is closed, if it is there.
type ml struct {
	mlv1.UnimplementedDecisionServiceServer
	mlv1.UnimplementedMarketServiceServer
	mlv1.UnimplementedModelServiceServer
	hold chan struct{}
	key  string // that it takes; "": central's
	data mlv1.DataServiceServer
}

func (m *ml) SpotOptimize(ctx context.Context, req *mlv1.SpotOptimizeRequest) (*mlv1.SpotOptimizeResponse, error) {
	if m.hold != nil {
		select {
		case <-m.hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	ask := req.GetRequest()
	if ask.GetRequirements().GetFields()["node_count"].GetNumberValue() > 1000 {
		return nil, fault.Infeasible("max_nodes", "no mix of instances satisfies the request")
	}
	return &mlv1.SpotOptimizeResponse{Decision: &mlv1.DecisionResponse{
		RequestId: ask.GetRequestId(), Timestamp: timestamppb.Now(), DecisionType: "spot_optimize",
		Recommendations: []*mlv1.Recommendation{
			{InstanceType: "c5.large", NodeCount: 6, RiskScore: 0.1, HourlyPrice: 0.03, MonthlySavings: 450, NodeType: "spot"},
			{InstanceType: "m5a.large", NodeCount: 4, RiskScore: 0.2, HourlyPrice: 0.04, MonthlySavings: 350, NodeType: "spot"},
		},
		ConfidenceScore: 0.9, EstimatedSavings: 800, RiskAssessment: &structpb.Struct{}, Metadata: ask.GetMetadata(),
		ExecutionPlan: []*mlv1.ExecutionStep{{Step: 1, Action: "launch_spot_instances", Parameters: &structpb.Struct{}}},
	}}, nil
}

func (m *ml) ListPrices(_ context.Context, req *mlv1.ListPricesRequest) (*mlv1.ListPricesResponse, error) {
	resp := &mlv1.ListPricesResponse{}
	for _, kind := range req.GetInstanceTypes() {
		resp.Prices = append(resp.Prices, &mlv1.Price{InstanceType: kind, AvailabilityZone: "us-east-1a", Spot: 0.07, OnDemand: 0.192})
	}
	return resp, nil
}

func (m *ml) GetHealth(context.Context, *mlv1.GetHealthRequest) (*mlv1.GetHealthResponse, error) {
	return &mlv1.GetHealthResponse{Status: "healthy"}, nil
}

// serve puts m on a port and returns its address.
func (m *ml) serve(t *testing.T) string {
	t.Helper()
	key := oneKey("ml-key")
	if m.key != "" {
		key = oneKey(m.key)
	}
	srv := rpc.NewServer(rpc.ServerConfig{Log: slog.New(slog.DiscardHandler), Authorizer: auth.NewKeys(key, nil, nil)})
	mlv1.RegisterDecisionServiceServer(srv, m)
	mlv1.RegisterMarketServiceServer(srv, m)
	if m.data != nil {
		mlv1.RegisterDataServiceServer(srv, m.data)
	}
	mlv1.RegisterModelServiceServer(srv, m)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = srv.Server.Serve(lis) }()
	t.Cleanup(srv.Stop)
	return lis.Addr().String()
}

// house is the assembled central on a database of its own, with one customer
// and one cluster, and what a test needs to talk to it.
type house struct {
	url      string
	grpc     string
	store    *store.Store
	db       *pgtest.DB
	log      *record
	platform string
	customer string
	admin    string
	cluster  string
	agent    string
}

// record is a log that a test may read.
type record struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}

// open starts central. perMinute is the rate limit; mlAddress where ml is.
func open(t *testing.T, mlAddress string, perMinute int, change ...func(*settings)) *house {
	t.Helper()
	h := &house{db: pgtest.New(t), log: &record{}}
	h.platform, _, _ = auth.NewSecret("platform")
	cfg := &settings{}
	cfg.Central.GRPCAddress, cfg.Central.HTTPAddress = "127.0.0.1:0", "127.0.0.1:0"
	cfg.Central.Replica, cfg.Central.MetricsKeepDays, cfg.Central.PlatformKey = "test", 30, h.platform
	cfg.ML.Address, cfg.ML.APIKey = mlAddress, "ml-key"
	cfg.AWS.Region = "us-east-1"
	cfg.Central.SessionIdleHours, cfg.Central.SessionHours = 12, 168
	cfg.API = config.API{RequestTimeoutSeconds: 30, RateLimitPerMinute: perMinute}
	for _, do := range change {
		do(cfg)
	}
	telemetry, err := observe.Start(t.Context(), observe.Config{
		Service: "central", Logging: config.Logging{Level: "INFO", Format: "text", Output: "stdout"}, Stdout: h.log,
	})
	if err != nil {
		t.Fatal(err)
	}
	opened, err := store.Open(t.Context(), h.db.DSN, 8, nil)
	if err != nil {
		t.Fatal(err)
	}
	h.store = store.New(h.db.Pool) // the test's own, which sees every customer's rows
	server, err := assemble(t.Context(), cfg, &database{store: opened}, telemetry)
	if err != nil {
		t.Fatal(err)
	}
	h.url, h.grpc = "http://"+server.HTTP.String(), server.GRPC.String()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run.All(ctx, server.parts...) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("central ended with %v\n%s", err, h.log)
		}
		if strings.Contains(h.log.String(), "the context says for nobody") { // work of its own must run store.ForEveryone
			t.Errorf("central asks the database for nobody:\n%s", h.log)
		}
		server.close()
		opened.Close()
		http.DefaultClient.CloseIdleConnections()
		_ = telemetry.Shutdown(context.Background())
	})
	h.furnish(t)
	return h
}

// furnish makes the customer and the cluster, as an operator would.
func (h *house) furnish(t *testing.T) {
	t.Helper()
	h.customer, h.admin = h.newCustomer(t, "Example Inc.", "ops@example.com")
	made := h.must(t, 201, "POST", "/api/v1/admin/clusters", h.admin, `{"cluster_name": "prod", "region": "us-east-1",
		"launch": {"launch_template_id": "lt-0123456789abcdef0", "subnet_ids": {"us-east-1a": "subnet-1"}}, "mode": "automatic"}`).(map[string]any)
	h.agent = made["agent_api_key"].(string)
	h.cluster = made["cluster"].(map[string]any)["cluster_id"].(string)
	// Nothing is planned but what a test asks for.
	if err := h.store.InTx(t.Context(), func(tx *store.Store) error {
		scope := store.PolicyScope{Customer: uuid.MustParse(h.customer), Cluster: uuid.NullUUID{UUID: uuid.MustParse(h.cluster), Valid: true}}
		values := &adminv1.PolicyValues{Mode: proto.String("automatic"), Engines: &adminv1.PlanEngines{}}
		_, _, err := tx.SetPolicy(t.Context(), scope, values, "", "test")
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func (h *house) newCustomer(t *testing.T, name, email string) (id, key string) {
	t.Helper()
	body := fmt.Sprintf(`{"company_name": %q, "email": %q}`, name, email)
	made := h.must(t, 201, "POST", "/api/v1/admin/customers", h.platform, body).(map[string]any)
	return made["customer_id"].(string), made["admin_api_key"].(string)
}

// newKey makes a key of the customer with scope.
func (h *house) newKey(t *testing.T, scope string) (id, secret string) {
	t.Helper()
	made := h.must(t, 201, "POST", "/api/v1/admin/api-keys", h.admin, fmt.Sprintf(`{"scope": %q}`, scope)).(map[string]any)
	return made["api_key"].(map[string]any)["api_key_id"].(string), made["secret"].(string)
}

// answer is what REST answered.
type answer struct {
	status int
	header http.Header
	text   string
}

func (h *house) call(t *testing.T, method, path, key, body string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, h.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	h.wantAudited(t, req, resp)
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// must calls, and ends the test if the status is not as wanted.
func (h *house) must(t *testing.T, status int, method, path, key, body string) any {
	t.Helper()
	got := h.call(t, method, path, key, body)
	if got.status != status {
		t.Fatalf("%s %s: %d, want %d: %s", method, path, got.status, status, got.text)
	}
	return parse(t, got.text)
}

func parse(t *testing.T, text string) any {
	t.Helper()
	var out any
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%q is not JSON: %v", text, err)
	}
	return out
}

// stream opens a WebSocket with a bearer.
func (h *house) stream(t *testing.T, path, key string) *websocket.Conn {
	t.Helper()
	ws, _, err := websocket.Dial(t.Context(), h.url+path, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + key}}})
	if err != nil {
		t.Fatal(err)
	}
	ws.SetReadLimit(1 << 20)
	t.Cleanup(func() { _ = ws.CloseNow() })
	return ws
}

// until reads frames until one that has the field, and returns it.
func until(t *testing.T, ws *websocket.Conn, field, value string) map[string]any {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		_, frame, err := ws.Read(ctx)
		if err != nil {
			t.Fatalf("waiting for %s %s: %v", field, value, err)
		}
		msg := parse(t, string(frame)).(map[string]any)
		if got, ok := msg[field]; ok && (value == "" || got == value) {
			return msg
		}
	}
}

var shapes = map[string]func(any) bool{
	"<uuid>":   matches(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`),
	"<string>": func(v any) bool { _, ok := v.(string); return ok },
	// Whether a replacement was looked for by now is a job's business.
	"<draining>": func(v any) bool {
		said, _ := v.(string)
		return said == "draining, replacement_pending" || said == "draining, replacement_unneeded"
	},
	"<number>": func(v any) bool { _, ok := v.(float64); return ok },
	"<object>": func(v any) bool { _, ok := v.(map[string]any); return ok },
	"<list>":   func(v any) bool { _, ok := v.([]any); return ok },
	"<key>":    matches(`^co_[a-z]+_[A-Za-z0-9_-]{43}$`),
	"<time>": func(v any) bool {
		s, _ := v.(string)
		at, err := time.Parse(time.RFC3339Nano, s)
		return err == nil && strings.HasSuffix(s, "Z") && time.Since(at).Abs() < 10*365*24*time.Hour
	},
}

func matches(pattern string) func(any) bool {
	expr := regexp.MustCompile(pattern)
	return func(v any) bool { s, ok := v.(string); return ok && expr.MatchString(s) }
}

// differ compares an answer with what is documented: every documented name must
// be there with its value or shape; more names are fine, as additions are. It
// returns "" or what is wrong.
func differ(at string, want, got any) string {
	switch want := want.(type) {
	case string:
		if shape, ok := shapes[want]; ok {
			if !shape(got) {
				return fmt.Sprintf("%s is %v, want a %s", at, got, want)
			}
			return ""
		}
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			return fmt.Sprintf("%s is %v, want an object", at, got)
		}
		for _, name := range slices.Sorted(maps.Keys(want)) {
			value, ok := object[name]
			if !ok {
				return fmt.Sprintf("%s.%s is missing", at, name)
			}
			if problem := differ(at+"."+name, want[name], value); problem != "" {
				return problem
			}
		}
		return ""
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			return fmt.Sprintf("%s is %v, want a bare list of %d", at, got, len(want))
		}
		for i := range want {
			if problem := differ(fmt.Sprintf("%s[%d]", at, i), want[i], list[i]); problem != "" {
				return problem
			}
		}
		return ""
	}
	if want != got {
		return fmt.Sprintf("%s is %v, want %v", at, got, want)
	}
	return ""
}

// oneKey is a store that knows one key, of another server.
type oneKey string

// KeyByHash knows the key.
func (k oneKey) KeyByHash(_ context.Context, hash []byte) (*store.Key, error) {
	if !bytes.Equal(hash, auth.Hash(string(k))) {
		return nil, fault.NotFound("api_key", "")
	}
	return &store.Key{Scope: "service"}, nil
}

// TouchKey notes nothing.
func (k oneKey) TouchKey(context.Context, uuid.UUID) error { return nil }

// SignedInBy knows no sessions.
func (k oneKey) SignedInBy(context.Context, []byte) (*store.Key, error) {
	return nil, fault.NotFound("session", "")
}

// TouchSignIn notes nothing.
func (k oneKey) TouchSignIn(context.Context, uuid.UUID) error { return nil }
