package interruption

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river"

	"github.com/cloudoptim/cloudoptim/services/central/internal/cloud"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	// replaceLease is how long a job may be at a replacement before another takes
	// it over: a replica that dies must not cost half of the notice.
	replaceLease = 15 * time.Second
	// replaceOnce bounds one run of a job, below the lease.
	replaceOnce  = 12 * time.Second
	replacePause = 2 * time.Second
	// maxAttempts bounds the pools that are tried.
	maxAttempts = 12
	// replaceFor is how long launching is tried at all.
	replaceFor = 10 * time.Minute
	// refusedFor is how long a pool is left alone that had nothing, or took an instance back.
	refusedFor = 15 * time.Minute
)

// replaceJob launches an instance in place of the interrupted one.
type replaceJob struct {
	InterruptionID uuid.UUID `json:"interruption_id"`
}

// Kind names the job.
func (replaceJob) Kind() string { return "interruption_replacement" }

// InsertOpts keep it apart from jobs that are in no hurry.
func (replaceJob) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: store.UrgentJobs} }

type replacer struct {
	river.WorkerDefaults[replaceJob]
	service *Service
}

// Work tries once, and comes back later when that passes.
func (w *replacer) Work(ctx context.Context, job *river.Job[replaceJob]) error {
	if again := w.service.replaceNow(ctx, job.Args.InterruptionID); again > 0 {
		return river.JobSnooze(again)
	}
	return nil
}

// replaceNow launches the replacement, unless another job is at it. It returns
// when to try again; 0: not at all.
func (s *Service) replaceNow(ctx context.Context, id uuid.UUID) time.Duration {
	s.first.yield(ctx)
	mine, err := s.Store.ClaimReplacement(ctx, id, replaceLease)
	if err != nil {
		s.Log.WarnContext(ctx, "claiming a replacement", "interruption_id", id, "error", err)
		return replacePause
	}
	if !mine {
		return 0 // the one that has it goes on; should it die, the sweep starts another
	}
	i, err := s.Store.Interruption(ctx, id)
	if err == nil {
		held, unknown := s.held(ctx, s.Store, i.Cluster)
		if held {
			s.delay(ctx, id)
			return replacePause
		}
		err = unknown
	}
	if err == nil {
		spanned, span := s.span(ctx, i.Traceparent, "interruption.replace", i.InstanceID)
		defer span.End()
		bounded, cancel := context.WithTimeout(spanned, replaceOnce)
		err = s.replace(bounded, i)
		cancel()
	}
	if err == nil {
		return 0
	}
	s.Log.WarnContext(ctx, "launching a replacement; it is tried again", "interruption_id", id, "error", err)
	if i != nil && time.Since(i.OpenedAt) > replaceFor {
		if err := s.replaced(ctx, i, "failed", "", store.Attempt{}, err.Error()); err == nil {
			return 0
		}
	}
	s.delay(ctx, id)
	return replacePause
}

// delay a replacement a little: the lease of this run is over in any case; without the
// row, the sweep finds it.
func (s *Service) delay(ctx context.Context, id uuid.UUID) {
	if err := s.Store.DelayReplacement(context.WithoutCancel(ctx), id, replacePause-time.Second); err != nil {
		s.Log.WarnContext(ctx, "delaying a replacement", "interruption_id", id, "error", err)
	}
}

// replace decides whether a replacement is needed, and launches it.
func (s *Service) replace(ctx context.Context, i *store.Interruption) error {
	owner, err := s.Store.Account(ctx, i.Cluster)
	if err != nil {
		return err
	}
	attempts, err := s.Store.Attempts(ctx, i.ID)
	if err != nil {
		return err
	}
	needed, err := s.need(ctx, i)
	if err != nil {
		return err
	}
	if len(attempts) == 0 { // once begun, it is seen through: what was asked for may run already
		why, err := s.unneeded(ctx, i, owner, needed)
		if err != nil {
			return err
		}
		if why != "" {
			return s.replaced(ctx, i, "unneeded", "", store.Attempt{}, why)
		}
	}
	return s.launch(ctx, i, owner, needed, attempts)
}

// lateAfter is when pods may have moved before the replacement was looked for, as
// happens when the replica that was at it has died.
const lateAfter = 3 * time.Second

