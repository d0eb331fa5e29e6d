package optimize

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// sweepWithin of a disconnection, with a state no older, an instance that was no node then has
// hardly become one with pods on it. Later nobody knows, and what may hold pods is not ended.
const sweepWithin = 15 * time.Second

// Disconnected is why optimizations end when their cluster leaves.
const Disconnected = "the cluster was disconnected"

// Leave cancels what runs in a cluster that tx disconnects. Nothing can be drained or uncordoned
// there any more; a job looks after the instances that have not joined.
func (s *Service) Leave(ctx context.Context, tx *store.Store, cluster uuid.UUID) (ended int, err error) {
	ids, err := tx.LeaveOptimizations(ctx, cluster, Disconnected)
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		if err := s.queue.Enqueue(ctx, tx, sweepJob{OptimizationID: id}); err != nil {
			return 0, err
		}
	}
	return len(ids), nil
}

// sweepJob ends what an optimization had launched for a cluster that left, as far as it is safe.
type sweepJob struct {
	OptimizationID uuid.UUID `json:"optimization_id"`
}

// Kind names the job.
func (sweepJob) Kind() string { return "optimization_sweep" }

type sweeper struct {
	river.WorkerDefaults[sweepJob]
	service *Service
}

// Work waits for the story's last step to end: it may just be launching.
func (w *sweeper) Work(ctx context.Context, job *river.Job[sweepJob]) error {
	id := job.Args.OptimizationID
	locked, err := w.service.Store.Locked(ctx, "optimization:"+id.String(), func() error { return w.service.sweep(ctx, id) })
	if err != nil {
		return fmt.Errorf("sweeping after optimization %s: %w", id, err)
	}
	if !locked {
		return river.JobSnooze(time.Second)
	}
	return nil
}

// sweep ends the launched instances that are no nodes yet, and says what is left to people.
func (s *Service) sweep(ctx context.Context, id uuid.UUID) error {
	left, err := s.Store.Leftovers(ctx, id)
	if err != nil || left == nil {
		return err
	}
	story, err := s.Store.Story(ctx, id)
	if err != nil {
		return err
	}
	r, err := s.load(ctx, story)
	if err != nil {
		return err
	}
	end, keep, err := r.leftRunning(ctx, left)
	if err != nil {
		return err
	}
	if len(end) > 0 {
		if err := s.Cloud.Terminate(ctx, r.aws(), end); err != nil {
			return err
		}
	}
	message := remark(end, keep, left.Cordoned)
	return s.Store.InTx(ctx, func(tx *store.Store) error {
		if err := tx.RemarkOptimization(ctx, id, message); err != nil {
			return err
		}
		return tx.Tell(ctx, r.account.CustomerID, &adminv1.StreamResponse{
			Type: "optimization_complete", Status: "failed", Message: message, ClusterId: story.Cluster.String(), OptimizationId: id.String(),
		})
	})
}

// leftRunning are the launched instances that can be ended, and those that are kept: nodes, and what may be one by now.
func (r *run) leftRunning(ctx context.Context, left *store.Leftovers) (end, keep []string, err error) {
	launched, err := r.allLaunched(ctx)
	if err != nil {
		return nil, nil, err
	}
	joined, err := r.Store.LaunchedNodes(ctx, r.story.ID)
	if err != nil {
		return nil, nil, err
	}
	known := left.StateAge <= sweepWithin && time.Since(left.DisconnectedAt) <= sweepWithin
	for _, instance := range launched {
		node := slices.IndexFunc(joined, func(n store.LaunchedNode) bool { return n.InstanceID == instance })
		switch {
		case node >= 0:
			keep = append(keep, instance+" (node "+joined[node].Name+")")
		case known:
			end = append(end, instance)
		default:
			keep = append(keep, instance)
		}
	}
	return end, keep, nil
}

// allLaunched are the launched instances. Those whose answer was lost are written down first: once
// they are ended, EC2 does not name them any more.
func (r *run) allLaunched(ctx context.Context) ([]string, error) {
	launches, err := r.Store.Launches(ctx, r.story.ID)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, l := range launches {
		if l.Status == "pending" {
			if l.InstanceIDs, err = r.Cloud.Launched(ctx, r.aws(), l.ClientToken); err != nil {
				return nil, err
			}
			if len(l.InstanceIDs) > 0 {
				l.Status = "launched"
				if err := r.Store.SetLaunch(ctx, r.story.ID, l); err != nil {
					return nil, err
				}
			}
		}
		ids = append(ids, l.InstanceIDs...)
	}
	return ids, nil
}

func remark(ended, running, cordoned []string) string {
	out := Disconnected
	for _, part := range []struct {
		what  string
		names []string
	}{
		{"launched instances that had not joined were ended", ended},
		{"launched instances are still running", running},
		{"nodes are still cordoned", cordoned},
	} {
		if len(part.names) > 0 {
			out += "; " + part.what + ": " + strings.Join(part.names, ", ")
		}
	}
	return out
}
