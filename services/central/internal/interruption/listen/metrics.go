package listen

import (
	"context"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// meter is OpenTelemetry's delegate until main sets the real one.
var meter = otel.Meter("cloudoptim/central/interruption")

var (
	messageCount = made(meter.Int64Counter("cloudoptim_interruption_messages",
		metric.WithDescription("Messages, by what became of them and why.")))
	messageAge = made(meter.Float64Histogram("cloudoptim_interruption_message_age_seconds", metric.WithUnit("s"),
		metric.WithDescription("From sent to settled."), metric.WithExplicitBucketBoundaries(.1, .25, .5, 1, 2, 5, 10, 20, 30, 60, 120, 600)))
	failureCount = made(meter.Int64Counter("cloudoptim_interruption_queue_failures",
		metric.WithDescription("Receives that failed, by reason.")))
	queueStates = made(meter.Int64UpDownCounter("cloudoptim_interruption_queues",
		metric.WithDescription("Queues listened to, by state.")))
)

// made takes what there is: an instrument that could not be made counts into nothing.
func made[T any](instrument T, err error) T {
	if err != nil {
		otel.Handle(err)
	}
	return instrument
}

func word(key, value string) metric.MeasurementOption {
	return metric.WithAttributes(attribute.String(key, value))
}

// counted counts a message of which it is settled what became of it.
func counted(ctx context.Context, sent time.Time, outcome, reason string) {
	messageCount.Add(ctx, 1, word("outcome", outcome), word("reason", reason))
	if !sent.IsZero() {
		messageAge.Record(ctx, time.Since(sent).Seconds(), word("outcome", outcome))
	}
}
