package tasks

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// seconds is how long tasks took; its count is how many ended.
var seconds = histogram("cloudoptim_tasks_duration_seconds", "From a task's start to its end, by type and status.")

func histogram(name, about string) metric.Float64Histogram {
	h, err := otel.Meter("cloudoptim/agent/tasks").Float64Histogram(name, metric.WithDescription(about),
		metric.WithExplicitBucketBoundaries(0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900))
	if err != nil {
		otel.Handle(err) // what was made counts into nothing
	}
	return h
}

// observe counts a result. Types come from central: unknown ones share a label
// value, as each new value costs memory for ever.
func observe(t *fleetv1.Task, result *fleetv1.TaskResult) {
	kind := "other"
	for _, known := range Types() {
		if t.GetTaskType() == known {
			kind = known
		}
	}
	seconds.Record(context.Background(), result.GetDurationSeconds(),
		metric.WithAttributes(attribute.String("task_type", kind), attribute.String("status", result.GetStatus())))
}
