package schedule

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/histogram"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

var embedded = sync.OnceValues(market.New)

// testNow is a Wednesday noon in Berlin.
var testNow = time.Date(2026, 11, 25, 11, 0, 0, 0, time.UTC)

func decide(t *testing.T, state *fleetv1.ClusterState, requirements, constraints map[string]any, now time.Time, all ...*mlv1.ContainerUsage) (*mlv1.DecisionResponse, error) {
	t.Helper()
	m, err := embedded()
	if err != nil {
		t.Fatal(err)
	}
	r, err := structpb.NewStruct(requirements)
	if err != nil {
		t.Fatal(err)
	}
	c, err := structpb.NewStruct(constraints)
	if err != nil {
		t.Fatal(err)
	}
	return Decide(&mlv1.DecisionRequest{RequestId: "r", CurrentState: state, Requirements: r, Constraints: c, Usage: all}, m.Snapshot(), now)
}

func decideOK(t *testing.T, state *fleetv1.ClusterState, requirements, constraints map[string]any, now time.Time, all ...*mlv1.ContainerUsage) *mlv1.DecisionResponse {
	t.Helper()
	a, err := decide(t, state, requirements, constraints, now, all...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func office() map[string]any {
	return map[string]any{"calendar": map[string]any{
		"time_zone": "Europe/Berlin", "open": []any{map[string]any{"days": []any{"mon-fri"}, "from": "08:00", "to": "20:00"}},
	}}
}

// small is a cluster: dev alone on two nodes, kube-system's DNS with dev on a third, and DaemonSets on all.
func small() *fleetv1.ClusterState {
	state := &fleetv1.ClusterState{Region: "us-east-1"}
	pod := func(namespace, kind, owner, name, node string) {
		state.Pods = append(state.Pods, &fleetv1.Pod{
			Uid: namespace + name, Namespace: namespace, Name: name, NodeName: node, Phase: "Running", Ready: true,
			Owner: &fleetv1.Owner{Kind: kind, Name: owner}, Labels: map[string]string{"pod-template-hash": "5d9f"},
		})
	}
	for i := range 3 {
		name := fmt.Sprintf("node-%d", i)
		state.Nodes = append(state.Nodes, &fleetv1.NodeMetric{
			NodeName: name, InstanceType: "m5.large", InstanceId: "i-" + name, AvailabilityZone: "us-east-1a", NodeType: "on-demand", Ready: true,
			HourlyPrice: 0.1, Architecture: "amd64", Labels: map[string]string{"team": "dev"},
		})
		pod("kube-system", "DaemonSet", "aws-node", "aws-node-"+name, name)
		pod("dev", "ReplicaSet", "web-5d9f", "web-"+name, name)
	}
	pod("dev", "StatefulSet", "db", "db-0", "node-0")
	pod("kube-system", "ReplicaSet", "coredns-5d9f", "coredns-0", "node-2")
	return state
}

func TestACalendarBecomesStepsWithTimes(t *testing.T) {
	requirements := office()
	requirements["wake_order"] = []any{map[string]any{"workloads": []any{"dev/db"}, "ready_minutes": 10}}
	a := decideOK(t, small(), requirements, nil, testNow)
	var got []string
	for _, s := range a.ExecutionPlan[:14] {
		what := ""
		all, _ := s.Parameters.AsMap()["workloads"].([]any)
		for _, w := range all {
			one := w.(map[string]any)
			what += fmt.Sprintf(" %s=%v", one["name"], one["replicas"])
		}
		got = append(got, s.At.AsTime().Format("Mon15:04 ")+s.Action+what)
	}
	// Berlin is an hour ahead of UTC. A node takes 5 minutes, the database 10, the rest 5.
	want := []string{
		"Wed19:00 scale_workloads web=0", "Wed19:00 scale_workloads db=0",
		"Wed19:05 cordon_node", "Wed19:05 drain_node", "Wed19:05 terminate_instances",
		"Thu06:40 launch_on_demand_instances", "Thu06:40 wait_nodes_ready", "Thu06:40 label_node",
		"Thu06:45 scale_workloads db=1", "Thu06:55 scale_workloads web=3",
		"Thu19:00 scale_workloads web=0", "Thu19:00 scale_workloads db=0", "Thu19:05 cordon_node", "Thu19:05 drain_node",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("steps\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	first, second := a.ExecutionPlan[4].Parameters.AsMap(), a.ExecutionPlan[13].Parameters.AsMap()
	if fmt.Sprint(first["node_names"]) != "[node-0 node-1]" || fmt.Sprint(second["launched_by_steps"]) != "[6]" {
		t.Errorf("first go %v, then %v", first, second)
	}
	for _, s := range a.ExecutionPlan {
		if s.Undo == nil && s.Action != "wait_nodes_ready" && s.Action != "label_node" {
			t.Errorf("nothing takes %s back", s.Action)
		}
	}
	// Four nights of 12 h and a weekend of 60 h, each 20 minutes shorter before and 5 after: of two nodes.
	hours := 4*(12-25.0/60) + 60 - 25.0/60
	if saved := a.Metadata.AsMap()["saved_node_hours"].(float64); saved < 2*hours-0.01 || saved > 2*hours+0.01 {
		t.Errorf("%g node hours saved, want %g", saved, 2*hours)
	}
	if want := 2 * hours * 0.1 / 168 * 730; a.EstimatedSavings < want-0.01 || a.EstimatedSavings > want+0.01 {
		t.Errorf("saves %g, want %g", a.EstimatedSavings, want)
	}
}

func TestEveryNodeAndWorkloadSaysWhy(t *testing.T) {
	state := small()
	state.Pods = append(state.Pods, &fleetv1.Pod{
		Uid: "m", Namespace: "dev", Name: "m", NodeName: "node-1", Phase: "Running",
		Owner: &fleetv1.Owner{Kind: "StatefulSet", Name: "mine"}, DoNotDisrupt: "cloudoptim.io/do-not-disrupt",
	})
	a := decideOK(t, state, office(), nil, testNow)
	var got []string
	for _, v := range a.NodeVerdicts {
		got = append(got, v.NodeName+" "+v.Verdict+" "+v.Reason)
	}
	for _, v := range a.WorkloadVerdicts {
		got = append(got, v.Name+" "+v.Verdict+" "+v.Reason)
	}
	want := "node-0 sleep sleeps, node-1 keep shared, node-2 keep shared, web sleep calendar, db sleep calendar, mine keep do_not_disrupt, aws-node keep not_scalable, coredns keep protected_namespace"
	if strings.Join(got, ", ") != want {
		t.Errorf("%s\nwant\n%s", strings.Join(got, ", "), want)
	}
}

func TestScopeNarrows(t *testing.T) {
	for name, c := range map[string]struct {
		scope, constraints map[string]any
		asleep             float64
	}{
		"all":                  {nil, nil, 2},
		"another namespace":    {map[string]any{"namespaces": []any{"test*"}}, nil, 0},
		"one workload":         {map[string]any{"workloads": []any{"dev/StatefulSet/db"}}, nil, 1},
		"nodes of a team":      {map[string]any{"node_labels": map[string]any{"team": "dev"}}, nil, 2},
		"nodes of no one":      {map[string]any{"node_labels": map[string]any{"team": "ops"}}, nil, 0},
		"a protected pattern":  {nil, map[string]any{"protected_namespaces": []any{"de?"}}, 0},
		"a workload long gone": {map[string]any{"workloads": []any{"dev/gone"}}, nil, 0},
	} {
		requirements := office()
		if c.scope != nil {
			requirements["scope"] = c.scope
		}
		a := decideOK(t, small(), requirements, c.constraints, testNow)
		if got := a.Metadata.AsMap()["workloads_asleep"]; got != c.asleep {
			t.Errorf("%s: %v asleep, want %v", name, got, c.asleep)
		}
	}
}

// after carries out the steps up to a time: replicas of each workload and nodes there are.
func after(state *fleetv1.ClusterState, plan []*mlv1.ExecutionStep, until time.Time) (sleeping []any, nodes int, rest *fleetv1.ClusterState) {
	rest, nodes = proto.CloneOf(state), len(state.Nodes)
	at := map[string]map[string]any{}
	for _, s := range plan {
		if s.At.AsTime().After(until) {
			break
		}
		p := s.Parameters.AsMap()
		switch s.Action {
		case "scale_workloads":
			for _, w := range p["workloads"].([]any) {
				at[w.(map[string]any)["name"].(string)] = w.(map[string]any)
			}
		case "terminate_instances":
			nodes -= int(p["node_count"].(float64))
		case "launch_on_demand_instances":
			nodes += int(p["node_count"].(float64))
		}
	}
	rest.Pods, rest.Nodes = nil, nil
	for _, pod := range state.Pods {
		_, name := controllerOf(pod)
		if w := at[name]; w == nil || w["replicas"].(float64) > 0 {
			rest.Pods = append(rest.Pods, pod)
		}
	}
	for _, n := range state.Nodes {
		if nodes == len(state.Nodes) || n.NodeName == "node-2" {
			rest.Nodes = append(rest.Nodes, n)
		}
	}
	for _, w := range at {
		if w["replicas"].(float64) == 0 {
			sleeping = append(sleeping, map[string]any{"namespace": w["namespace"], "kind": w["kind"], "name": w["name"], "replicas": w["replicas_before"]})
		}
	}
	return sleeping, nodes, rest
}

func TestAskedAgainAsleepThePlanOnlyGoesOn(t *testing.T) {
	plan := decideOK(t, small(), office(), nil, testNow).ExecutionPlan
	midnight := testNow.Add(12 * time.Hour)
	sleeping, nodes, state := after(small(), plan, midnight)
	if len(sleeping) != 2 || nodes != 1 {
		t.Fatalf("at midnight %d sleep on %d nodes", len(sleeping), nodes)
	}
	requirements := office()
	requirements["sleeping"] = sleeping
	requirements["sleeping_nodes"] = []any{map[string]any{"instance_type": "m5.large", "availability_zone": "us-east-1a", "node_type": "on-demand", "node_count": 2}}
	again := decideOK(t, state, requirements, nil, midnight).ExecutionPlan
	var future []*mlv1.ExecutionStep
	for _, s := range plan {
		if s.At.AsTime().After(midnight) {
			future = append(future, s)
		}
	}
	for i, s := range future {
		if again[i].Action != s.Action || !again[i].At.AsTime().Equal(s.At.AsTime()) {
			t.Fatalf("step %d is %s at %s, was %s at %s", i, again[i].Action, again[i].At.AsTime(), s.Action, s.At.AsTime())
		}
		if w := s.Parameters.AsMap()["workloads"]; fmt.Sprint(w) != fmt.Sprint(again[i].Parameters.AsMap()["workloads"]) {
			t.Errorf("step %d scales %v, was %v", i, again[i].Parameters.AsMap()["workloads"], w)
		}
	}
	// Woken by hand, the sleepers are woken at once and sleep again by themselves.
	requirements["calendar"].(map[string]any)["wake_until"] = midnight.Add(2 * time.Hour).Format(time.RFC3339)
	woken := decideOK(t, state, requirements, nil, midnight).ExecutionPlan
	if woken[0].Action != "launch_on_demand_instances" || !woken[0].At.AsTime().Equal(midnight) {
		t.Errorf("the first step is %v", woken[0])
	}
	// Ten minutes before opening, after nobody asked in time, all wake at once.
	delete(requirements["calendar"].(map[string]any), "wake_until")
	late := decideOK(t, state, requirements, nil, testNow.Add(19*time.Hour+50*time.Minute)).ExecutionPlan
	if late[0].Action != "launch_on_demand_instances" || late[0].At.AsTime().Before(testNow.Add(19*time.Hour)) || late[0].At.AsTime().After(late[3].At.AsTime()) || late[3].Action != "scale_workloads" {
		t.Errorf("late steps %v", late[:4])
	}
	sleeping, nodes, _ = after(small(), plan, midnight.Add(3*time.Hour))
	if len(sleeping) != 2 || nodes != 1 {
		t.Errorf("an hour after that %d sleep on %d nodes", len(sleeping), nodes)
	}
}

func TestNothingSleepsThatIsNotWoken(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	for i := range 150 {
		from, to := rng.IntN(96), rng.IntN(96)
		if from == to {
			continue
		}
		requirements := map[string]any{
			"calendar": map[string]any{
				"time_zone": []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe"}[rng.IntN(3)],
				"open":      []any{map[string]any{"days": []any{[]string{"mon-fri", "sun-thu", "sat", "mon-sun"}[rng.IntN(4)]}, "from": quarter(from), "to": quarter(to)}},
			},
			"horizon_days": 1 + rng.IntN(20),
		}
		now := testNow.Add(time.Duration(rng.IntN(365*24*60)) * time.Minute)
		a := decideOK(t, small(), requirements, nil, now)
		if again := decideOK(t, small(), requirements, nil, now); !proto.Equal(a, again) {
			t.Fatalf("case %d: two answers to one question", i)
		}
		last := now
		for n, s := range a.ExecutionPlan {
			if s.At.AsTime().Before(last) || int(s.Step) != n+1 {
				t.Fatalf("case %d: step %d at %s comes after %s", i, s.Step, s.At.AsTime(), last)
			}
			last = s.At.AsTime()
		}
		if sleeping, nodes, _ := after(small(), a.ExecutionPlan, now.AddDate(1, 0, 0)); len(sleeping) != 0 || nodes != 3 {
			t.Errorf("case %d: at the end %v sleep on %d nodes", i, sleeping, nodes)
		}
	}
}

// worked is four weeks, or others, of a workload used in office hours of Berlin.
func worked(namespace string, weeks int, at func(week, day, hour int) float64) *mlv1.ContainerUsage {
	zone, _ := time.LoadLocation("Europe/Berlin")
	u := &mlv1.ContainerUsage{Namespace: namespace, Kind: "Deployment", Name: "web", Container: "app", Replicas: 3}
	begin := time.Date(2026, 11, 23, 0, 0, 0, 0, zone).AddDate(0, 0, -7*weeks)
	for h := range weeks * weekHours {
		start := begin.Add(time.Duration(h) * time.Hour)
		local := start.In(zone)
		cpu := at(h/weekHours, (int(local.Weekday())+6)%7, local.Hour())
		samples := make([]float64, 12)
		for i := range samples {
			samples[i] = cpu * (1 + 0.05*float64(i%3))
		}
		u.Hours = append(u.Hours, &mlv1.UsageHour{Start: newStamp(start), Cpu: histogram.Collect(samples)})
	}
	return u
}

func inOffice(_, day, hour int) float64 {
	if day < 5 && hour >= 8 && hour < 19 {
		return 500
	}
	return 5
}

func TestProposals(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	noise := make([]float64, 100*weekHours)
	for i := range noise {
		noise[i] = 5 + 500*float64(rng.IntN(2))
	}
	for name, c := range map[string]struct {
		usage   *mlv1.ContainerUsage
		reason  string
		windows int
	}{
		"office hours": {worked("dev", 4, inOffice), "quiet", 5},
		"one odd week of work at night": {worked("dev", 4, func(w, d, h int) float64 {
			if w == 2 {
				return 500
			}
			return inOffice(w, d, h)
		}), "quiet", 5},
		"a week of holidays": {worked("dev", 4, func(w, d, h int) float64 {
			if w == 1 {
				return 5
			}
			return inOffice(w, d, h)
		}), "quiet", 5},
		"two weeks":             {worked("dev", 2, inOffice), "quiet", 5},
		"one week":              {worked("dev", 1, inOffice), "less_than_two_weeks", 0},
		"noise":                 {worked("dev", 4, func(w, d, h int) float64 { return noise[w*weekHours+d*24+h] }), "not_periodic", 0},
		"always the same":       {worked("dev", 4, func(int, int, int) float64 { return 500 }), "always_active", 0},
		"a protected namespace": {worked("kube-system", 4, inOffice), "protected_namespace", 0},
		"quiet for an hour at a time": {worked("dev", 4, func(_, _, h int) float64 {
			if h == 3 || h == 10 || h == 15 || h == 22 {
				return 5
			}
			return 500
		}), "no_quiet_window", 0},
	} {
		t.Run(name, func(t *testing.T) {
			a := decideOK(t, &fleetv1.ClusterState{Region: "us-east-1"}, map[string]any{"time_zone": "Europe/Berlin"}, nil, testNow, c.usage)
			if v := a.WorkloadVerdicts[0]; v.Reason != c.reason || len(a.SleepWindows) != c.windows {
				t.Fatalf("%v with %d windows, want %s with %d; %v", v, len(a.SleepWindows), c.reason, c.windows, a.Evidence)
			}
			for _, w := range a.SleepWindows {
				if w.LocalStart == "fri 20:00" && w.LocalEnd != "mon 07:00" && w.LocalEnd != "mon 08:00" {
					t.Errorf("the weekend ends %s", w.LocalEnd)
				}
				if w.ExpectedFalseSleepMinutesPerWeek > 90 || w.Confidence < 0.5 {
					t.Errorf("window %v", w)
				}
			}
		})
	}
}

func TestOneOddWeekIsLeftOutAndTold(t *testing.T) {
	u := worked("dev", 5, func(w, d, h int) float64 {
		if w == 2 {
			return 500
		}
		return inOffice(w, d, h)
	})
	a := decideOK(t, &fleetv1.ClusterState{Region: "us-east-1"}, map[string]any{"time_zone": "Europe/Berlin"}, nil, testNow, u)
	monday := instant(t, "2026-11-02T00:00:00+01:00") // the third, after clocks were set back
	if odd := a.Evidence[0].OddWeeks; len(odd) != 1 || !odd[0].AsTime().Equal(monday) {
		t.Errorf("odd weeks %v", odd)
	}
}

func TestWorkloadsWithoutUsageStayAwake(t *testing.T) {
	a := decideOK(t, small(), map[string]any{"time_zone": "Europe/Berlin"}, nil, testNow, worked("dev", 4, inOffice))
	for _, v := range a.WorkloadVerdicts {
		if v.Name == "web" && v.Verdict != "sleep" || v.Name == "db" && v.Reason != "no_usage" {
			t.Errorf("verdict %v", v)
		}
	}
	for _, v := range a.NodeVerdicts { // node-0 has the database
		if (v.NodeName == "node-1") != (v.Verdict == "sleep") {
			t.Errorf("verdict %v", v)
		}
	}
}

// TestWindowsAreTheBestThereAre, against every choice of up to two windows on a short grid of costs.
func TestWindowsAreTheBestThereAre(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	for range 8 {
		var p [weekHours]float64
		for i := range p {
			p[i] = 1 // never, but for two stretches
		}
		for _, start := range []int{rng.IntN(weekHours), rng.IntN(weekHours)} {
			for i := range 14 {
				p[(start+i)%weekHours] = 0.1 * rng.Float64()
			}
		}
		b := bargain{penalty: 20, each: 0.75, least: 4}
		got := 0.0
		for _, w := range b.choose(p) {
			got += worth(b, p, w)
			if w.hours < 4 {
				t.Errorf("a window of %d hours", w.hours)
			}
		}
		best := 0.0
		var good []window
		for start := range weekHours {
			for hours := 4; hours <= 28; hours++ {
				if w := (window{start, hours}); worth(b, p, w) > 0 {
					good = append(good, w)
				}
			}
		}
		for i, one := range good {
			best = max(best, worth(b, p, one))
			for _, two := range good[:i] {
				if disjoint(one, two) {
					best = max(best, worth(b, p, one)+worth(b, p, two))
				}
			}
		}
		if got < best-1e-9 {
			t.Errorf("chosen windows gain %g, two at the best %g", got, best)
		}
	}
}

func worth(b bargain, p [weekHours]float64, w window) float64 {
	sum := -b.each
	for _, cell := range w.cells() {
		sum += b.gain(p[cell])
	}
	return sum
}

func disjoint(a, b window) bool {
	in := map[int]bool{}
	for _, cell := range a.cells() {
		in[cell] = true
	}
	for _, cell := range b.cells() {
		if in[cell] {
			return false
		}
	}
	return true
}

func TestQuestionsThatCannotBeReadAreNamed(t *testing.T) {
	empty := &fleetv1.ClusterState{Region: "us-east-1"}
	zone, closed := office(), office()
	closed["calendar"].(map[string]any)["exceptions"] = []any{map[string]any{"first_date": "2026-11-26", "last_date": "2028-11-25", "state": "asleep"}}
	zone["calendar"].(map[string]any)["time_zone"] = "Mars/Olympus"
	for name, c := range map[string]struct {
		requirements, constraints map[string]any
		field                     string
	}{
		"neither calendar nor usage": {nil, nil, "requirements.calendar"},
		"an unknown zone":            {zone, nil, "requirements.calendar.time_zone"},
		"asleep for ever":            {closed, nil, "requirements.calendar"},
		"an unknown key":             {map[string]any{"calender": 1}, nil, "requirements.calender"},
		"a broken pattern":           {office(), map[string]any{"protected_namespaces": []any{"["}}, "constraints.protected_namespaces[0]"},
		"a sleep of no time":         {office(), map[string]any{"min_sleep_hours": 0}, "constraints.min_sleep_hours"},
	} {
		_, err := decide(t, empty, c.requirements, c.constraints, testNow)
		if got := fault.From(err).Details["field"]; err == nil || got != c.field {
			t.Errorf("%s: the fault is in %v, want %s: %v", name, got, c.field, err)
		}
	}
}
