package link

import (
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
)

// connected is 1 while a session is open.
var connected = gauge("cloudoptim_link_connected", "1 while a session with central is open.")

func gauge(name, about string) metric.Int64UpDownCounter {
	g, err := otel.Meter("cloudoptim/agent/link").Int64UpDownCounter(name, metric.WithDescription(about))
	if err != nil {
		otel.Handle(err) // what was made counts into nothing
	}
	return g
}
