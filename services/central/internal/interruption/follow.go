package interruption

import (
	"context"
	"time"

	"github.com/google/uuid"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/cloud"
	"github.com/cloudoptim/cloudoptim/services/central/internal/pods"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	soonAgain = time.Second
	// riskLasts is how long a recommendation counts, if nothing follows.
	riskLasts = 24 * time.Hour
	// replacementJoins is how long a gentle drain waits for the replacement's node.
	replacementJoins = 10 * time.Minute
	// lastCall is when a gentle drain begins although nothing could be launched.
	lastCall = 30 * time.Minute
	// nodeRemains is how long a node may outlive its instance before that is reported.
	nodeRemains = 5 * time.Minute
	// labelWithin is how long the replacement's node is waited for to be labelled.
	labelWithin = 20 * time.Minute
)

// follow does the next step of an interruption and returns when to look again.
func (s *Service) follow(ctx context.Context, id uuid.UUID) (time.Duration, error) {
	i, err := s.Store.Interruption(ctx, id)
	if err != nil || !i.Open() {
		return 0, err
	}
	ctx, span := s.span(ctx, i.Traceparent, "interruption.follow."+i.State, i.InstanceID)
	defer span.End()
	node, err := s.Store.NodeOf(ctx, i.Cluster, i.InstanceID)
	if err != nil {
		return 0, err
	}
	if err := s.welcome(ctx, i); err != nil {
		return 0, err
	}
	if node == nil && i.State != "gone" {
		return soonAgain, s.gone(ctx, i)
	}
	if wait, err := s.standStill(ctx, i); wait > 0 || err != nil {
		return wait, err
	}
	switch i.State {
	case "at_risk":
		return s.atRisk(ctx, i)
	case "draining":
		return s.draining(ctx, i)
	case "drained":
		return s.isDrained(ctx, i)
	default:
		return s.isGone(ctx, i, node)
	}
}

// gone: the node has left the cluster.
func (s *Service) gone(ctx context.Context, i *store.Interruption) error {
	err := s.change(ctx, i.ID, "interruption.node_gone", func(_ *store.Store, i *store.Interruption) (bool, error) {
		if i.State == "gone" {
			return false, nil
		}
		i.State, i.GoneAt, i.Wake = "gone", time.Now(), true
		if i.DrainTask.Valid && i.DrainOutcome == "" {
			i.DrainOutcome = "node_gone"
		}
		return true, nil
	})
	return err
}

// atRisk waits: for something worse, or, before a gentle drain, for the replacement.
func (s *Service) atRisk(ctx context.Context, i *store.Interruption) (time.Duration, error) {
	if i.Urgency == risk {
		if time.Since(i.OpenedAt) < riskLasts {
			return time.Minute, nil
		}
		err := s.change(ctx, i.ID, "interruption.dismissed", func(_ *store.Store, i *store.Interruption) (bool, error) {
			i.State, i.ClosedAt = "dismissed", time.Now()
			return i.Urgency == risk, nil
		})
		return soonAgain, err
	}
	if i.Replacement == "" {
		return soonAgain, s.catchUp(ctx, i)
	}
	ready, err := s.replacementReady(ctx, i)
	if err != nil || !ready {
		return 2 * time.Second, err
	}
	err = s.change(ctx, i.ID, "interruption.draining", func(tx *store.Store, i *store.Interruption) (bool, error) {
		if held, err := s.held(ctx, tx, i.Cluster); err != nil || held {
			return false, err
		}
		return s.drain(ctx, tx, i, i.Urgency, uuid.Nil)
	})
	return soonAgain, err
}

// replacementReady tells whether a gentle drain may begin.
func (s *Service) replacementReady(ctx context.Context, i *store.Interruption) (bool, error) {
	switch i.Replacement {
	case "unneeded":
		return true, nil
	case "failed":
		return i.Deadline.IsZero() || time.Until(i.Deadline) < lastCall, nil
	case "launched":
		node, err := s.Store.NodeOf(ctx, i.Cluster, i.ReplacementInstance)
		return err == nil && (node.GetReady() || time.Since(i.OpenedAt) > replacementJoins), err
	default:
		return false, nil
	}
}

