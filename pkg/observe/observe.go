// Package observe gives a server its eyes: a logger, traces and metrics.
package observe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	promexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/cloudoptim/cloudoptim/pkg/config"
)

// Config says who speaks and how.
type Config struct {
	// Service is the name in every log record, trace and metric, such as "central".
	Service string
	Logging config.Logging
	// Stdout replaces os.Stdout for logging.output=stdout.
	Stdout io.Writer
}

// Telemetry is what a server writes its logs, traces and metrics with.
type Telemetry struct {
	// Log adds trace_id and span_id from the context and hides secrets.
	Log *slog.Logger
	// Metrics answers Prometheus at /metrics.
	Metrics http.Handler
	// Registry is for metrics that don't come through otel.
	Registry *prometheus.Registry

	tracer  *trace.TracerProvider
	meter   *metric.MeterProvider
	logFile io.Closer
}

// Start sets up logs, traces and metrics and makes them otel's and slog's defaults, so that
// otel.Tracer, otel.Meter and the gRPC instrumentation find them.
//
// Spans are exported over OTLP only when OTEL_EXPORTER_OTLP_ENDPOINT (or its _TRACES_ sibling) is
// set; trace ids are made in any case, for the logs.
func Start(ctx context.Context, cfg Config) (_ *Telemetry, err error) {
	t := &Telemetry{Registry: prometheus.NewRegistry()}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Shutdown(ctx))
		}
	}()
	if t.Log, t.logFile, err = newLogger(cfg); err != nil {
		return nil, err
	}
	about := describe(cfg.Service)
	if t.tracer, err = newTracer(ctx, about); err != nil {
		return nil, err
	}
	if t.meter, err = newMeter(t.Registry, about); err != nil {
		return nil, err
	}
	t.Metrics = promhttp.HandlerFor(t.Registry, promhttp.HandlerOpts{Registry: t.Registry})
	t.install()
	return t, nil
}

// install makes t the process's default.
func (t *Telemetry) install() {
	slog.SetDefault(t.Log)
	otel.SetTracerProvider(t.tracer)
	otel.SetMeterProvider(t.meter)
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	// Without this, otel's own troubles, such as an absent collector, go to stderr unformatted.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { t.Log.Warn("telemetry trouble", "error", err) }))
}

// Shutdown sends what is still held back, within ctx, and closes the log file.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	var errs []error
	if t.tracer != nil {
		errs = append(errs, t.tracer.Shutdown(ctx))
	}
	if t.meter != nil {
		errs = append(errs, t.meter.Shutdown(ctx))
	}
	if t.logFile != nil {
		errs = append(errs, t.logFile.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("shutting telemetry down: %w", err)
	}
	return nil
}

// describe is the process as traces and metrics name it.
func describe(service string) *resource.Resource {
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
	}
	return resource.NewSchemaless(
		attribute.String("service.name", service),
		attribute.String("service.namespace", "cloudoptim"),
		attribute.String("service.version", version),
	)
}

func newTracer(ctx context.Context, about *resource.Resource) (*trace.TracerProvider, error) {
	options := []trace.TracerProviderOption{trace.WithResource(about)}
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != "" {
		exporter, err := otlptracegrpc.New(ctx)
		if err != nil {
			return nil, fmt.Errorf("preparing the trace exporter: %w", err)
		}
		options = append(options, trace.WithBatcher(exporter))
	}
	return trace.NewTracerProvider(options...), nil
}

func newMeter(registry *prometheus.Registry, about *resource.Resource) (*metric.MeterProvider, error) {
	for _, collector := range []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := registry.Register(collector); err != nil {
			return nil, fmt.Errorf("registering the runtime's metrics: %w", err)
		}
	}
	exporter, err := promexporter.New(promexporter.WithRegisterer(registry), promexporter.WithoutScopeInfo())
	if err != nil {
		return nil, fmt.Errorf("preparing the metrics: %w", err)
	}
	return metric.NewMeterProvider(metric.WithReader(exporter), metric.WithResource(about)), nil
}
