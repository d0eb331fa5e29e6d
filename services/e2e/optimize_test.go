//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/services/lab/stage"
)

// TestSpotOptimizationFlow is the guide's example 1 on a generated cluster.
func TestSpotOptimizationFlow(t *testing.T) {
	s := newStage(t, cluster("40", "300", "1")...)
	tellFlow(t, s, "spot_optimize")
}

// TestConsolidationFlow packs the same kind of cluster onto fewer and better nodes,
// every one of which stays on demand.
func TestConsolidationFlow(t *testing.T) {
	s := newStage(t, cluster("30", "200", "5")...)
	tellFlow(t, s, "bin_pack")
	after, err := s.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if after.SpotNodes != 0 {
		t.Errorf("consolidation bought %d spot nodes in a cluster that has none", after.SpotNodes)
	}
}

// TestFlowOnARealCluster is the same on real nodes and pods, where the data set is.
func TestFlowOnARealCluster(t *testing.T) {
	data := os.Getenv("CLOUDOPTIM_DATA")
	if data == "" {
		data = "../../../shared/data"
	}
	snapshots := filepath.Join(data, "cluster-snapshots")
	if _, err := os.Stat(snapshots); err != nil {
		t.Logf("no data set at %s: the generated cluster is the only one told", snapshots)
		return
	}
	dump := filepath.Join(t.TempDir(), "openb.json")
	convert := exec.CommandContext(t.Context(), filepath.Join(*binaries, "lab"), "convert-openb", "--cpu-only", "--max-nodes", "30",
		"--nodes", filepath.Join(snapshots, "openb_node_list_all_node.csv.gz"),
		"--pods", filepath.Join(snapshots, "openb_pod_list_cpu200.csv.gz"), "--out", dump)
	if out, err := convert.CombinedOutput(); err != nil {
		t.Fatalf("converting: %v\n%s", err, out)
	}
	s := newStage(t, "--cluster", dump)
	tellFlow(t, s, "spot_optimize")
}

// tellFlow triggers an optimization over REST and asserts everything from outside.
func tellFlow(t *testing.T, s *stage.Stage, optimization string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	before, err := s.State(ctx)
	if err != nil {
		t.Fatal(err)
	}
	budgets, err := s.WatchBudgets(ctx)
	if err != nil {
		t.Fatal(err)
	}
	news := listen(ctx, t, s)

	started, err := s.Trigger(ctx, optimization, nil)
	if err != nil {
		t.Fatal(err)
	}
	done, err := s.Follow(ctx, started.ID, time.Second, func(stage.Optimization) {})
	if err != nil {
		t.Fatal(err)
	}
	requireCompleted(t, done)
	after, err := s.State(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d → %d nodes, %d spot, $%.3f → $%.3f an hour, %s", before.TotalNodes, after.TotalNodes, after.SpotNodes,
		before.CurrentCostPerHour, after.CurrentCostPerHour, done.ErrorMessage)

	requireDecisionKept(t, s, done, before)
	requireInstances(t, s, before, done)
	requireNodesAreInstances(t, s)
	requireEveryPodRuns(t, s)
	requireBudgetsKept(t, budgets)
	requireSavingsAreThePrices(t, s, done, before, after)
	requireToldComplete(t, news, done)
	requireNothingLeftToDo(t, s, optimization)
}

func requireCompleted(t *testing.T, o stage.Optimization) {
	t.Helper()
	if o.Status != "completed" {
		t.Fatalf("the optimization %s: %s\n%+v", o.Status, o.ErrorMessage, o.Steps)
	}
	for i, step := range o.Steps {
		want := "completed"
		if step.Name == "rollback" {
			want = "skipped"
		}
		if step.Status != want || step.Position != i+1 {
			t.Errorf("step %d %s is %s, want %s", step.Position, step.Name, step.Status, want)
		}
	}
	if o.ActualSavings <= 0 || o.EstimatedSavings <= 0 {
		t.Errorf("savings: estimated %.2f, actual %.2f; want both above 0", o.EstimatedSavings, o.ActualSavings)
	}
}

