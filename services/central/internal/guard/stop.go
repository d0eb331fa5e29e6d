package guard

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protojson"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const notAllowed = faultv1.Reason_REASON_NOT_ALLOWED_BY_POLICY

// stopTries: a stop must not fail because somebody else was writing the same tasks.
const stopTries = 4

// Refused is the refusal of something because a stop holds.
func Refused(stop *adminv1.Stop) error {
	return fault.New(faultv1.Reason_REASON_STOPPED, "a stop of the %s holds: %s", stop.GetScope(), stop.GetReason()).
		With("stop_id", stop.GetStopId()).With("stop_reason", stop.GetReason())
}

// Stop stops everything disruptive in a scope and returns whether that is new; repeated, it
// finds the stop in force.
func (s *Service) Stop(ctx context.Context, n store.NewStop) (*adminv1.Stop, bool, error) {
	var stop *adminv1.Stop
	var concerned []store.ClusterOwner
	var fresh bool
	var err error
	for range stopTries {
		err = s.Store.InTx(ctx, func(tx *store.Store) error {
			stop, fresh, err = tx.AddStop(ctx, n)
			if err != nil || !fresh {
				return err
			}
			if concerned, err = tell(ctx, tx, stop, "in_force", n.Actor, "stopped: "+n.Reason); err != nil {
				return err
			}
			return tx.Audit(ctx, store.Act{
				Actor: n.Actor, Action: "stop.create", Customer: n.Customer, Cluster: n.Cluster, Subject: stop.GetStopId(),
				Detail: map[string]any{
					"scope": n.Scope, "reason": n.Reason, "include_interruptions": n.IncludeInterruptions, "drains_cancelled": stop.GetDrainsCancelled(),
				},
			})
		})
		if fault.ReasonOf(err) != faultv1.Reason_REASON_UNAVAILABLE || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return nil, false, err
	}
	if fresh {
		s.Log.WarnContext(ctx, "a stop holds", "stop_id", stop.GetStopId(), "scope", n.Scope, "reason", n.Reason, "by", n.Actor)
		s.wake(ctx, concerned)
	}
	return stop, fresh, nil
}

// Lift ends a stop; repeating it changes nothing. Those of the platform are its staff's to lift.
func (s *Service) Lift(ctx context.Context, id uuid.UUID, customer uuid.NullUUID, actor, reason string) (*adminv1.Stop, error) {
	stop, err := s.Store.Stop(ctx, id, customer)
	if err != nil {
		return nil, err
	}
	if stop.GetScope() == "platform" && customer.Valid {
		return nil, fault.New(faultv1.Reason_REASON_PERMISSION_DENIED, "a stop of the platform is lifted by its staff")
	}
	var concerned []store.ClusterOwner
	lifted := false
	err = s.Store.InTx(ctx, func(tx *store.Store) error {
		stop, lifted, err = tx.LiftStop(ctx, id, actor, reason)
		if err != nil || !lifted {
			return err
		}
		if concerned, err = tell(ctx, tx, stop, "lifted", actor, "lifted: "+orElse(reason, stop.GetReason())); err != nil {
			return err
		}
		return tx.Audit(ctx, store.Act{
			Actor: actor, Action: "stop.lift", Customer: idOf(stop.GetCustomerId()), Cluster: idOf(stop.GetClusterId()), Subject: stop.GetStopId(),
			Detail: map[string]any{"scope": stop.GetScope(), "reason": reason},
		})
	})
	if err != nil {
		return nil, err
	}
	if lifted {
		s.Log.WarnContext(ctx, "a stop was lifted", "stop_id", stop.GetStopId(), "scope", stop.GetScope(), "by", actor)
		s.wake(ctx, concerned)
	}
	return stop, nil
}

// tell the dashboards of a stop, a line for each customer, and return the clusters that it concerns.
func tell(ctx context.Context, tx *store.Store, stop *adminv1.Stop, status, actor, message string) ([]store.ClusterOwner, error) {
	id, err := uuid.Parse(stop.GetStopId())
	if err != nil {
		return nil, fmt.Errorf("reading the id of a stop: %w", err)
	}
	clusters, err := tx.StopClusters(ctx, id)
	if err != nil {
		return nil, err
	}
	severity := "info"
	if status == "in_force" {
		severity = "warning"
	}
	told := map[uuid.UUID]bool{}
	for _, c := range clusters {
		if told[c.Customer] {
			continue
		}
		told[c.Customer] = true
		if err := tx.Tell(ctx, c.Customer, &adminv1.StreamResponse{
			Type: "stop", Status: status, ClusterId: stop.GetClusterId(), Subject: stop.GetStopId(), Actor: actor, Severity: severity, Message: message,
		}); err != nil {
			return nil, err
		}
	}
	return clusters, nil
}

// wake the streams of the agents that have something to hear.
func (s *Service) wake(ctx context.Context, clusters []store.ClusterOwner) {
	for _, c := range clusters {
		s.Dispatch.Announce(ctx, c.Cluster)
	}
}

func idOf(text string) uuid.NullUUID {
	id, err := uuid.Parse(text)
	return uuid.NullUUID{UUID: id, Valid: err == nil}
}

// plain is values as the audit log keeps them.
func plain(values *adminv1.PolicyValues) map[string]any {
	out := map[string]any{}
	raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(values)
	if err == nil {
		err = json.Unmarshal(raw, &out)
	}
	if err != nil {
		return map[string]any{"unreadable": err.Error()}
	}
	return out
}
