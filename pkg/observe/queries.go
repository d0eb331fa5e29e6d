package observe

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Queries logs every SQL statement with its duration, never its arguments: they
// are customers' data, and keys' hashes.
func Queries(log *slog.Logger) pgx.QueryTracer { return queries{log} }

type queries struct{ log *slog.Logger }

type queryKey struct{}

type query struct {
	sql   string
	began time.Time
}

// TraceQueryStart remembers the statement.
func (queries) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	return context.WithValue(ctx, queryKey{}, query{sql: data.SQL, began: time.Now()})
}

// TraceQueryEnd logs it.
func (q queries) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	one, ok := ctx.Value(queryKey{}).(query)
	if !ok {
		return
	}
	fields := []any{"sql", strings.Join(strings.Fields(one.sql), " "), "took", time.Since(one.began), "rows", data.CommandTag.RowsAffected()}
	if data.Err != nil {
		fields = append(fields, "error", data.Err)
	}
	q.log.InfoContext(ctx, "query", fields...)
}
