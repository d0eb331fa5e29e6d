package agents

import (
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
)

var (
	live       = gauge("cloudoptim_agents_sessions", "Streams of agents that are open on this replica.")
	refused    = counter("cloudoptim_agents_refused_total", "Streams that were told to come again later.")
	twins      = counter("cloudoptim_agents_twins_total", "Sessions opened while another agent of the same cluster held one.")
	unanswered = counter("cloudoptim_agents_unanswered_total", "Messages of agents that could not be committed.")
)

func gauge(name, about string) metric.Int64UpDownCounter {
	g, err := otel.Meter("cloudoptim/central/agents").Int64UpDownCounter(name, metric.WithDescription(about))
	if err != nil {
		otel.Handle(err) // what was made counts into nothing
	}
	return g
}

func counter(name, about string) metric.Int64Counter {
	c, err := otel.Meter("cloudoptim/central/agents").Int64Counter(name, metric.WithDescription(about))
	if err != nil {
		otel.Handle(err) // likewise
	}
	return c
}
