package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// Said is what AWS said of an instance, as it is kept.
type Said struct {
	Cluster uuid.UUID
	// Key is the same for the same word, by whichever way it came.
	Key                                        string
	Interruption                               uuid.NullUUID
	InstanceID, Type, Node, Region, Zone       string
	Time                                       time.Time
	Source, MessageID, State, Action, AWSState string
	Detail                                     map[string]any
}

// AddSaid writes a row of spot_events; false: it was said before, and the source
// was added.
func (s *Store) AddSaid(ctx context.Context, said Said) (bool, error) {
	ids := []string{}
	if said.MessageID != "" {
		ids = append(ids, said.MessageID)
	}
	metadata := map[string]any{"sources": []string{said.Source}, "message_ids": ids, "detail": said.Detail, "key": said.Key}
	if said.AWSState != "" {
		metadata["instance_state"] = said.AWSState
	}
	raw, err := json.Marshal(metadata)
	if err != nil {
		return false, wrap("encoding the event of instance", said.InstanceID, err)
	}
	cluster := some(said.Cluster)
	n, err := s.q.SpotEventCreate(ctx, s.db, centraldb.SpotEventCreateParams{
		ClusterID: cluster, InstanceID: said.InstanceID, EventType: said.Type, InterruptionTime: moment(said.Time),
		ActionTaken: text(said.Action), Metadata: raw, DedupKey: said.Key, InterruptionID: said.Interruption, NodeName: said.Node,
		Region: said.Region, AvailabilityZone: said.Zone, State: said.State,
	})
	if err != nil || n > 0 {
		return n > 0, wrap("writing the event of instance", said.InstanceID, err)
	}
	sources, err := json.Marshal([]string{said.Source})
	if err != nil {
		return false, wrap("encoding the event of instance", said.InstanceID, err)
	}
	messages, err := json.Marshal(ids)
	if err != nil {
		return false, wrap("encoding the event of instance", said.InstanceID, err)
	}
	return false, wrap("writing the event of instance", said.InstanceID, s.q.SpotEventHeard(ctx, s.db,
		centraldb.SpotEventHeardParams{Sources: sources, MessageIds: messages, ClusterID: cluster, DedupKey: said.Key}))
}

// ActOn writes what was done into all that was said of an interruption.
func (s *Store) ActOn(ctx context.Context, id uuid.UUID, state, action, replacement string) error {
	return wrap("writing the events of interruption", id.String(), s.q.SpotEventAct(ctx, s.db, centraldb.SpotEventActParams{
		State: state, ActionTaken: text(action), ReplacementInstanceID: text(replacement),
		InterruptionID: some(id),
	}))
}

// SpotEvents is a page of what was said, newest first, and the next page's token.
// eventType and instance may be empty: all.
func (s *Store) SpotEvents(ctx context.Context, cluster, customer uuid.NullUUID, eventType, instance string, page Page) ([]*fleetv1.SpotEvent, string, error) {
	id, err := page.After.uuid()
	if err != nil {
		return nil, "", err
	}
	at, err := page.After.moment()
	if err != nil {
		return nil, "", err
	}
	rows, err := s.q.SpotEventList(ctx, s.db, centraldb.SpotEventListParams{
		CustomerID: customer, ClusterID: cluster, EventType: eventType, InstanceID: instance, AfterID: id, AfterAt: at,
		MaxRows: int32(page.Limit + 1),
	})
	if err != nil {
		return nil, "", wrap("listing", "spot events", err)
	}
	rows, token, err := Cut(page, rows, func(row centraldb.SpotEventListRow) Cursor {
		return dated("", row.SpotEvent.ReceivedAt, row.SpotEvent.EventID.String())
	})
	if err != nil {
		return nil, "", wrap("listing", "spot events", err)
	}
	out := make([]*fleetv1.SpotEvent, 0, len(rows))
	for _, row := range rows {
		msg, err := spotEvent(row.SpotEvent)
		if err != nil {
			return nil, "", err
		}
		msg.Foretold = foretold(row.Probability, row.SaidAt, row.Model)
		out = append(out, msg)
	}
	return out, token, nil
}

// SpotEventOf is the worst that was said of an interruption; nil: nothing is kept.
func (s *Store) SpotEventOf(ctx context.Context, id uuid.UUID) (*fleetv1.SpotEvent, error) {
	row, err := s.q.SpotEventOf(ctx, s.db, some(id))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, wrap("event of interruption", id.String(), err)
	}
	msg, err := spotEvent(row.SpotEvent)
	if err != nil {
		return nil, err
	}
	msg.Foretold = foretold(row.Probability, row.SaidAt, row.Model)
	return msg, nil
}

// foretold is nil when nothing was.
func foretold(probability float64, at time.Time, model string) *fleetv1.Foretold {
	if at.Unix() <= 0 {
		return nil
	}
	return &fleetv1.Foretold{
		Probability: probability, HorizonMinutes: int32(ForetoldFor.Minutes()), SaidAt: timestamppb.New(at), Model: model,
	}
}

func spotEvent(row centraldb.SpotEvent) (*fleetv1.SpotEvent, error) {
	metadata := &structpb.Struct{}
	if err := decode(row.Metadata, metadata); err != nil {
		return nil, wrap("reading spot event", row.EventID.String(), err)
	}
	cluster := idText(row.ClusterID)
	return &fleetv1.SpotEvent{
		EventId: row.EventID.String(), EventType: row.EventType, InstanceId: row.InstanceID, Region: row.Region,
		AvailabilityZone: row.AvailabilityZone, ReceivedAt: timestamppb.New(row.ReceivedAt), InterruptionTime: stamp(row.InterruptionTime),
		ClusterId: text(cluster), NodeName: text(row.NodeName), ActionTaken: row.ActionTaken,
		ReplacementInstanceId: row.ReplacementInstanceID, Metadata: metadata, State: row.State,
	}, nil
}
