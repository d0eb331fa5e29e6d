package schedule

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/guard"
	"github.com/cloudoptim/cloudoptim/services/central/internal/pods"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	week        = 7 * 24 * time.Hour
	inPreview   = 10
	gib         = 1 << 30
	mostUnknown = 10
)

// Preview says what a schedule would do in a cluster, and changes nothing.
func (s *Service) Preview(ctx context.Context, cluster uuid.UUID, set *adminv1.Schedule) (*adminv1.PreviewScheduleResponse, error) {
	p, err := newPlan(&store.Schedule{Terms: set, Enabled: true, Phase: awake})
	if err != nil {
		return nil, err
	}
	state, err := s.Store.ClusterState(ctx, cluster, uuid.NullUUID{})
	if err != nil {
		return nil, err
	}
	layers, err := s.Store.PolicyLayers(ctx, cluster)
	if err != nil {
		return nil, err
	}
	policy, err := guard.Resolve(layers[cluster])
	if err != nil {
		return nil, err
	}
	sleepers, err := s.asleepBy(ctx, cluster, set.GetScheduleId())
	if err != nil {
		return nil, err
	}
	decision, err := s.ask(ctx, state, set, sleepers)
	if err != nil {
		return nil, err
	}
	now := s.Now()
	resp := &adminv1.PreviewScheduleResponse{
		Workloads: verdicts(decision, policy), HoursAsleepPerWeek: rounded(p.asleepIn(now, now.Add(week))), Next: p.next(now, true, inPreview),
	}
	resp.CpuCores, resp.MemoryGb = requests(state, resp.GetWorkloads())
	resp.Warnings = p.warnings(now, resp, decision)
	if guard.Below(policy.Mode(), guard.Approve) {
		resp.Warnings = append(resp.Warnings, fmt.Sprintf("the policy's mode is %s: it would be held", policy.Mode()))
	}
	return resp, nil
}

// asleepBy are the sleepers of the schedule that is previewed, if it exists and is of the cluster.
func (s *Service) asleepBy(ctx context.Context, cluster uuid.UUID, schedule string) ([]store.Sleeper, error) {
	id, err := uuid.Parse(schedule)
	if err != nil {
		return nil, nil //nolint:nilerr // it is new
	}
	one, err := s.Store.Schedule(ctx, id, uuid.NullUUID{})
	if err != nil || one.Cluster != cluster {
		return nil, nil //nolint:nilerr // it need not exist
	}
	return s.Store.Sleepers(ctx, id)
}

// requests of what sleeps, in vCPU and GiB.
func requests(state *fleetv1.ClusterState, all []*mlv1.WorkloadVerdict) (cpu, memory float64) {
	sleeps := map[store.WorkloadName]bool{}
	for _, v := range all {
		if v.GetVerdict() == toSleep {
			sleeps[store.WorkloadName{Namespace: v.GetNamespace(), Kind: v.GetKind(), Name: v.GetName()}] = true
		}
	}
	for _, pod := range state.GetPods() {
		kind, name := pods.Workload(pod)
		if sleeps[store.WorkloadName{Namespace: pod.GetNamespace(), Kind: kind, Name: name}] {
			cpu += float64(pod.GetRequests().GetCpuMillicores()) / 1000
			memory += float64(pod.GetRequests().GetMemoryBytes()) / gib
		}
	}
	return rounded(cpu), rounded(memory)
}

// warnings are what to look at again.
func (p *plan) warnings(now time.Time, resp *adminv1.PreviewScheduleResponse, decision *mlv1.DecisionResponse) []string {
	var out []string
	if at := p.clocksChange(now); !at.IsZero() {
		out = append(out, fmt.Sprintf("the clocks of %s change on %s: the night before is an hour or so longer or shorter",
			p.calendar.Zone(), at.In(p.calendar.Zone()).Format(time.DateOnly)))
	}
	sleeps := 0
	for _, v := range resp.GetWorkloads() {
		if v.GetVerdict() == toSleep {
			sleeps++
		}
	}
	if sleeps == 0 {
		out = append(out, "nothing in the cluster would sleep by it")
	}
	if resp.GetHoursAsleepPerWeek() == 0 {
		out = append(out, "nobody sleeps in the week that begins now: spans and lead_minutes leave no time for it")
	}
	unknown := decision.GetMetadata().GetFields()["unknown_workloads"].GetListValue().GetValues()
	for i, one := range unknown {
		if i == mostUnknown {
			out = append(out, fmt.Sprintf("… and %d more workloads that are not in the cluster", len(unknown)-i))
			break
		}
		out = append(out, fmt.Sprintf("there is no workload %s in the cluster", one.GetStringValue()))
	}
	return out
}

// clocksChange is when the zone's clocks are set next, within what is shown; zero: they are not.
func (p *plan) clocksChange(now time.Time) time.Time {
	if _, end := now.In(p.calendar.Zone()).ZoneBounds(); !end.IsZero() && end.Before(now.Add(ahead)) {
		return end
	}
	return time.Time{}
}

func rounded(v float64) float64 { return math.Round(v*1000) / 1000 }
