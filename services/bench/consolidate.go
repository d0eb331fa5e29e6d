package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/feasible"
	"github.com/cloudoptim/cloudoptim/pkg/fragmented"
	"github.com/cloudoptim/cloudoptim/pkg/proc"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
)

const (
	consolidateWithin = 40 * time.Minute
	mlKey             = "bench-consolidate-key"
	mlStart           = 3 * time.Minute
)

// consolidation is ml, asked about fragmented clusters.
type consolidation struct {
	b       *bench
	dir     string
	client  mlv1.DecisionServiceClient
	broken  int // rules broken by all plans, as the checker counts
	asked   int
	checked time.Duration // of the largest plan
	figures map[string]float64
}

// consolidate measures bin_pack through gRPC: cost over the bound against evictions
// for each pod, time, and what the checker finds.
func (b *bench) consolidate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, consolidateWithin)
	defer cancel()
	dir, remove, err := scratch()
	if err != nil {
		return err
	}
	defer remove()
	c := &consolidation{b: b, dir: dir, figures: map[string]float64{}}
	stop, err := c.start(ctx)
	if err != nil {
		return err
	}
	defer stop()
	for _, step := range []func(context.Context) error{c.speed, c.quality, c.again, c.curve} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	c.note()
	if err := b.keep(); err != nil { // the peer takes longest, and may be missing
		return err
	}
	if err := c.karpenter(ctx); err != nil {
		return err
	}
	c.note()
	return nil
}

// start ml with the prices that it brings along.
func (c *consolidation) start(ctx context.Context) (stop func(), err error) {
	program := filepath.Join(c.dir, "ml")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./services/ml")
	build.Dir = c.b.root
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building ml: %w: %s", err, out)
	}
	grpc, err := proc.FreeAddress()
	if err != nil {
		return nil, err
	}
	web, err := proc.FreeAddress()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "--server.grpc_address="+grpc, "--server.http_address="+web)
	ours := func(v string) bool { return strings.HasPrefix(v, "CLOUDOPTIM_") } // ml refuses settings that are not its own
	cmd.Env = append(slices.DeleteFunc(os.Environ(), ours), "CLOUDOPTIM_ENVIRONMENT=development", "CLOUDOPTIM_ML_API_KEY="+mlKey, "CLOUDOPTIM_MARKET_REFRESH=off")
	child, err := proc.StartLogged("ml", filepath.Join(c.dir, "ml.log"), cmd)
	if err != nil {
		return nil, err
	}
	if err := awaitHealth(ctx, child, "http://"+web+"/healthz"); err != nil {
		child.Stop(time.Second)
		return nil, err
	}
	conn, err := rpc.Dial(grpc, rpc.DialConfig{APIKey: mlKey})
	if err != nil {
		child.Stop(time.Second)
		return nil, err
	}
	c.client = mlv1.NewDecisionServiceClient(conn)
	return func() {
		_ = conn.Close()
		child.Stop(10 * time.Second)
	}, nil
}

