package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"

	"github.com/cloudoptim/cloudoptim/services/lab/stage"
)

const (
	decisionWithin = 15 * time.Minute
	// perQuestion bounds the calls of one kind: slow engines are asked less often.
	perQuestion    = 20 * time.Second
	mostQuestions  = 1000
	leastQuestions = 20
	askers         = 2
)

// question is one RPC of ml, asked as central asks it.
type question struct {
	name string
	ask  func(ctx context.Context) error
}

// decision asks a running ml about a cluster that really runs on the stage, and
// times the answers through gRPC.
func (b *bench) decision(ctx context.Context) error {
	dir, remove, err := scratch()
	if err != nil {
		return err
	}
	defer remove()
	ctx, cancel := context.WithTimeout(ctx, decisionWithin)
	defer cancel()
	s, err := stage.Up(ctx, stage.Options{
		Bin: filepath.Join(b.root, "bin"), Source: b.root, Dir: dir,
		LabArgs: []string{"--nodes", fmt.Sprint(b.nodes), "--pods", fmt.Sprint(b.pods), "--seed", "1"},
		Say:     func(format string, args ...any) { fmt.Printf(format+"\n", args...) },
	})
	if err != nil {
		return err
	}
	defer s.Down()
	state, err := clusterState(ctx, s)
	if err != nil {
		return err
	}
	conn, err := rpc.Dial(s.Addr("ml.grpc"), rpc.DialConfig{APIKey: s.MLKey()})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	for _, q := range questions(state, mlv1.NewDecisionServiceClient(conn), mlv1.NewPredictionServiceClient(conn), mlv1.NewMarketServiceClient(conn)) {
		if err := b.answers(ctx, q); err != nil {
			return fmt.Errorf("asking %s: %w", q.name, err)
		}
	}
	return nil
}

func clusterState(ctx context.Context, s *stage.Stage) (*fleetv1.ClusterState, error) {
	conn, err := rpc.Dial(s.Addr("central.grpc"), rpc.DialConfig{APIKey: s.Admin.Key})
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	resp, err := adminv1.NewAdminServiceClient(conn).GetClusterState(ctx, &adminv1.GetClusterStateRequest{ClusterId: s.ClusterID})
	return resp.GetState(), err
}

// answers times one question: alone, for the latencies, and by askers at once, for the rate.
func (b *bench) answers(ctx context.Context, q question) error {
	for range 3 {
		if err := q.ask(ctx); err != nil {
			return err
		}
	}
	var took []time.Duration
	for began := time.Now(); len(took) < leastQuestions || len(took) < mostQuestions && time.Since(began) < perQuestion; {
		one := timed(func() error { return q.ask(ctx) })()
		if one.err != nil {
			return one.err
		}
		took = append(took, one.took)
	}
	rate, err := atOnce(ctx, q)
	if err != nil {
		return err
	}
	b.note("decision.p50_ms."+q.name, millis(percentile(took, 50)), "ms", nil, "")
	b.note("decision.p99_ms."+q.name, millis(percentile(took, 99)), "ms", nil, "decision.p99_ms.list_prices")
	b.note("decision.per_second."+q.name, rate, "1/s", nil, "")
	return nil
}

func atOnce(ctx context.Context, q question) (perSecond float64, err error) {
	var group sync.WaitGroup
	counts, failures := make([]int, askers), make([]error, askers)
	began := time.Now()
	for i := range askers {
		group.Go(func() {
			for time.Since(began) < perQuestion/2 && failures[i] == nil {
				failures[i] = q.ask(ctx)
				counts[i]++
			}
		})
	}
	group.Wait()
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return float64(sum) / time.Since(began).Seconds(), errors.Join(failures...)
}

// questions about the cluster. list_prices is the yardstick: a call that decides nothing.
func questions(state *fleetv1.ClusterState, ml mlv1.DecisionServiceClient, predict mlv1.PredictionServiceClient, market mlv1.MarketServiceClient) []question {
	request := func(kind string) *mlv1.DecisionRequest {
		return &mlv1.DecisionRequest{
			RequestId: "bench", ClusterId: state.GetClusterId(), Timestamp: timestamppb.Now(), DecisionType: kind, CurrentState: state,
		}
	}
	spot, pack, size, sleep := request("spot_optimize"), request("bin_pack"), request("rightsize"), request("schedule")
	size.Usage = weekOfUsage(state)
	sleep.Requirements = officeHours()
	return []question{
		{"list_prices", func(ctx context.Context) error {
			_, err := market.ListPrices(ctx, &mlv1.ListPricesRequest{Region: state.GetRegion(), InstanceTypes: []string{"m5.large"}})
			return err
		}},
		{"spot_optimize", func(ctx context.Context) error {
			_, err := ml.SpotOptimize(ctx, &mlv1.SpotOptimizeRequest{Request: spot})
			return err
		}},
		{"bin_pack", func(ctx context.Context) error {
			_, err := ml.BinPack(ctx, &mlv1.BinPackRequest{Request: pack})
			return err
		}},
		{"rightsize", func(ctx context.Context) error {
			_, err := ml.Rightsize(ctx, &mlv1.RightsizeRequest{Request: size})
			return err
		}},
		{"schedule", func(ctx context.Context) error {
			_, err := ml.Schedule(ctx, &mlv1.ScheduleRequest{Request: sleep})
			return err
		}},
		{"predict_spot_interruption", func(ctx context.Context) error {
			_, err := predict.PredictSpotInterruption(ctx, &mlv1.PredictSpotInterruptionRequest{
				InstanceType: "m5.large", Region: state.GetRegion(), AvailabilityZone: state.GetRegion() + "a", UptimeMinutes: proto.Float64(90),
			})
			return err
		}},
	}
}

// weekOfUsage is synthetic: a week of two samples an hour for every workload, at half
// of what it requests.
func weekOfUsage(state *fleetv1.ClusterState) []*mlv1.ContainerUsage {
	monday := time.Now().UTC().Truncate(time.Hour).Add(-7 * 24 * time.Hour)
	seen := map[string]*mlv1.ContainerUsage{}
	var all []*mlv1.ContainerUsage
	for _, pod := range state.GetPods() {
		owner := pod.GetOwner()
		if owner.GetName() == "" {
			continue
		}
		key := pod.GetNamespace() + "/" + owner.GetKind() + "/" + owner.GetName()
		if seen[key] != nil {
			seen[key].Replicas++
			continue
		}
		one := &mlv1.ContainerUsage{
			Namespace: pod.GetNamespace(), Kind: owner.GetKind(), Name: owner.GetName(), Container: "main", Replicas: 1, Requests: pod.GetRequests(),
		}
		for hour := range 7 * 24 {
			one.Hours = append(one.Hours, &mlv1.UsageHour{
				Start:  timestamppb.New(monday.Add(time.Duration(hour) * time.Hour)),
				Cpu:    &mlv1.UsageHistogram{Buckets: []int32{60, 90}, Counts: []int32{1, 1}, Max: 80, Samples: 2},
				Memory: &mlv1.UsageHistogram{Buckets: []int32{80, 100}, Counts: []int32{1, 1}, Max: 130, Samples: 2},
			})
		}
		seen[key] = one
		all = append(all, one)
	}
	return all
}

func officeHours() *structpb.Struct {
	hours, err := structpb.NewStruct(map[string]any{"calendar": map[string]any{
		"time_zone": "Europe/Berlin", "open": []any{map[string]any{"days": []any{"mon-fri"}, "from": "08:00", "to": "20:00"}},
	}})
	if err != nil {
		return nil // never: these are plain values
	}
	return hours
}
