package rpc

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	accessv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/access/v1"
	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

// bouncer lets everybody in who has a key.
type bouncer struct{ policy *accessv1.Policy }

func (b *bouncer) Authorize(ctx context.Context, _ string, policy *accessv1.Policy, bearer string) (context.Context, error) {
	b.policy = policy
	if bearer == "" {
		return ctx, fault.New(faultv1.Reason_REASON_UNAUTHENTICATED, "Invalid API key")
	}
	return ctx, nil
}

type scarce struct{}

func (scarce) Allow(context.Context) (time.Duration, bool) { return 1500 * time.Millisecond, false }

type agents struct {
	agentv1.UnimplementedAgentServiceServer
}

func (agents) ListTasks(context.Context, *agentv1.ListTasksRequest) (*agentv1.ListTasksResponse, error) {
	panic("oh")
}

func (agents) Heartbeat(ctx context.Context, _ *agentv1.HeartbeatRequest) (*agentv1.HeartbeatResponse, error) {
	return &agentv1.HeartbeatResponse{}, SetHTTPStatus(ctx, http.StatusCreated)
}

func serve(t *testing.T, cfg ServerConfig) agentv1.AgentServiceClient {
	t.Helper()
	cfg.Log = slog.New(slog.DiscardHandler)
	srv := NewServer(cfg)
	agentv1.RegisterAgentServiceServer(srv, agents{})
	conn, err := InProcess(srv)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(); srv.Stop() })
	return agentv1.NewAgentServiceClient(conn)
}

func keyed(t *testing.T) context.Context {
	t.Helper()
	return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer k", "x-request-id", "req-7")
}

const someID = "7f9c24e8-3b1a-4a6e-9d57-0c1f3a2b4d5e"

func TestTheChainAnswersInOrder(t *testing.T) {
	door := &bouncer{}
	client := serve(t, ServerConfig{Authorizer: door})
	_, err := client.ListTasks(t.Context(), &agentv1.ListTasksRequest{})
	wantReason(t, "no key goes before a bad field", err, faultv1.Reason_REASON_UNAUTHENTICATED)
	_, err = client.ListTasks(keyed(t), &agentv1.ListTasksRequest{ClusterId: "x"})
	wantReason(t, "a bad field", err, faultv1.Reason_REASON_INVALID_REQUEST)
	if got := fault.From(err); got.Details["field"] != "cluster_id" || got.Details["constraint"] != "must be valid UUID" || got.RequestID != "req-7" {
		t.Errorf("got %+v", got)
	}
	_, err = client.ListTasks(keyed(t), &agentv1.ListTasksRequest{ClusterId: someID})
	wantReason(t, "a panic", err, faultv1.Reason_REASON_INTERNAL)
	if strings.Contains(err.Error(), "oh") {
		t.Errorf("the panic's text is shown: %v", err)
	}
	if callers := door.policy.GetCallers(); len(callers) != 1 || callers[0] != accessv1.Caller_CALLER_AGENT {
		t.Errorf("the policy handed to the authorizer is %v", callers)
	}
	_, err = serve(t, ServerConfig{Authorizer: door, Limiter: scarce{}}).ListTasks(keyed(t), &agentv1.ListTasksRequest{ClusterId: someID})
	wantReason(t, "no calls left", err, faultv1.Reason_REASON_RATE_LIMITED)
	if got := fault.From(err).Details["retry_after_seconds"]; got != 2.0 {
		t.Errorf("retry after %v s, want 2", got)
	}
}

func wantReason(t *testing.T, what string, err error, want faultv1.Reason) {
	t.Helper()
	if got := fault.ReasonOf(err); got != want {
		t.Errorf("%s: %s (%v), want %s", what, got, err, want)
	}
}

func TestTheFieldOfABodyIsNamedAsTheCallerSeesIt(t *testing.T) {
	bad := &agentv1.SubmitTaskResultRequest{TaskId: someID, Result: &fleetv1.TaskResult{TaskId: someID, Status: "done"}}
	chain := chain{validator: protovalidate.GlobalValidator, policies: policies()}
	err := chain.validate(agentv1.AgentService_SubmitTaskResult_FullMethodName, bad)
	if got := fault.From(err).Details["field"]; got != "status" {
		t.Errorf("the field is called %v, want status: REST has the result as its body", got)
	}
}

func TestRESTErrorsHaveTheDocumentedBody(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		code int
		want []string
	}{
		"not JSON":         {status.Error(codes.InvalidArgument, "proto: syntax error (line 1:1)"), 400, []string{`"MALFORMED_REQUEST"`, `"request_id":"req-9"`, `"timestamp"`}},
		"no body":          {status.Error(codes.InvalidArgument, "EOF"), 400, []string{"a JSON body is needed"}},
		"too large":        {status.Error(codes.InvalidArgument, "http: request body too large"), 400, []string{"larger than"}},
		"a lost line":      {status.Error(codes.Unavailable, "dial tcp 10.0.0.1:1"), 503, []string{"the server is unavailable"}},
		"nothing is known": {io.ErrUnexpectedEOF, 500, []string{"internal error"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			w.Header().Set("X-Request-Id", "req-9")
			handleError(t.Context(), nil, nil, w, nil, c.err)
			if w.Code != c.code {
				t.Errorf("HTTP %d, want %d", w.Code, c.code)
			}
			body := strings.ReplaceAll(w.Body.String(), ": ", ":")
			for _, part := range c.want {
				if !strings.Contains(strings.ReplaceAll(body, ": ", ":"), part) {
					t.Errorf("%s lacks %s", body, part)
				}
			}
			if strings.Contains(body, "10.0.0.1") {
				t.Errorf("an address is shown: %s", body)
			}
		})
	}
}

func TestACallersRequestIDIsTakenUnlessItCouldDoHarm(t *testing.T) {
	for given, taken := range map[string]bool{"req-1": true, "a:b.c_d": true, "": false, "a\nb": false, strings.Repeat("x", 200): false} {
		ctx := withRequestID(metadata.NewIncomingContext(t.Context(), metadata.Pairs("x-request-id", given)))
		if got := RequestID(ctx); (got == given) != taken || got == "" {
			t.Errorf("%q became %q", given, got)
		}
	}
}
