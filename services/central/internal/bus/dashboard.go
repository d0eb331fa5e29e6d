package bus

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
)

const dashboard = "dashboard:"

// PublishDashboard tells the dashboards of a customer, and of the platform's
// staff, what happened.
func (b *Bus) PublishDashboard(ctx context.Context, customer uuid.UUID, what *adminv1.StreamResponse) error {
	if what.Timestamp == nil {
		what.Timestamp = timestamppb.Now()
	}
	payload, err := proto.Marshal(what)
	if err != nil {
		return fmt.Errorf("publishing %s for the dashboard: %w", what.GetType(), err)
	}
	return b.Publish(ctx, dashboard+customer.String(), payload)
}

// ListenDashboard hears what PublishDashboard says: of one customer, or of all
// when customer is null. Read the payloads with Dashboard.
func (b *Bus) ListenDashboard(customer uuid.NullUUID) *Subscription {
	if !customer.Valid {
		return b.Listen(dashboard + "*")
	}
	return b.Listen(dashboard + customer.UUID.String())
}

// Dashboard reads a payload of ListenDashboard.
func Dashboard(payload []byte) (*adminv1.StreamResponse, error) {
	what := &adminv1.StreamResponse{}
	if err := proto.Unmarshal(payload, what); err != nil {
		return nil, fmt.Errorf("reading a message for the dashboard: %w", err)
	}
	return what, nil
}