// requireDecisionKept: REST tells why, for every node there was.
func requireDecisionKept(t *testing.T, s *stage.Stage, o stage.Optimization, before stage.State) {
	t.Helper()
	var decision struct {
		Type     string `json:"decision_type"`
		Verdicts []struct {
			Node    string `json:"node_name"`
			Verdict string `json:"verdict"`
			Reason  string `json:"reason"`
		} `json:"node_verdicts"`
	}
	if err := s.Admin.Get(t.Context(), "/api/v1/admin/optimizations/"+o.ID+"/decision", &decision); err != nil {
		t.Fatal(err)
	}
	if decision.Type != o.Type || len(decision.Verdicts) != before.TotalNodes {
		t.Errorf("the decision is a %s with %d verdicts, want %s and %d", decision.Type, len(decision.Verdicts), o.Type, before.TotalNodes)
	}
	for _, v := range decision.Verdicts {
		if v.Node == "" || v.Verdict == "" || v.Reason == "" {
			t.Errorf("verdict %+v", v)
		}
	}
}

// requireInstances: what AWS has is what the optimization says.
func requireInstances(t *testing.T, s *stage.Stage, before stage.State, o stage.Optimization) {
	t.Helper()
	all := instances(t, s)
	launched := launchedBy(all, o.ID)
	if len(launched) != len(o.Launched) || len(launched) == 0 && o.Type != "bin_pack" {
		t.Errorf("AWS has %d instances of this optimization, REST tells of %d", len(launched), len(o.Launched))
	}
	for _, said := range o.Launched {
		real, ok := all[said.InstanceID]
		if !ok || real.State != "running" || real.Type != said.InstanceType || real.Spot != (said.NodeType == "spot") {
			t.Errorf("launched %+v is %+v in AWS", said, real)
		}
	}
	gone := 0
	for _, node := range before.Nodes {
		if state := all[node.InstanceID].State; state == "terminated" || state == "shutting-down" {
			gone++
		}
	}
	if gone == 0 {
		t.Error("no old instance was terminated")
	}
}

// requireNodesAreInstances: Kubernetes has just the nodes whose instances run.
func requireNodesAreInstances(t *testing.T, s *stage.Stage) {
	t.Helper()
	client, err := s.Kubernetes()
	if err != nil {
		t.Fatal(err)
	}
	nodes, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	all := instances(t, s)
	running := 0
	for _, one := range all {
		if one.State == "running" {
			running++
		}
	}
	if len(nodes.Items) != running {
		t.Errorf("%d nodes, %d running instances", len(nodes.Items), running)
	}
	for i := range nodes.Items {
		node := &nodes.Items[i]
		id := node.Spec.ProviderID[strings.LastIndex(node.Spec.ProviderID, "/")+1:]
		if all[id].State != "running" {
			t.Errorf("node %s is instance %s, which is %q", node.Name, id, all[id].State)
		}
		if all[id].Optimization != "" && node.Labels["cloudoptim.io/optimization-id"] != all[id].Optimization {
			t.Errorf("node %s lacks the label of its optimization", node.Name)
		}
		if node.Spec.Unschedulable {
			t.Errorf("node %s was left cordoned", node.Name)
		}
	}
}

func requireEveryPodRuns(t *testing.T, s *stage.Stage) {
	t.Helper()
	client, err := s.Kubernetes()
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		pods, err := client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var bad []string
		for i := range pods.Items {
			if pods.Items[i].Status.Phase != corev1.PodRunning {
				bad = append(bad, pods.Items[i].Namespace+"/"+pods.Items[i].Name+" is "+string(pods.Items[i].Status.Phase))
			}
		}
		if len(bad) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d pods do not run: %v", len(bad), bad)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func requireBudgetsKept(t *testing.T, budgets *stage.Budgets) {
	t.Helper()
	watched, seen, broken, err := budgets.Verdict()
	if err != nil {
		t.Error(err)
	}
	if len(broken) > 0 {
		t.Errorf("budgets were broken: %v", broken)
	}
	t.Logf("%d budgets watched through %d changes", watched, seen)
}

