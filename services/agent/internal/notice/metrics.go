package notice

import (
	"context"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// cordons is how long nodes took from AWS's notice to their own cordon.
var cordons = histogram("cloudoptim_notice_cordon_seconds", "From a notice as it was seen on the instance to the node's cordon.")

func histogram(name, about string) metric.Float64Histogram {
	h, err := otel.Meter("cloudoptim/agent/notice").Float64Histogram(name, metric.WithDescription(about),
		metric.WithExplicitBucketBoundaries(0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30))
	if err != nil {
		otel.Handle(err) // what was made counts into nothing
	}
	return h
}

func observe(n *fleetv1.NodeNotice) {
	cordons.Record(context.Background(), max(0, time.Since(n.GetNoticedAt().AsTime()).Seconds()))
}
