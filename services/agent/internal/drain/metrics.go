package drain

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// verdicts names the answers in the metric.
var verdicts = map[verdict]string{
	accepted: "accepted", vanished: "gone", refused: "refused", pressure: "pressure", forbidden: "forbidden", broken: "failed",
}

// calls counts evictions and deletions by what the API server answered.
var calls = counter("cloudoptim_drain_calls", "Evictions and forced deletes asked for, by answer.")

func counter(name, about string) metric.Int64Counter {
	c, err := otel.Meter("cloudoptim/agent/drain").Int64Counter(name, metric.WithDescription(about))
	if err != nil {
		otel.Handle(err) // what was made counts into nothing
	}
	return c
}

func count(ctx context.Context, ans answer) {
	calls.Add(ctx, 1, metric.WithAttributes(attribute.String("answer", verdicts[ans.kind]), attribute.Bool("forced", ans.force)))
}