// requireSavingsAreThePrices adds up what the nodes cost by the prices of ml,
// asked directly, and compares it with what central says was saved.
func requireSavingsAreThePrices(t *testing.T, s *stage.Stage, o stage.Optimization, before, after stage.State) {
	t.Helper()
	saved := 730 * (costByPrices(t, s, before) - costByPrices(t, s, after))
	if math.Abs(saved-o.ActualSavings) > 0.01 {
		t.Errorf("by the prices %.4f is saved per month, central says %.4f", saved, o.ActualSavings)
	}
	var total struct {
		PerMonth float64 `json:"savings_per_month"`
		Current  float64 `json:"current_cost_per_hour"`
		Baseline float64 `json:"baseline_cost_per_hour"`
		PerHour  float64 `json:"savings_per_hour"`
	}
	if err := s.Admin.Get(t.Context(), "/api/v1/admin/savings", &total); err != nil {
		t.Fatal(err)
	}
	if math.Abs(total.PerMonth-o.ActualSavings) > 0.01 || math.Abs(total.Current+total.PerHour-total.Baseline) > 1e-9 {
		t.Errorf("savings are %+v, the optimization saved %.4f", total, o.ActualSavings)
	}
}

// costByPrices is what the nodes of a state cost an hour by ml's prices.
func costByPrices(t *testing.T, s *stage.Stage, state stage.State) float64 {
	t.Helper()
	conn, err := rpc.Dial(s.Addr("ml.grpc"), rpc.DialConfig{APIKey: s.MLKey()})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	resp, err := mlv1.NewMarketServiceClient(conn).ListPrices(t.Context(), &mlv1.ListPricesRequest{Region: s.Lab.Region})
	if err != nil {
		t.Fatal(err)
	}
	type pool struct{ kind, zone string }
	prices := map[pool]*mlv1.Price{}
	for _, price := range resp.GetPrices() {
		prices[pool{price.GetInstanceType(), price.GetAvailabilityZone()}] = price
	}
	var sum float64
	for _, node := range state.Nodes {
		price := prices[pool{node.InstanceType, node.Zone}]
		if node.NodeType == "spot" {
			sum += price.GetSpot()
		} else {
			sum += price.GetOnDemand()
		}
	}
	return sum
}

// requireToldComplete: the dashboard's WebSocket got the documented message.
func requireToldComplete(t *testing.T, news <-chan map[string]any, o stage.Optimization) {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		select {
		case msg := <-news:
			if msg["type"] != "optimization_complete" {
				continue
			}
			savings, _ := msg["savings"].(float64)
			if msg["status"] != "success" || math.Abs(savings-o.ActualSavings) > 0.01 || msg["optimization_id"] != o.ID {
				t.Errorf("told %v, want success and %.2f", msg, o.ActualSavings)
			}
			return
		case <-timeout:
			t.Fatal("no optimization_complete came over the WebSocket")
		}
	}
}

// requireNothingLeftToDo: the plan is idempotent.
func requireNothingLeftToDo(t *testing.T, s *stage.Stage, optimization string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	had := len(instances(t, s))
	again, err := s.Trigger(ctx, optimization, nil)
	if err != nil {
		t.Fatal(err)
	}
	done, err := s.Follow(ctx, again.ID, 500*time.Millisecond, func(stage.Optimization) {})
	if err != nil {
		t.Fatal(err)
	}
	if done.Status != "completed" || len(instances(t, s)) != had {
		t.Errorf("a second run %s with %d new instances: %s; want completed and none", done.Status, len(instances(t, s))-had, done.ErrorMessage)
	}
}

// listen reads the dashboard's WebSocket.
func listen(ctx context.Context, t *testing.T, s *stage.Stage) <-chan map[string]any {
	t.Helper()
	url := "ws" + strings.TrimPrefix(s.Admin.Base, "http") + "/api/v1/admin/stream?cluster_id=" + s.ClusterID
	conn, resp, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + s.Admin.Key}}})
	if err != nil {
		t.Fatalf("opening the dashboard's stream: %v (%v)", err, resp)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	news := make(chan map[string]any, 1024)
	go func() {
		for {
			_, raw, err := conn.Read(ctx)
			if err != nil {
				return
			}
			msg := map[string]any{}
			if json.Unmarshal(raw, &msg) == nil {
				news <- msg
			}
		}
	}()
	return news
}
