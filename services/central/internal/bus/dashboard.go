package bus

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
)

const dashboard = "dashboard:"

// passing are the types that are not kept: the next one says all that the last one did.
var passing = []string{"cluster_state", "task_update"}

// keep writes a message where it is numbered and read again.
type keep = func(ctx context.Context, customer uuid.UUID, what *adminv1.StreamResponse) error

// KeepDashboard says where messages go that are kept. Without it all pass over the bus.
func (b *Bus) KeepDashboard(by keep) { b.keep.Store(&by) }

// PublishDashboard tells the dashboards of a customer, and of the platform's
// staff, what happened. What is kept (all but cluster_state and task_update) is
// written first; tell it in the transaction of what it is about (store.Tell) where
// a crash in between must not lose it.
func (b *Bus) PublishDashboard(ctx context.Context, customer uuid.UUID, what *adminv1.StreamResponse) error {
	if by := b.keep.Load(); by != nil && !slices.Contains(passing, what.GetType()) {
		return (*by)(ctx, customer, what)
	}
	if what.Timestamp == nil {
		what.Timestamp = timestamppb.Now()
	}
	payload, err := proto.Marshal(what)
	if err != nil {
		return fmt.Errorf("publishing %s for the dashboard: %w", what.GetType(), err)
	}
	return b.Publish(ctx, dashboard+customer.String(), payload)
}

// ListenDashboard hears what passes over the bus: of one customer, or of all
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