// draining waits for the end of the drain.
func (s *Service) draining(ctx context.Context, i *store.Interruption) (time.Duration, error) {
	if err := s.keepWaiting(ctx, i); err != nil {
		return 0, err
	}
	if i.DrainOutcome != "" && !drained(i) { // it stays cordoned until AWS acts
		return 5 * time.Second, nil
	}
	outcomes, err := s.Store.TaskOutcomes(ctx, []uuid.UUID{i.DrainTask.UUID})
	if err != nil {
		return 0, err
	}
	got := outcomes[i.DrainTask.UUID]
	if !got.Done() {
		return soonAgain, nil
	}
	if cutShort(got) {
		return soonAgain, s.drainAgain(ctx, i)
	}
	outcome, trouble := outcomeOf(got)
	if outcome == "drained" || outcome == "forced" {
		return soonAgain, s.believe(ctx, i, outcome)
	}
	return soonAgain, s.endDrain(ctx, i, outcome, trouble)
}

// believe the agent that the node is empty when the inventory says so too.
func (s *Service) believe(ctx context.Context, i *store.Interruption, outcome string) error {
	left, err := s.occupant(ctx, i)
	switch {
	case err != nil:
		return err
	case left == "":
		return s.endDrain(ctx, i, outcome, "")
	case i.DrainedAt.IsZero() || time.Since(i.DrainedAt) < pods.SettleWithin:
		return s.firstSeenDrained(ctx, i)
	default:
		return s.endDrain(ctx, i, "failed", "pod "+left+" came after the drain")
	}
}

// endDrain notes how the drain ended; one that ended well has emptied the node.
func (s *Service) endDrain(ctx context.Context, i *store.Interruption, outcome, trouble string) error {
	task := i.DrainTask
	return s.change(ctx, i.ID, "interruption.drain_"+outcome, func(_ *store.Store, i *store.Interruption) (bool, error) {
		if i.State != "draining" || i.DrainTask != task {
			return false, nil // a harder drain has begun
		}
		i.DrainOutcome, i.DrainError, i.Wake = outcome, trouble, true
		if drained(i) {
			i.State = "drained"
			if i.DrainedAt.IsZero() {
				i.DrainedAt = time.Now()
			}
			s.emptied.Record(ctx, i.DrainedAt.Sub(i.OpenedAt).Seconds())
		}
		return true, nil
	})
}

// firstSeenDrained notes when the agent's word and the inventory began to differ.
func (s *Service) firstSeenDrained(ctx context.Context, i *store.Interruption) error {
	if !i.DrainedAt.IsZero() {
		return nil
	}
	return s.Store.InTx(ctx, func(tx *store.Store) error {
		i, err := tx.LockInterruption(ctx, i.ID)
		if err != nil {
			return err
		}
		i.DrainedAt = time.Now()
		return tx.SaveInterruption(ctx, i)
	})
}

// occupant is a pod that a drain should have moved and that is still there, or "".
// What the drain saw go is gone, though an inventory that is behind, as it is while
// the agent has no stream, still has it.
func (s *Service) occupant(ctx context.Context, i *store.Interruption) (string, error) {
	there, err := s.Store.PodsOn(ctx, i.Cluster, i.Node)
	if err != nil {
		return "", err
	}
	outcomes, err := s.Store.TaskOutcomes(ctx, []uuid.UUID{i.DrainTask.UUID})
	if err != nil {
		return "", err
	}
	gone := moved(outcomes[i.DrainTask.UUID].Result)
	for _, pod := range there {
		if pods.Movable(pod) && !gone[pod.GetUid()] {
			return pod.GetNamespace() + "/" + pod.GetName(), nil
		}
	}
	return "", nil
}

// isDrained gives the empty instance back, unless AWS stops it only.
func (s *Service) isDrained(ctx context.Context, i *store.Interruption) (time.Duration, error) {
	if i.HookName != "" {
		return 5 * time.Second, s.complete(ctx, i)
	}
	if !i.TerminatedAt.IsZero() || !endsIt(i) {
		return 2 * time.Second, nil
	}
	left, err := s.occupant(ctx, i) // once more: nobody ends a node with pods on it
	if err != nil || left != "" {
		return 2 * time.Second, err
	}
	owner, err := s.Store.Account(ctx, i.Cluster)
	if err != nil {
		return 0, err
	}
	end := s.Cloud.Retire // its group launches another
	if i.Replacement == "launched" {
		end = s.Cloud.Terminate
	}
	if err := end(ctx, account(owner), []string{i.InstanceID}); err != nil {
		return 0, err
	}
	err = s.change(ctx, i.ID, "interruption.terminated", func(_ *store.Store, i *store.Interruption) (bool, error) {
		i.TerminatedAt = time.Now()
		return true, nil
	})
	return soonAgain, err
}

