package observe

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"go.opentelemetry.io/otel/trace"

	"github.com/cloudoptim/cloudoptim/pkg/config"
)

// newLogger returns the logger, and what to close in the end if it writes to a file.
func newLogger(cfg Config) (*slog.Logger, io.Closer, error) {
	out, closer, err := openOutput(cfg)
	if err != nil {
		return nil, nil, err
	}
	options := &slog.HandlerOptions{Level: levelOf(cfg.Logging.Level), ReplaceAttr: replace}
	var handler slog.Handler = slog.NewJSONHandler(out, options)
	if cfg.Logging.Format == "text" {
		handler = slog.NewTextHandler(out, options)
	}
	return slog.New(traced{handler}).With("service", cfg.Service), closer, nil
}

// openOutput appends to files, so that logrotate's copytruncate works.
func openOutput(cfg Config) (io.Writer, io.Closer, error) {
	if cfg.Logging.Output != "file" {
		if cfg.Stdout != nil {
			return cfg.Stdout, nil, nil
		}
		return os.Stdout, nil, nil
	}
	name := cfg.Logging.File
	if name == "" {
		name = cfg.Service + ".log"
	}
	file, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the log: %w", err)
	}
	return file, file, nil
}

// levelOf reads the documented names; the configuration lets no others through.
func levelOf(name string) slog.Level {
	switch name {
	case "DEBUG":
		return slog.LevelDebug
	case "WARNING":
		return slog.LevelWarn
	case "ERROR":
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}

// traced adds the ids of the context's span to every record.
type traced struct{ slog.Handler }

func (h traced) Handle(ctx context.Context, record slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		record.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return h.Handler.Handle(ctx, record)
}

func (h traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{h.Handler.WithAttrs(attrs)} }

func (h traced) WithGroup(name string) slog.Handler { return traced{h.Handler.WithGroup(name)} }

// replace writes levels as documented and hides secrets.
func replace(groups []string, attr slog.Attr) slog.Attr {
	if level, ok := attr.Value.Any().(slog.Level); ok && len(groups) == 0 && attr.Key == slog.LevelKey && level == slog.LevelWarn {
		return slog.String(slog.LevelKey, "WARNING")
	}
	return redact(attr)
}

// Discard is a configuration of silence, for tests.
func Discard() Config {
	return Config{Service: "test", Logging: config.Logging{Level: "ERROR"}, Stdout: io.Discard}
}
