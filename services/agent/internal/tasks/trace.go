package tasks

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// traced goes on with the trace of whatever caused the task: its context came with it.
func traced(ctx context.Context, t *task) (context.Context, trace.Span) {
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": t.Task.GetTraceparent()})
	return otel.Tracer("cloudoptim/agent/tasks").Start(ctx, "task "+t.Task.GetTaskType(), trace.WithAttributes(
		attribute.String("cloudoptim.task_id", t.Task.GetTaskId()), attribute.Int("cloudoptim.attempt", int(t.Task.GetAttempt())),
		attribute.String("cloudoptim.subject", t.job.subject()),
	))
}

// endTrace of a step; one that was stopped to be resumed has no status.
func endTrace(span trace.Span, out outcome) {
	span.SetAttributes(attribute.String("cloudoptim.status", out.status))
	if out.err != "" {
		span.SetStatus(codes.Error, out.err)
	}
	span.End()
}
