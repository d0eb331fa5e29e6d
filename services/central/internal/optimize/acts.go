package optimize

import (
	"context"

	"github.com/google/uuid"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// actor is who stories act as.
const actor = "optimizer_service"

// audit writes a line about something that the story did. What agents are told to do is audited with
// the tasks themselves.
func (r *run) audit(ctx context.Context, tx *store.Store, action string, detail map[string]any) error {
	return tx.Audit(ctx, store.Act{
		Actor: actor, Action: "optimization." + action, Subject: r.story.ID.String(), Detail: detail,
		Customer: uuid.NullUUID{UUID: r.account.CustomerID, Valid: true}, Cluster: uuid.NullUUID{UUID: r.story.Cluster, Valid: true},
	})
}

// noteLaunch is setLaunch in a transaction of its own.
func (r *run) noteLaunch(ctx context.Context, l store.Launch) error {
	return r.Store.InTx(ctx, func(tx *store.Store) error { return r.setLaunch(ctx, tx, l) })
}

// setLaunch notes what became of a launch, for people as well.
func (r *run) setLaunch(ctx context.Context, tx *store.Store, l store.Launch) error {
	if err := tx.SetLaunch(ctx, r.story.ID, l); err != nil {
		return err
	}
	action := "launched"
	if l.Status == "failed" {
		action = "launch_failed"
	}
	return r.audit(ctx, tx, action, map[string]any{
		"instance_type": l.InstanceType, "availability_zone": l.Zone, "node_type": l.NodeType, "node_count": l.Count,
		"hourly_price": l.HourlyPrice, "instance_ids": l.InstanceIDs, "error": l.Error,
	})
}

// noteTerminated notes that EC2 was asked to end instances.
func (r *run) noteTerminated(ctx context.Context, ids, nodes []string) error {
	return r.Store.InTx(ctx, func(tx *store.Store) error {
		if err := tx.SetReplaced(ctx, r.story.ID, "terminated", "", nodes...); err != nil {
			return err
		}
		return r.audit(ctx, tx, "terminated", map[string]any{"instance_ids": ids, "nodes": nodes})
	})
}
