package imds

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// polls counts rounds of asking; one that failed in part failed.
var polls = counter("cloudoptim_imds_polls_total", "How often the instance metadata service was asked, by outcome.")

func counter(name, about string) metric.Int64Counter {
	c, err := otel.Meter("cloudoptim/agent/imds").Int64Counter(name, metric.WithDescription(about))
	if err != nil {
		otel.Handle(err) // what was made counts into nothing
	}
	return c
}

func observe(ctx context.Context, err error) {
	outcome := "answered"
	if err != nil {
		outcome = "failed"
	}
	polls.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", outcome)))
}
