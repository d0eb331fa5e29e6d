package observe_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"github.com/cloudoptim/cloudoptim/pkg/config"
	"github.com/cloudoptim/cloudoptim/pkg/observe"
)

func start(t *testing.T, logging config.Logging) (*observe.Telemetry, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	telemetry, err := observe.Start(t.Context(), observe.Config{Service: "central", Logging: logging, Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = telemetry.Shutdown(context.Background()) })
	return telemetry, &out
}

func TestRecordsCarryServiceLevelAndTrace(t *testing.T) {
	telemetry, out := start(t, config.Logging{Level: "INFO", Format: "json"})
	ctx, span := otel.Tracer("test").Start(t.Context(), "work")
	defer span.End()
	telemetry.Log.DebugContext(ctx, "too quiet")
	telemetry.Log.With("a", 1).WarnContext(ctx, "heard")
	var record map[string]any
	if err := json.Unmarshal(out.Bytes(), &record); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	for key, want := range map[string]any{
		"service": "central", "level": "WARNING", "msg": "heard", "a": 1.0,
		"trace_id": span.SpanContext().TraceID().String(), "span_id": span.SpanContext().SpanID().String(),
	} {
		if record[key] != want {
			t.Errorf("%s = %v, want %v", key, record[key], want)
		}
	}
}

func TestTextFormatIsText(t *testing.T) {
	telemetry, out := start(t, config.Logging{Level: "DEBUG", Format: "text"})
	telemetry.Log.Debug("hello")
	if !strings.Contains(out.String(), "level=DEBUG msg=hello service=central") {
		t.Error(out)
	}
}

func TestSecretsAreNeverWritten(t *testing.T) {
	const secret = "hunter2"
	attrs := map[string]slog.Attr{
		"name":              slog.String("authorization", secret),
		"name with prefix":  slog.String("db_password", secret),
		"header spelling":   slog.String("X-Api-Key", secret),
		"camel case":        slog.String("k8sToken", secret),
		"any type":          slog.Any("api_key", []byte(secret)),
		"in a group":        slog.Group("request", slog.String("token", secret)),
		"http header":       slog.Any("headers", http.Header{"Authorization": {secret}}),
		"map":               slog.Any("config", map[string]any{"password": secret}),
		"map in a map":      slog.Any("config", map[string]any{"db": map[string]any{"password": secret}}),
		"bearer in a text":  slog.String("line", "Authorization: Bearer "+secret),
		"password in a url": slog.String("url", "postgres://central:"+secret+"@db/x"),
		"url in an error":   slog.Any("error", errors.New("dialing redis://:"+secret+"@redis:6379")),
	}
	for name, attr := range attrs {
		t.Run(name, func(t *testing.T) {
			for _, format := range []string{"json", "text"} {
				telemetry, out := start(t, config.Logging{Level: "INFO", Format: format})
				telemetry.Log.LogAttrs(t.Context(), slog.LevelInfo, "x", attr)
				telemetry.Log.With(attr).Info("y")
				if strings.Contains(out.String(), secret) || strings.Count(out.String(), "redacted") < 2 {
					t.Error(out)
				}
			}
		})
	}
}

func TestHarmlessAttributesAreLeftAlone(t *testing.T) {
	telemetry, out := start(t, config.Logging{Level: "INFO", Format: "json"})
	telemetry.Log.Info("x", "token_count", 7, "url", "https://a.b/c?d=e", "headers", http.Header{"Accept": {"json"}})
	for _, want := range []string{`"token_count":7`, `"https://a.b/c?d=e"`, `{"Accept":["json"]}`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in %s", want, out)
		}
	}
}

func TestFileOutputAppends(t *testing.T) {
	file := filepath.Join(t.TempDir(), "central.log")
	for range 2 {
		telemetry, _ := start(t, config.Logging{Level: "INFO", Format: "json", Output: "file", File: file})
		telemetry.Log.Info("x")
		if err := telemetry.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil || bytes.Count(text, []byte("\n")) != 2 {
		t.Errorf("%q, %v", text, err)
	}
}

func TestMetricsAnswersPrometheus(t *testing.T) {
	telemetry, _ := start(t, config.Logging{})
	counter, err := otel.Meter("test").Int64Counter("cloudoptim_agents_streams")
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(t.Context(), 3)
	recorder := httptest.NewRecorder()
	telemetry.Metrics.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{"cloudoptim_agents_streams_total 3", "go_goroutines", `service_name="central"`} {
		if !strings.Contains(recorder.Body.String(), want) {
			t.Errorf("no %q in\n%s", want, recorder.Body)
		}
	}
}

func TestTraceContextTravelsAsW3C(t *testing.T) {
	start(t, config.Logging{})
	ctx, span := otel.Tracer("test").Start(t.Context(), "work")
	defer span.End()
	carrier := propagation.MapCarrier{}
	otel.GetTextMapPropagator().Inject(ctx, carrier)
	if want := span.SpanContext().TraceID().String(); !strings.Contains(carrier["traceparent"], want) {
		t.Errorf("traceparent %q, want %s in it", carrier["traceparent"], want)
	}
}

type sink struct {
	collector.UnimplementedTraceServiceServer
	names chan string
}

func (s sink) Export(_ context.Context, r *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	s.names <- r.ResourceSpans[0].ScopeSpans[0].Spans[0].Name
	return &collector.ExportTraceServiceResponse{}, nil
}

func TestSpansReachTheCollectorThatTheEnvironmentNames(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, got := grpc.NewServer(), sink{names: make(chan string, 1)}
	collector.RegisterTraceServiceServer(server, got)
	go server.Serve(listener) //nolint:errcheck // ends with Stop
	t.Cleanup(server.Stop)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+listener.Addr().String())
	telemetry, _ := start(t, config.Logging{})
	_, span := otel.Tracer("test").Start(t.Context(), "seen from afar")
	span.End()
	if err := telemetry.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if name := <-got.names; name != "seen from afar" {
		t.Errorf("the collector got %q", name)
	}
}