// need is what the pods on the node ask for, and when it is late, also those that
// the drain has left without a place; then not more than a node of its type has,
// as far as one is known: one node is replaced by one.
func (s *Service) need(ctx context.Context, i *store.Interruption) (need, error) {
	there, err := s.Store.PodsOn(ctx, i.Cluster, i.Node)
	if err != nil || time.Since(i.OpenedAt) < lateAfter {
		return needOf(there), err
	}
	homeless, err := s.Store.HomelessPods(ctx, i.Cluster)
	if err != nil {
		return need{}, err
	}
	state, err := s.glances.state(ctx, i.Cluster)
	if err != nil {
		return need{}, err
	}
	needed := needOf(append(there, homeless...))
	for _, node := range state.GetNodes() {
		if node.GetInstanceType() == i.InstanceType {
			needed.cpu, needed.memory = min(needed.cpu, node.GetCpuAllocatable()), min(needed.memory, node.GetMemoryAllocatableGb())
		}
	}
	return needed, nil
}

// unneeded says why nothing needs to be launched, or "".
func (s *Service) unneeded(ctx context.Context, i *store.Interruption, owner *store.Account, needed need) (string, error) {
	if needed.pods == 0 {
		return "no pod needs a place", nil
	}
	// A group would launch another only when this one is gone, and its pods wait for
	// minutes; so where we may launch, we do, and the group becomes smaller by one.
	if owner.LaunchTemplateID != "" && len(owner.SubnetIDs) > 0 {
		return "", nil
	}
	node, err := s.Store.NodeOf(ctx, i.Cluster, i.InstanceID)
	if err != nil {
		return "", err
	}
	if node.GetLabels()["eks.amazonaws.com/nodegroup"] != "" {
		return leftToGroup, nil
	}
	asking, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	found, err := s.census.look(asking, cloud.Account{Region: owner.Region, RoleARN: owner.RoleARN, ExternalID: owner.ExternalID}, []string{i.InstanceID})
	if err != nil {
		s.Log.WarnContext(ctx, "looking for the group of an instance", "instance_id", i.InstanceID, "error", err)
	} else if found[i.InstanceID].Group() != "" {
		return leftToGroup, nil
	}
	return "the cluster has no launch settings", nil
}

// launch tries one pool after the other until one has an instance.
func (s *Service) launch(ctx context.Context, i *store.Interruption, owner *store.Account, needed need, attempts []store.Attempt) error {
	var pools []store.Pool
	for {
		last := "failed"
		if n := len(attempts); n > 0 {
			last = attempts[n-1].Status
		}
		switch last {
		case "launched":
			done := attempts[len(attempts)-1]
			return s.replaced(ctx, i, "launched", done.InstanceID, done, "")
		case "failed":
			var err error
			if pools == nil {
				pools, err = s.pools(ctx, i, owner, needed)
			}
			if err != nil {
				return err
			}
			next, ok := untried(pools, attempts)
			if !ok {
				return s.replaced(ctx, i, "failed", "", store.Attempt{}, fmt.Sprintf("no capacity in %d pools", len(attempts)))
			}
			if attempts, err = s.attempt(ctx, i, len(attempts), next); err != nil {
				return err
			}
		}
		var err error
		if attempts, err = s.try(ctx, i, owner, attempts); err != nil {
			return err
		}
	}
}

// attempt writes what will be tried. What is written counts, be it of another job
// that came first.
func (s *Service) attempt(ctx context.Context, i *store.Interruption, number int, pool store.Pool) ([]store.Attempt, error) {
	err := s.Store.AddAttempt(ctx, i.ID, store.Attempt{
		Number: number, ClientToken: token(i.ID, number), InstanceType: pool.InstanceType, Zone: pool.Zone, NodeType: pool.NodeType,
	})
	if err != nil {
		return nil, err
	}
	return s.Store.Attempts(ctx, i.ID)
}

// token names an attempt for EC2: derived, so that a crash cannot make another.
func token(id uuid.UUID, attempt int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "interruption/%s/%d", id, attempt))
	return "co-" + hex.EncodeToString(sum[:20])
}

