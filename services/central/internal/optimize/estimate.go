package optimize

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
)

// Estimate says what each engine would save in a cluster of the customer's, by the newest
// dry runs. Those that are older than an hour are made anew meanwhile.
func (s *Service) Estimate(ctx context.Context, cluster uuid.UUID, customer uuid.NullUUID) (*adminv1.GetClusterEstimateResponse, error) {
	state, err := s.Store.ClusterState(ctx, cluster, customer)
	if err != nil {
		return nil, err
	}
	runs, err := s.Store.LastDryRuns(ctx, cluster)
	if err != nil {
		return nil, err
	}
	out := &adminv1.GetClusterEstimateResponse{CurrentCostPerHour: state.GetCurrentCostPerHour()}
	latest := map[string]*adminv1.Optimization{}
	for _, run := range runs { // the newest first
		if latest[run.GetOptimizationType()] == nil {
			latest[run.GetOptimizationType()] = run
		}
		if run.GetStatus() == "completed" {
			out.Estimates = append(out.Estimates, run)
			out.BestSavingsPerMonth = max(out.BestSavingsPerMonth, run.GetEstimatedSavings())
		}
	}
	switch unknown := unpriced(state); {
	case state.GetLastUpdated() == nil || len(state.GetNodes()) == 0:
		out.Status, out.Message = "waiting_for_agent", "the agent of this cluster has not reported yet"
		return out, nil
	case unknown > 0 && len(out.GetEstimates()) == 0:
		out.Status, out.Message = "waiting_for_prices", fmt.Sprintf("the prices of %d of %d nodes are not known yet", unknown, len(state.GetNodes()))
		return out, nil
	}
	judgeEstimate(out, latest)
	if stale(latest) {
		if err := s.estimate(ctx, cluster, estimateFresh); err != nil {
			s.Log.WarnContext(ctx, "making an estimate", "cluster_id", cluster, "error", err)
		}
	}
	return out, nil
}

// judgeEstimate says how far the estimates are.
func judgeEstimate(out *adminv1.GetClusterEstimateResponse, latest map[string]*adminv1.Optimization) {
	var running, failure string
	for _, engine := range runnable {
		switch run := latest[engine]; run.GetStatus() {
		case "completed":
		case "failed", "cancelled":
			failure = orElse(failure, engine+": "+run.GetErrorMessage())
		default:
			running = orElse(running, engine+" is being planned")
		}
	}
	switch {
	case len(out.GetEstimates()) == len(runnable):
		out.Status = "ready"
	case running != "":
		out.Status, out.Message = "planning", running
	case len(out.GetEstimates()) > 0:
		out.Status, out.Message = "ready", failure
	default:
		out.Status, out.Message = "failed", failure
	}
}

// stale tells whether an estimate is missing or older than an hour.
func stale(latest map[string]*adminv1.Optimization) bool {
	for _, engine := range runnable {
		if run := latest[engine]; run == nil || time.Since(run.GetCreatedAt().AsTime()) > estimateFresh {
			return true
		}
	}
	return false
}
