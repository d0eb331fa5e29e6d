//go:build e2e

package e2e

import (
	"context"
	"encoding/hex"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
)

// traces are the spans that the processes under test export.
type traces struct {
	collector.UnimplementedTraceServiceServer

	mu sync.Mutex
	// names of spans with their service, by trace.
	names map[string][]string
}

// collectTraces receives the spans of the processes that are started from now on.
func collectTraces(t *testing.T) *traces {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	all := &traces{names: map[string][]string{}}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, all)
	go func() { _ = server.Serve(lis) }()
	t.Cleanup(server.Stop)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+lis.Addr().String())
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "500")
	return all
}

// Export takes spans in.
func (all *traces) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, resource := range req.GetResourceSpans() {
		service := ""
		for _, attribute := range resource.GetResource().GetAttributes() {
			if attribute.GetKey() == "service.name" {
				service = attribute.GetValue().GetStringValue()
			}
		}
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				id := hex.EncodeToString(span.GetTraceId())
				all.names[id] = append(all.names[id], service+" "+span.GetName())
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// with are the spans of the trace that has one so named, nil if there is none.
func (all *traces) with(part string) []string {
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, names := range all.names {
		if slices.ContainsFunc(names, func(name string) bool { return strings.Contains(name, part) }) {
			return slices.Clone(names)
		}
	}
	return nil
}

// requireOneTrace: from the message in SQS to the drain in the cluster and the
// launch in EC2, one trace shows it all.
func requireOneTrace(ctx context.Context, t *testing.T, all *traces) {
	t.Helper()
	var missing, spans []string
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(200 * time.Millisecond) {
		spans, missing = all.with("interruption message"), nil
		for _, want := range []string{"central interruption message", "central interruption.replace", "central interruption.follow", "agent task drain_node"} {
			if !slices.ContainsFunc(spans, func(name string) bool { return strings.HasPrefix(name, want) }) {
				missing = append(missing, want)
			}
		}
		if len(missing) == 0 {
			return
		}
	}
	t.Errorf("the trace lacks %v; it has %v", missing, spans)
}
