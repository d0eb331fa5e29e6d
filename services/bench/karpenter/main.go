// Command karpenter runs Karpenter's provisioning scheduler, as it is, on a workload
// of Kubernetes pods and an empty cluster, and prints what it would launch. It is a
// module of its own so that Karpenter is no dependency of CloudOptim.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	crlog "sigs.k8s.io/controller-runtime/pkg/log"
	v1 "sigs.k8s.io/karpenter/pkg/apis/v1"
	"sigs.k8s.io/karpenter/pkg/cloudprovider"
	"sigs.k8s.io/karpenter/pkg/controllers/provisioning/scheduling"
	"sigs.k8s.io/karpenter/pkg/controllers/state"
	"sigs.k8s.io/karpenter/pkg/events"
	"sigs.k8s.io/karpenter/pkg/operator/injection"
	"sigs.k8s.io/karpenter/pkg/operator/options"
)

// workload is what the benchmark writes.
type workload struct {
	Types    []instanceType `json:"types"`
	Capacity []string       `json:"capacity"`
	Pools    []pool         `json:"pools"`
	Pods     []*corev1.Pod  `json:"pods"`
	Daemons  []*corev1.Pod  `json:"daemons"`
}

// answer is a plan in the form that all engines here share.
type answer struct {
	Seconds  float64  `json:"seconds"`
	Nodes    []bought `json:"nodes"`
	Unplaced []string `json:"unplaced,omitempty"`
}

type bought struct {
	Type     string   `json:"type"`
	Zone     string   `json:"zone"`
	Capacity string   `json:"capacity_type"`
	Pool     string   `json:"pool"`
	Pods     []string `json:"pods"`
}

func main() {
	file := flag.String("workload", "", "pods, DaemonSets, node pools and types")
	limit := flag.Duration("limit", 10*time.Minute, "stop scheduling after this long; pods not reached are unplaced")
	flag.Parse()
	crlog.SetLogger(logr.Discard())
	if err := run(*file, *limit); err != nil {
		fmt.Fprintln(os.Stderr, "karpenter:", err)
		os.Exit(1)
	}
}

func run(file string, limit time.Duration) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	w := &workload{}
	if err := json.Unmarshal(raw, w); err != nil {
		return fmt.Errorf("reading %s: %w", file, err)
	}
	a, err := w.solve(limit)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(a)
}

// defaults are those of Karpenter in production, with one core.
func defaults() context.Context {
	return options.ToContext(injection.WithControllerName(context.Background(), "provisioner"), &options.Options{
		CPURequests:       1000,
		PreferencePolicy:  options.PreferencePolicyRespect,
		MinValuesPolicy:   options.MinValuesPolicyStrict,
		IgnoreDRARequests: true,
		FeatureGates:      options.DefaultFeatureGates(),
	})
}

// solve takes the time of scheduling alone, not of preparing it.
func (w *workload) solve(limit time.Duration) (*answer, error) {
	ctx := defaults()
	provider := &provider{types: w.instanceTypes()}
	byPool := map[string][]*cloudprovider.InstanceType{}
	var pools []*v1.NodePool
	for i := range w.Pools {
		pools = append(pools, w.nodePool(&w.Pools[i]))
		byPool[w.Pools[i].Name] = provider.types
	}
	client := fake.NewFakeClient()
	now := &clock.RealClock{}
	cluster := state.NewCluster(now, client, provider)
	opts := []scheduling.Options{scheduling.DisableReservedCapacityFallback, scheduling.NumConcurrentReconciles(1)}
	topology, err := scheduling.NewTopology(ctx, client, cluster, nil, pools, byPool, w.Pods, opts...)
	if err != nil {
		return nil, fmt.Errorf("preparing the topology: %w", err)
	}
	s := scheduling.NewScheduler(ctx, client, pools, cluster, nil, topology, byPool, w.Daemons, silent{}, now, nil, nil, opts...)
	solving, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	start := time.Now()
	results, err := s.Solve(solving, w.Pods)
	took := time.Since(start)
	if err != nil && solving.Err() == nil {
		return nil, fmt.Errorf("scheduling: %w", err)
	}
	return read(ctx, results, took)
}

// read the results, each node at the cheapest offering that is left to it.
func read(ctx context.Context, results scheduling.Results, took time.Duration) (*answer, error) {
	a := &answer{Seconds: took.Seconds()}
	results = results.TruncateInstanceTypes(ctx, scheduling.MaxInstanceTypes)
	for _, claim := range results.NewNodeClaims {
		types := claim.InstanceTypeOptions.OrderByPrice(claim.Requirements)
		if len(types) == 0 {
			return nil, fmt.Errorf("a node claim has no type left")
		}
		offering := types[0].Offerings.Available().Compatible(claim.Requirements).Cheapest()
		if offering == nil {
			return nil, fmt.Errorf("a node claim has no offering left")
		}
		node := bought{Type: types[0].Name, Zone: offering.Zone(), Capacity: offering.CapacityType(), Pool: claim.NodePoolName}
		for _, pod := range claim.Pods {
			node.Pods = append(node.Pods, pod.Name)
		}
		a.Nodes = append(a.Nodes, node)
	}
	for pod, err := range results.PodErrors {
		a.Unplaced = append(a.Unplaced, fmt.Sprintf("%s: %v", pod.Name, err))
	}
	return a, nil
}

// silent drops events.
type silent struct{}

func (silent) Publish(...events.Event) {}
