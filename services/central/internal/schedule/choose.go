package schedule

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"

	"github.com/cloudoptim/cloudoptim/services/central/internal/guard"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// usuallyReady is how long a workload takes to be ready where its stage does not say, as in ml.
const usuallyReady = 5 * time.Minute

// choose asks ml which workloads sleep, unless something keeps the cluster from being
// put to sleep, which is then returned.
func (s *Service) choose(ctx context.Context, one *store.Schedule) (work []*store.RunWorkload, why string, err error) {
	why, policy, err := s.held(ctx, s.Store, one.Cluster)
	if err != nil || why != "" {
		return nil, why, err
	}
	state, err := s.Store.ClusterState(ctx, one.Cluster, uuid.NullUUID{})
	if err != nil {
		return nil, "", err
	}
	decision, err := s.ask(ctx, state, one.Terms, nil)
	if err != nil {
		return nil, "which workloads sleep cannot be told: " + fault.From(err).Message, nil
	}
	for _, v := range verdicts(decision, policy) {
		if v.GetVerdict() == toSleep {
			work = append(work, toBePut(one.Terms.GetWakeOrder(), store.WorkloadName{Namespace: v.GetNamespace(), Kind: v.GetKind(), Name: v.GetName()}))
		}
	}
	return work, "", nil
}

// ask ml's engine, which knows what may sleep, about a cluster.
func (s *Service) ask(ctx context.Context, state *fleetv1.ClusterState, set *adminv1.Schedule, sleepers []store.Sleeper) (*mlv1.DecisionResponse, error) {
	requirements := &mlv1.ScheduleRequirements{Calendar: set.GetCalendar(), Scope: set.GetScope(), WakeOrder: set.GetWakeOrder()}
	for _, one := range sleepers {
		if one.Replicas > 0 {
			requirements.Sleeping = append(requirements.Sleeping, &mlv1.SleepingWorkload{
				Namespace: one.Namespace, Kind: one.Kind, Name: one.Name, Replicas: one.Replicas,
			})
		}
	}
	raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(requirements)
	if err != nil {
		return nil, fmt.Errorf("encoding a question to ml: %w", err)
	}
	asked := &structpb.Struct{}
	if err := asked.UnmarshalJSON(raw); err != nil {
		return nil, fmt.Errorf("encoding a question to ml: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, decideWithin)
	defer cancel()
	resp, err := s.Decisions.Schedule(ctx, &mlv1.ScheduleRequest{Request: &mlv1.DecisionRequest{
		RequestId: uuid.NewString(), ClusterId: state.GetClusterId(), Timestamp: timestamppb.New(s.Now()), DecisionType: "schedule",
		CurrentState: state, Requirements: asked,
	}})
	return resp.GetDecision(), err
}

// verdicts of ml, without what the agent cannot scale and what a namespace's policy keeps.
func verdicts(decision *mlv1.DecisionResponse, policy *guard.Policy) []*mlv1.WorkloadVerdict {
	all := decision.GetWorkloadVerdicts()
	for _, v := range all {
		if v.GetVerdict() != toSleep {
			continue
		}
		mode, _ := policy.ModeIn(v.GetNamespace())
		switch {
		case v.GetKind() != "Deployment" && v.GetKind() != "StatefulSet":
			v.Verdict, v.Reason, v.Detail = "keep", "not_scalable", v.GetKind()
		case guard.Below(mode, guard.Approve) && !guard.Below(policy.Mode(), guard.Approve):
			v.Verdict, v.Reason, v.Detail = "keep", "protected_namespace", "the policy's mode there is "+mode
		}
	}
	return all
}

// toBePut to sleep, in the reverse of the order that they wake in.
func toBePut(stages []*mlv1.WakeStage, one store.WorkloadName) *store.RunWorkload {
	stage, _ := stageOf(stages, one)
	return &store.RunWorkload{WorkloadName: one, Stage: int32(len(stages)) - stage}
}

// stageOf a workload in the order of waking, and how long it takes to be ready.
func stageOf(stages []*mlv1.WakeStage, one store.WorkloadName) (int32, time.Duration) {
	for i, stage := range stages {
		if !slices.Contains(stage.GetWorkloads(), one.String()) &&
			!slices.Contains(stage.GetWorkloads(), one.Namespace+"/"+one.Kind+"/"+one.Name) {
			continue
		}
		if stage.ReadyMinutes != nil {
			return int32(i), time.Duration(stage.GetReadyMinutes() * float64(time.Minute))
		}
		return int32(i), usuallyReady
	}
	return int32(len(stages)), usuallyReady
}