// endsIt tells whether we end the instance: it is replaced, or AWS ends it in a
// moment. One that is stopped or hibernated comes back.
func endsIt(i *store.Interruption) bool {
	if i.Action == "stop" || i.Action == "hibernate" {
		return false
	}
	return i.Urgency >= warned || i.Replacement == "launched"
}

// isGone waits for the node to leave, and closes.
func (s *Service) isGone(ctx context.Context, i *store.Interruption, node *fleetv1.NodeMetric) (time.Duration, error) {
	if i.HookName != "" && i.HookCompletedAt.IsZero() {
		return soonAgain, s.complete(ctx, i)
	}
	if node != nil && time.Since(i.GoneAt) < nodeRemains {
		return 2 * time.Second, nil
	}
	if wait, err := s.unwelcomed(ctx, i); wait || err != nil {
		return 2 * time.Second, err
	}
	if node != nil {
		s.Log.WarnContext(ctx, "the node of an instance that is gone is still in the cluster", "interruption_id", i.ID,
			"instance_id", i.InstanceID, "cluster_id", i.Cluster, "node", i.Node, "gone_for", time.Since(i.GoneAt).Round(time.Second))
	}
	return soonAgain, s.close(ctx, i)
}

// close ends an interruption; nobody has to look at it again.
func (s *Service) close(ctx context.Context, i *store.Interruption) error {
	outcomes, err := s.Store.TaskOutcomes(ctx, []uuid.UUID{i.DrainTask.UUID})
	if err != nil {
		return err
	}
	return s.change(ctx, i.ID, "interruption.closed", func(_ *store.Store, i *store.Interruption) (bool, error) {
		if !i.Open() {
			return false, nil
		}
		if i.DrainTask.Valid && i.DrainOutcome == "" {
			i.DrainOutcome, i.DrainError = "node_gone", ""
			if got := outcomes[i.DrainTask.UUID]; got.Done() {
				i.DrainOutcome, i.DrainError = outcomeOf(got)
			}
		}
		i.ClosedAt = time.Now()
		return true, nil
	})
}

// hook of the group that waits for us.
func hook(i *store.Interruption) cloud.Hook {
	return cloud.Hook{Group: i.HookGroup, Name: i.HookName, Token: i.HookToken, InstanceID: i.InstanceID}
}

// beatEvery keeps a hook waiting: the shortest timeout that one may have is 30 s.
const beatEvery = 12 * time.Second

// keepWaiting asks the group for more time while the drain goes on. When it was
// asked last is in the row, so a restart forgets nothing.
func (s *Service) keepWaiting(ctx context.Context, i *store.Interruption) error {
	if i.HookName == "" || !i.HookCompletedAt.IsZero() || time.Since(i.HookBeatAt) < beatEvery {
		return nil
	}
	if i.DrainOutcome != "" && !drained(i) { // what the drain could not move, no time will
		return s.complete(ctx, i)
	}
	owner, err := s.Store.Account(ctx, i.Cluster)
	if err != nil {
		return err
	}
	waits, err := s.Cloud.KeepWaiting(ctx, account(owner), hook(i))
	if err != nil {
		return err
	}
	if !waits {
		s.Log.WarnContext(ctx, "a group waits no longer", "interruption_id", i.ID, "group", i.HookGroup, "hook", i.HookName)
	}
	return s.Store.InTx(ctx, func(tx *store.Store) error {
		i, err := tx.LockInterruption(ctx, i.ID)
		if err != nil {
			return err
		}
		i.HookBeatAt = time.Now()
		if !waits {
			i.HookBeatAt = time.Now().Add(groupPatience)
		}
		return tx.SaveInterruption(ctx, i)
	})
}

// complete lets the group go on.
func (s *Service) complete(ctx context.Context, i *store.Interruption) error {
	if !i.HookCompletedAt.IsZero() {
		return nil
	}
	owner, err := s.Store.Account(ctx, i.Cluster)
	if err != nil {
		return err
	}
	if err := s.Cloud.Continue(ctx, account(owner), hook(i)); err != nil {
		return err
	}
	err = s.change(ctx, i.ID, "interruption.lifecycle_completed", func(_ *store.Store, i *store.Interruption) (bool, error) {
		i.HookCompletedAt = time.Now()
		return true, nil
	})
	return err
}