// try makes the last attempt, if it is still pending.
func (s *Service) try(ctx context.Context, i *store.Interruption, owner *store.Account, attempts []store.Attempt) ([]store.Attempt, error) {
	a := &attempts[len(attempts)-1]
	if a.Status != "pending" {
		return attempts, nil
	}
	ids, err := s.Cloud.Launch(ctx, account(owner), cloud.Request{
		ClientToken: a.ClientToken, LaunchTemplateID: owner.LaunchTemplateID, SubnetID: owner.SubnetIDs[a.Zone],
		InstanceType: a.InstanceType, Count: 1, Spot: a.NodeType == "spot",
		Tags: map[string]string{cloud.ClusterTag: i.Cluster.String(), "cloudoptim:interruption-id": i.ID.String(), "cloudoptim:replaces": i.InstanceID},
	})
	var capacity *cloud.CapacityError
	switch {
	case err == nil && len(ids) > 0:
		a.Status, a.InstanceID = "launched", ids[0]
	case errors.As(err, &capacity):
		a.Status, a.Error = "failed", capacity.Code
		pool := store.Pool{InstanceType: a.InstanceType, Zone: a.Zone, NodeType: a.NodeType}
		s.Log.WarnContext(ctx, "a pool has no capacity", "interruption_id", i.ID, "pool", pool.String(), "code", capacity.Code)
		err := s.Store.RefusePool(ctx, store.Refusal{Account: owner.RoleARN, Region: owner.Region, Pool: pool, Reason: capacity.Code}, refusedFor)
		if err != nil {
			return nil, err
		}
	case err == nil:
		return nil, fmt.Errorf("launching a %s: EC2 answered with no instance", a.InstanceType)
	default:
		return nil, err
	}
	return attempts, s.Store.SetAttempt(ctx, i.ID, *a)
}

// untried is the next pool; false: none is left, or enough were tried.
func untried(pools []store.Pool, attempts []store.Attempt) (store.Pool, bool) {
	if len(attempts) >= maxAttempts {
		return store.Pool{}, false
	}
	for _, pool := range pools {
		tried := false
		for _, a := range attempts {
			tried = tried || pool == store.Pool{InstanceType: a.InstanceType, Zone: a.Zone, NodeType: a.NodeType}
		}
		if !tried {
			return pool, true
		}
	}
	return store.Pool{}, false
}

// replaced ends the search.
func (s *Service) replaced(ctx context.Context, i *store.Interruption, status, instance string, a store.Attempt, note string) error {
	err := s.change(ctx, i.ID, "interruption.replacement_"+status, func(_ *store.Store, i *store.Interruption) (bool, error) {
		if i.Replacement != "pending" {
			return false, nil
		}
		i.Replacement, i.ReplacementNote, i.ReplacementInstance = status, note, instance
		if instance != "" {
			i.ReplacementPool = store.Pool{InstanceType: a.InstanceType, Zone: a.Zone, NodeType: a.NodeType}.String()
		}
		i.Wake = true
		return true, nil
	})
	return err
}

// avoid leaves the pools alone that take instances back: others will follow. That
// is a hint, written after what it follows from: many batches at once write the
// same few rows, and within their transactions would wait for each other.
func (s *Service) avoid(ctx context.Context, warned []*store.Interruption) {
	seen := map[lostPool]bool{}
	for _, i := range warned {
		lost := lostPool{i.Cluster, store.Pool{InstanceType: i.InstanceType, Zone: i.Zone, NodeType: i.NodeType}}
		if i.NodeType != "spot" || i.InstanceType == "" || i.Zone == "" || seen[lost] {
			continue
		}
		seen[lost] = true
		if err := s.refuse(ctx, lost); err != nil {
			s.Log.WarnContext(ctx, "remembering a pool that takes instances back", "instance_id", i.InstanceID, "error", err)
		}
	}
}

// lostPool takes instances of a cluster back.
type lostPool struct {
	cluster uuid.UUID
	pool    store.Pool
}

func (s *Service) refuse(ctx context.Context, lost lostPool) error {
	owner, err := s.Store.Account(ctx, lost.cluster)
	if err != nil {
		return err
	}
	return s.Store.RefusePool(ctx, store.Refusal{Account: owner.RoleARN, Region: owner.Region, Pool: lost.pool, Reason: "interrupted"}, refusedFor)
}
