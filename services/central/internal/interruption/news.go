package interruption

import (
	"context"
	"strings"

	"github.com/google/uuid"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// leftToGroup: the instance's Auto Scaling group launches another.
const leftToGroup = "left_to_group"

// words is spot_events.action_taken: what was done so far, separated by ", ".
// The vocabulary is in the README; "recorded" and "ended_by_optimization" stand
// for events that start no interruption.
func words(i *store.Interruption) string {
	var out []string
	say := func(when bool, word string) {
		if when {
			out = append(out, word)
		}
	}
	say(i.State == "at_risk" && i.Urgency == risk, "at_risk")
	say(i.State == "dismissed", "dismissed")
	say(i.DrainTask.Valid && i.DrainOutcome == "", "draining")
	say(i.DrainOutcome == "drained", "drained")
	say(i.DrainOutcome == "forced", "drained_forced")
	say(i.DrainOutcome == "blocked", "drain_blocked")
	say(i.DrainOutcome == "failed", "drain_failed")
	say(i.DrainOutcome == "node_gone", "node_gone")
	say(i.Replacement == "pending", "replacement_pending")
	say(i.Replacement == "launched", "replacement_launched")
	say(i.Replacement == "failed", "replacement_failed")
	say(i.Replacement == "unneeded" && i.ReplacementNote == leftToGroup, leftToGroup)
	say(i.Replacement == "unneeded" && i.ReplacementNote != leftToGroup, "replacement_unneeded")
	say(!i.HookCompletedAt.IsZero(), "lifecycle_completed")
	say(!i.TerminatedAt.IsZero(), "terminated")
	say(i.State == "gone", "gone")
	return strings.Join(out, ", ")
}

// tell writes the event for the dashboards, as it is in the transaction.
func tell(ctx context.Context, tx *store.Store, i *store.Interruption, customer uuid.UUID) error {
	event, err := tx.SpotEventOf(ctx, i.ID)
	if err != nil || event == nil {
		return err
	}
	return tx.Tell(ctx, customer, &adminv1.StreamResponse{
		Type: "spot_event", ClusterId: i.Cluster.String(), Status: i.State, SpotEvent: event, Message: "node " + i.Node + ": " + words(i),
	})
}

func (s *Service) audit(ctx context.Context, tx *store.Store, i *store.Interruption, customer uuid.UUID, action string, detail map[string]any) error {
	detail["node"], detail["interruption_id"], detail["status"] = i.Node, i.ID.String(), i.State
	s.Log.InfoContext(ctx, action, "interruption_id", i.ID, "instance_id", i.InstanceID, "cluster_id", i.Cluster, "node", i.Node,
		"state", i.State, "action_taken", words(i), "drain_error", i.DrainError, "replacement", i.ReplacementInstance)
	return tx.Audit(ctx, store.Act{
		Actor: actor, Action: action, Subject: i.InstanceID, Customer: uuid.NullUUID{UUID: customer, Valid: true},
		Cluster: uuid.NullUUID{UUID: i.Cluster, Valid: true}, Detail: detail,
	})
}

// tellAll tells of the interruptions that notices have changed, each as it is when all is heard.
func tellAll(ctx context.Context, tx *store.Store, changed []*store.Interruption, all []heard) error {
	owners := make(map[uuid.UUID]uuid.UUID, len(all))
	for _, h := range all {
		owners[h.owner.Cluster] = h.owner.Customer
	}
	for _, i := range changed {
		if err := tell(ctx, tx, i, owners[i.Cluster]); err != nil {
			return err
		}
	}
	return nil
}

// change writes a step of an interruption: what fn does to the row, an audit line,
// the events' rows and the dashboards' line, in one transaction. fn returns false to
// leave everything as it is.
func (s *Service) change(ctx context.Context, id uuid.UUID, action string, fn func(tx *store.Store, i *store.Interruption) (bool, error)) error {
	var changed *store.Interruption
	err := s.Store.InTx(ctx, func(tx *store.Store) error {
		changed = nil
		// First of all: who has the row locked, must not wait for a stop.
		if err := tx.BarStops(ctx); err != nil {
			return err
		}
		i, err := tx.LockInterruption(ctx, id)
		if err != nil {
			return err
		}
		if done, err := fn(tx, i); err != nil || !done {
			return err
		}
		if err := tx.SaveInterruption(ctx, i); err != nil {
			return err
		}
		if err := tx.ActOn(ctx, i.ID, i.State, words(i), i.ReplacementInstance); err != nil {
			return err
		}
		customer, err := tx.CustomerOf(ctx, i.Cluster)
		if err != nil {
			return err
		}
		if err := tell(ctx, tx, i, customer); err != nil {
			return err
		}
		changed = i
		return s.audit(ctx, tx, i, customer, action, map[string]any{"action_taken": words(i), "trouble": trouble(i)})
	})
	if err != nil || changed == nil {
		return err
	}
	s.Dispatch.Announce(ctx, changed.Cluster)
	return nil
}

// trouble is what did not go as it should.
func trouble(i *store.Interruption) string {
	if i.Replacement == "failed" {
		return strings.Trim(i.DrainError+"; "+i.ReplacementNote, "; ")
	}
	return i.DrainError
}
