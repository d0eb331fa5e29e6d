package apitest

import (
	"slices"
	"strings"
	"testing"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/drain"
)

// evictions that the API server granted in a plot.
func (r *rooms) evictions(p *plot) int {
	return len(r.asked.granted("POST /api/v1/namespaces/"+p.name+"/", "/eviction"))
}

func TestAStopBreaksADrainOffInTheMiddle(t *testing.T) {
	for name, restart := range map[string]bool{"while it runs": false, "that an earlier process began": true} {
		t.Run(name, func(t *testing.T) {
			p := newPlot(t)
			node := p.addNode("a")
			p.deploy("free", 2, nil)
			p.deploy("held", 2, nil)
			p.budget("held", 2)
			dir := t.TempDir()
			r := startRooms(t, dir)
			id := r.offer("drain_node", 300, &fleetv1.DrainNodeParameters{NodeName: node})
			r.awaitProgress("the budget to hold", func(d *fleetv1.DrainReport) bool { return d.GetBlocked() > 0 && d.GetEvicted()+d.GetTerminating() > 0 })
			stop := &agentv1.SafetyStop{Reason: "all hands"}
			if restart {
				r.kill()
				r = startStopped(t, dir, stop)
			}
			r.runner.SetStop(stop)
			result := r.out.result(t, id)
			requireStatus(t, result, "cancelled")
			if !strings.Contains(result.GetError(), "a stop holds: all hands") {
				t.Fatalf("error %q", result.GetError())
			}
			before := r.evictions(p)
			n := p.node(node)
			if _, left := drain.ReadRecord(n); n.Spec.Unschedulable || left {
				t.Fatalf("the node is not as it was: %+v %v", n.Spec, n.Annotations)
			}
			await(t, "Kubernetes to take its taint of the cordon away", func() bool { return len(p.node(node).Spec.Taints) == 0 })
			await(t, "the evicted pods to be back", func() bool { return p.available("free") == 2 && p.available("held") == 2 })
			requireStatus(t, r.do("drain_node", &fleetv1.DrainNodeParameters{NodeName: node}), "cancelled")
			if p.node(node).Spec.Unschedulable || r.evictions(p) != before {
				t.Fatal("it drained on")
			}
			r.runner.SetStop(nil)
			second := p.addNode("b")
			requireStatus(t, r.do("cordon_node", &fleetv1.CordonNodeParameters{NodeName: second}), "success")
		})
	}
}

func TestAStopInAHeartbeatReachesTheAgentAndOutlivesIt(t *testing.T) {
	p := newPlot(t)
	node := p.addNode("a")
	c := startCentral(t)
	c.stop = &agentv1.SafetyStop{Reason: "all hands"}
	dir := t.TempDir()
	agent := startAgent(t, c, "one", dir)
	await(t, "the agent to hear of the stop", func() bool { return strings.Contains(agent.log.String(), "a stop holds") })
	refused := func(agentID, task string) {
		t.Helper()
		c.awaitHeard("a refusal", func(m msg) bool {
			r := m.GetTaskResult()
			return r.GetTaskId() == task && r.GetStatus() == "cancelled" && strings.Contains(r.GetError(), "all hands")
		})
	}
	task := newTask(t, "cordon_node", 60, &fleetv1.CordonNodeParameters{NodeName: node})
	c.send("one", task)
	refused("one", task.TaskId)
	if hello := c.lastHello(); !slices.Contains(hello.GetTaskTypes(), "scale_workload") {
		t.Fatalf("it can %v", hello.GetTaskTypes())
	}
	c.order(nil)
	await(t, "the agent to hear that it is lifted", func() bool { return strings.Contains(agent.log.String(), "the stop is lifted") })
	again := newTask(t, "cordon_node", 60, &fleetv1.CordonNodeParameters{NodeName: node})
	c.send("one", again)
	c.awaitHeard("the cordon", func(m msg) bool {
		return m.GetTaskResult().GetTaskId() == again.TaskId && m.GetTaskResult().GetStatus() == "success"
	})
}
