package binpack

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/feasible"
)

// replayer carries a plan out on the checker's reading of the scheduler's filters: it
// drains node by node and lets pods land where most is free, with noise.
type replayer struct {
	board *feasible.Board
	nodes []*fleetv1.NodeMetric
	used  map[string][2]float64 // share of CPU and memory, by node
	rng   *rand.Rand
	noise float64
}

// replay returns how many pods find no place.
func replay(state *fleetv1.ClusterState, a *mlv1.DecisionResponse, seed uint64) int {
	r := &replayer{rng: rand.New(rand.NewPCG(seed, 3)), noise: []float64{0, 0.6, 1.2}[seed%3], used: map[string][2]float64{}}
	away := gone(a)
	for _, n := range append(proto.CloneOf(state).Nodes, a.NewNodes...) {
		if slices.Contains(away, n.NodeName) {
			n.Unschedulable = true
		}
		r.nodes = append(r.nodes, n)
	}
	r.board = feasible.NewBoard(r.nodes)
	r.board.Seat(state.Pods, nil)
	for _, p := range state.Pods {
		r.weigh(p, p.NodeName, 1)
	}
	var waiting []*fleetv1.Pod
	for _, step := range a.ExecutionPlan {
		if step.Action != "drain_node" {
			continue
		}
		for _, name := range step.Parameters.AsMap()["node_names"].([]any) {
			for _, p := range state.Pods {
				if p.NodeName == name {
					r.board.Remove(p)
					r.weigh(p, p.NodeName, -1)
					waiting = append(waiting, p)
				}
			}
			waiting = r.settle(waiting)
		}
	}
	return len(waiting)
}

func (r *replayer) weigh(p *fleetv1.Pod, node string, sign float64) {
	i := slices.IndexFunc(r.nodes, func(n *fleetv1.NodeMetric) bool { return n.NodeName == node })
	u, room := r.used[node], r.nodes[i].Allocatable
	u[0] += sign * float64(p.Requests.CpuMillicores) / float64(room.CpuMillicores)
	u[1] += sign * float64(p.Requests.MemoryBytes) / float64(room.MemoryBytes)
	r.used[node] = u
}

func (r *replayer) settle(waiting []*fleetv1.Pod) []*fleetv1.Pod {
	for {
		var still []*fleetv1.Pod
		r.rng.Shuffle(len(waiting), func(i, j int) { waiting[i], waiting[j] = waiting[j], waiting[i] })
		for _, p := range waiting {
			best, score := "", 0.0
			for _, n := range r.nodes {
				if rule, _ := r.board.Refusal(p, n.NodeName); rule != "" {
					continue
				}
				u := r.used[n.NodeName]
				if s := 2 - u[0] - u[1] + r.noise*r.rng.Float64(); best == "" || s > score {
					best, score = n.NodeName, s
				}
			}
			if best == "" {
				still = append(still, p)
				continue
			}
			r.board.Place(p, best)
			r.weigh(p, best, 1)
		}
		if len(still) == len(waiting) || len(still) == 0 {
			return still
		}
		waiting = still
	}
}

// No plan survives every mood of the scheduler, so the clusters and moods are fixed.
func TestPodsFindAPlaceWhereverTheSchedulerPutsTheOthers(t *testing.T) {
	replays, stuck, moved := 0, 0, 0
	for name, req := range fixed() {
		if strings.HasPrefix(name, "planned") || strings.HasPrefix(name, "few moves") {
			continue // those hold only if pods go where planned
		}
		a, err := Decide(req, testMarket(t), testNow)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		moved += len(a.PodMoves)
		for seed := range uint64(4) {
			replays++
			if n := replay(req.CurrentState, a, seed); n > 0 {
				stuck++
				t.Logf("%s, seed %d: %d pods find no place", name, seed, n)
			}
		}
	}
	if moved < 200 {
		t.Errorf("only %d pods move", moved)
	}
	if stuck*50 > replays {
		t.Errorf("in %d of %d replays pods find no place, want at most one in fifty", stuck, replays)
	}
}