// awaitHealth asks before the first call: gRPC's pauses between tries grow.
func awaitHealth(ctx context.Context, child *proc.Child, url string) error {
	ctx, cancel := context.WithTimeout(ctx, mlStart)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-child.Done():
			return child.Ended()
		case <-ctx.Done():
			return fmt.Errorf("waiting for ml: %w", ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// ask for a plan and check it.
func (c *consolidation) ask(ctx context.Context, state *fleetv1.ClusterState, constraints map[string]any) (*mlv1.DecisionResponse, time.Duration, error) {
	fields, err := structpb.NewStruct(constraints)
	if err != nil {
		return nil, 0, err
	}
	began := time.Now()
	resp, err := c.client.BinPack(ctx, &mlv1.BinPackRequest{Request: &mlv1.DecisionRequest{
		RequestId: "bench", ClusterId: state.GetClusterId(), CurrentState: state, Constraints: fields,
	}})
	took := time.Since(began)
	if err != nil {
		return nil, took, fmt.Errorf("asking for a plan: %w", err)
	}
	began = time.Now()
	found := feasible.Check(state, resp.GetDecision())
	c.checked = max(c.checked, time.Since(began))
	c.asked++
	if c.broken += len(found); len(found) > 0 {
		fmt.Println("consolidate: the checker says", found[0])
	}
	return resp.GetDecision(), took, nil
}

// worst keeps the largest value of a figure.
func (c *consolidation) worst(name string, value float64) {
	if old, ok := c.figures[name]; !ok || value > old {
		c.figures[name] = value
	}
}

// speed of a plan for 2,000 nodes and 20,000 pods, the slowest of three calls.
func (c *consolidation) speed(ctx context.Context) error {
	state := fragmented.Cluster(fragmented.Options{Seed: 3, Pods: 36600, Removed: 0.45, Shapes: []fragmented.Shape{fragmented.M5}})
	for _, placement := range []string{"scheduler", "planned"} {
		for range 3 {
			_, took, err := c.ask(ctx, state, map[string]any{"placement": placement})
			if err != nil {
				return err
			}
			fmt.Printf("consolidate: %d nodes, %d pods, placement %s: %.2f s\n", len(state.Nodes), len(state.Pods), placement, took.Seconds())
			c.worst("seconds."+placement, took.Seconds())
		}
	}
	return nil
}

// clusters that quality is measured on.
func clusters() map[string]*fleetv1.ClusterState {
	five := []fragmented.Shape{fragmented.M5, fragmented.C5, fragmented.R5, fragmented.M4, fragmented.C4}
	all := map[string]*fleetv1.ClusterState{}
	for _, o := range []fragmented.Options{
		{Seed: 3, Pods: 2000, Shapes: five[:1]},
		{Seed: 4, Pods: 5000, Shapes: five[:1]},
		{Seed: 5, Pods: 36600, Shapes: five[:1]},
		{Seed: 6, Pods: 2000, Shapes: five},
		{Seed: 7, Pods: 10000, Shapes: five},
		{Seed: 8, Pods: 4000, Shapes: five[:1], Ruled: true},
	} {
		o.Removed = 0.45
		name := fmt.Sprintf("%d pods before, %d node types", o.Pods, len(o.Shapes))
		if o.Ruled {
			name += ", a fifth with rules"
		}
		all[name] = fragmented.Cluster(o)
	}
	return all
}

// quality at the two limits of evictions.
func (c *consolidation) quality(ctx context.Context) error {
	for name, state := range clusters() {
		for limit, perPod := range map[string]float64{"at_1_0": 1, "at_0_28": 0.28} {
			for _, placement := range []string{"planned", "scheduler"} {
				a, _, err := c.ask(ctx, state, map[string]any{"placement": placement, "max_evictions_per_pod": perPod, "min_score": 0.0})
				if err != nil {
					return err
				}
				s := a.GetConsolidation()
				over, floor := s.GetCostAfter()/s.GetLowerBound(), s.GetCostAfter()/s.GetLowerBoundWithinEvictions()
				fmt.Printf("consolidate: %s, %s, %s: %.3f → %.3f × bound, %.3f × floor (%.3f), %.3f evictions per pod\n", name, limit, placement,
					s.GetCostBefore()/s.GetLowerBound(), over, floor, s.GetLowerBoundWithinEvictions()/s.GetLowerBound(), s.GetEvictionsPerPod())
				c.worst("cost_over_bound."+limit+"."+placement, over)
				c.worst("cost_over_floor."+limit+"."+placement, floor)
				c.worst("floor_over_bound."+limit, s.GetLowerBoundWithinEvictions()/s.GetLowerBound())
			}
		}
	}
	return nil
}

// again asks about the plans' own results, as they are and with requests that waver.
func (c *consolidation) again(ctx context.Context) error {
	for _, state := range clusters() {
		if len(state.Pods) > 10000 {
			continue
		}
		for _, placement := range []string{"planned", "scheduler"} {
			constraints := map[string]any{"placement": placement}
			a, _, err := c.ask(ctx, state, constraints)
			if err != nil {
				return err
			}
			after := feasible.After(state, a, time.Now())
			for seed := range uint64(4) {
				figure := "again"
				if seed > 0 {
					figure = "wavering"
				}
				next, _, err := c.ask(ctx, waver(after, seed), constraints)
				if err != nil {
					return err
				}
				c.figures[figure] += float64(len(next.GetPodMoves()))
			}
		}
	}
	return nil
}

// waver all requests by up to 5 %; not at all for seed 0.
func waver(state *fleetv1.ClusterState, seed uint64) *fleetv1.ClusterState {
	if seed == 0 {
		return state
	}
	rng, noisy := rand.New(rand.NewPCG(seed, 5)), proto.CloneOf(state)
	for _, p := range noisy.Pods {
		p.Requests.CpuMillicores = int64(float64(p.Requests.CpuMillicores) * (0.95 + 0.1*rng.Float64()))
		p.Requests.MemoryBytes = int64(float64(p.Requests.MemoryBytes) * (0.95 + 0.1*rng.Float64()))
	}
	return noisy
}
