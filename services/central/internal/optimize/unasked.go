package optimize

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"

	"github.com/cloudoptim/cloudoptim/services/central/internal/guard"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// Who asks when nobody does.
const (
	byPolicy   = "policy"
	byEstimate = "estimate"
)

const (
	// planLookEvery is how often it is looked for clusters whose plan is due.
	planLookEvery = 5 * time.Second
	planPage      = 200
	// estimateEvery is how old an estimate gets by itself, estimateFresh when it is asked for;
	// one that failed is made again sooner.
	estimateEvery = 24 * time.Hour
	estimateFresh = time.Hour
	estimateAgain = 10 * time.Minute
	// estimatesAtOnce bounds how many clusters get one in a round: ml is needed for more.
	estimatesAtOnce = 2
)

// planUnasked begins the plans of a page of clusters whose policy has them due. One replica
// does it at a time; should two, the row of the round lets one begin.
func (s *Service) planUnasked(ctx context.Context) error {
	mine, err := s.Store.TakeTurn(ctx, "policy plans", planLookEvery-time.Second)
	if err != nil || !mine {
		return err
	}
	clusters, err := s.Store.PlanCandidates(ctx, s.plannedTo, planPage)
	if err != nil {
		return err
	}
	s.plannedTo = uuid.Nil
	if len(clusters) == planPage {
		s.plannedTo = clusters[len(clusters)-1]
	}
	policies, err := guard.Policies(ctx, s.Store, clusters...)
	if err != nil {
		return err
	}
	began, err := s.Store.PlanRounds(ctx, byPolicy, clusters)
	if err != nil {
		return err
	}
	for _, cluster := range clusters {
		for _, engine := range policies[cluster].Values.GetEngines().GetNames() {
			last, planned := began[store.PlanRound{Cluster: cluster, Engine: engine}]
			if planned && time.Since(last) < policies[cluster].PlanEvery() {
				continue
			}
			err = errors.Join(err, s.planFor(ctx, cluster, engine, policies[cluster]))
		}
	}
	return err
}

// planFor begins a plan that nobody asked for, if it may come to something now.
func (s *Service) planFor(ctx context.Context, cluster uuid.UUID, engine string, policy *guard.Policy) error {
	if policy.Mode() == guard.Automatic { // what would only wait, would keep others from running
		view, err := guard.Look(ctx, s.Store, cluster)
		if err != nil || view.May(guard.Act{}) != nil {
			return err
		}
	}
	return s.unasked(ctx, cluster, engine, byPolicy, policy.PlanEvery())
}

// unasked begins a story on behalf of nobody, unless one was begun within every.
func (s *Service) unasked(ctx context.Context, cluster uuid.UUID, engine, purpose string, every time.Duration) error {
	_, err := s.start(ctx, beginning{
		cluster: cluster, actor: purpose,
		req: &adminv1.TriggerOptimizationRequest{ClusterId: cluster.String(), OptimizationType: engine, DryRun: purpose == byEstimate},
		take: func(ctx context.Context, tx *store.Store) (bool, error) {
			return tx.TakePlanRound(ctx, cluster, purpose, engine, every)
		},
	})
	switch fault.ReasonOf(err) {
	case faultv1.Reason_REASON_OPTIMIZATION_RUNNING, faultv1.Reason_REASON_STALE_STATE, faultv1.Reason_REASON_AGENT_OFFLINE,
		faultv1.Reason_REASON_INFEASIBLE, faultv1.Reason_REASON_NOT_FOUND:
		return nil // it stays due
	default:
		return err
	}
}

// estimateUnasked begins the estimates of clusters that have none, or old ones.
func (s *Service) estimateUnasked(ctx context.Context) error {
	mine, err := s.Store.TakeTurn(ctx, "estimates", aliveEvery-500*time.Millisecond)
	if err != nil || !mine {
		return err
	}
	clusters, err := s.Store.DuePlanRounds(ctx, byEstimate, len(runnable), estimateEvery, estimatesAtOnce)
	for _, cluster := range clusters {
		err = errors.Join(err, s.estimate(ctx, cluster, estimateEvery))
	}
	return err
}

// estimate begins a dry run of each engine, unless that was done within every.
func (s *Service) estimate(ctx context.Context, cluster uuid.UUID, every time.Duration) error {
	var all error
	for _, engine := range runnable {
		all = errors.Join(all, s.unasked(ctx, cluster, engine, byEstimate, every))
	}
	return all
}

// remember brings snoozed plans back, and ends those that nobody decided upon.
func (s *Service) remember(ctx context.Context) error {
	mine, err := s.Store.TakeTurn(ctx, "undecided plans", aliveEvery-500*time.Millisecond)
	if err != nil || !mine {
		return err
	}
	return s.Store.InTx(ctx, func(tx *store.Store) error {
		var news []*adminv1.StreamResponse
		back, err := tx.EndSnoozes(ctx, awaitFor)
		if err != nil {
			return err
		}
		for id, cluster := range back {
			news = append(news, &adminv1.StreamResponse{
				Type: "optimization_waiting", Status: guard.ForApproval, Message: "it is no longer snoozed", ClusterId: cluster.String(),
				OptimizationId: id.String(), Severity: "info",
			})
		}
		expired, err := tx.ExpiredPlans(ctx)
		if err != nil {
			return err
		}
		dropped, err := tx.DropPlans(ctx, expired, "expired", "nobody decided on its plan within 7 days", store.Verdict{})
		if err != nil {
			return err
		}
		for id, cluster := range dropped {
			news = append(news, &adminv1.StreamResponse{
				Type: "optimization_decided", Status: "expired", Message: "nobody decided on its plan within 7 days", ClusterId: cluster.String(),
				OptimizationId: id.String(), Severity: "info",
			})
		}
		return noteAll(ctx, tx, news)
	})
}

// noteAll tells and audits what happened to plans by itself.
func noteAll(ctx context.Context, tx *store.Store, news []*adminv1.StreamResponse) error {
	for _, one := range news {
		cluster, err := uuid.Parse(one.GetClusterId())
		if err != nil {
			return err
		}
		owner, err := tx.CustomerOf(ctx, cluster)
		if err != nil {
			return err
		}
		if err := tx.Tell(ctx, owner, one); err != nil {
			return err
		}
		action := "optimization.expired"
		if one.GetStatus() == guard.ForApproval {
			action = "optimization.snooze_ended"
		}
		err = tx.Audit(ctx, store.Act{
			Actor: "optimizer_service", Action: action, Subject: one.GetOptimizationId(), Customer: some(owner), Cluster: some(cluster),
		})
		if err != nil {
			return err
		}
	}
	return nil
}
