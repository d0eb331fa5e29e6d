package feasible

import (
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
)

// check of one decision.
type check struct {
	state    *fleetv1.ClusterState
	decision *mlv1.DecisionResponse
	joined   map[string]string
	nodes    map[string]*fleetv1.NodeMetric
	gone     map[string]string // node → instance id, as decided
	order    []string          // of gone
	leaving  []*fleetv1.Pod
	board    *Board
	found    []Violation
	anywhere bool // pods may land elsewhere than planned
}

func newCheck(state *fleetv1.ClusterState, decision *mlv1.DecisionResponse, joined map[string]string) *check {
	c := &check{state: state, decision: decision, joined: joined, nodes: map[string]*fleetv1.NodeMetric{}, gone: map[string]string{}}
	for _, n := range state.GetNodes() {
		c.nodes[n.GetNodeName()] = n
	}
	for _, step := range decision.GetExecutionPlan() {
		if step.GetAction() != "drain_node" {
			continue
		}
		ids := step.GetParameters().GetFields()["instance_ids"].GetListValue().GetValues()
		for i, name := range step.GetParameters().GetFields()["node_names"].GetListValue().GetValues() {
			id := ""
			if i < len(ids) {
				id = ids[i].GetStringValue()
			}
			c.gone[name.GetStringValue()] = id
			c.order = append(c.order, name.GetStringValue())
		}
	}
	for _, pod := range state.GetPods() {
		if _, leaves := c.gone[pod.GetNodeName()]; leaves && !finished(pod) && !staysBehind(pod) {
			c.leaving = append(c.leaving, pod)
		}
	}
	return c
}

func (c *check) report(rule, node string, pod *fleetv1.Pod, detail string) {
	v := Violation{Rule: rule, Node: node, Detail: detail}
	if pod != nil {
		v.Pod = pod.GetNamespace() + "/" + pod.GetName()
	}
	c.found = append(c.found, v)
}

func finished(pod *fleetv1.Pod) bool {
	return pod.GetPhase() == "Succeeded" || pod.GetPhase() == "Failed"
}

// staysBehind is a pod that ends with its node.
func staysBehind(pod *fleetv1.Pod) bool {
	return pod.GetOwner().GetKind() == "DaemonSet" || pod.GetMirror() || pod.GetTerminating()
}

// nodesGone must be those that were meant, and free to go.
func (c *check) nodesGone() {
	seen := map[string]int{}
	for _, pod := range c.state.GetPods() {
		if !finished(pod) {
			seen[pod.GetNodeName()]++
		}
	}
	for _, name := range c.order {
		n := c.nodes[name]
		switch {
		case n == nil:
			c.report(RuleUnknownNode, name, nil, "it is not among the cluster's nodes")
			continue
		case n.GetInstanceId() != c.gone[name]:
			c.report(RuleIdentity, name, nil, fmt.Sprintf("it was %s and is %s", c.gone[name], n.GetInstanceId()))
		case n.GetDoNotDisrupt():
			c.report(RuleDoNotDisrupt, name, nil, "an annotation of the node forbids it")
		case !n.GetReady():
			c.report(RuleNotReady, name, nil, "it is not ready")
		}
		if int(n.GetPodCount()) > seen[name] && seen[name] == 0 {
			c.report(RuleUnseen, name, nil, fmt.Sprintf("it has %d pods and the state lists none", n.GetPodCount()))
		}
	}
}

// podsLeaving must be free to go.
func (c *check) podsLeaving() {
	budgets := map[string][]*fleetv1.PodDisruptionBudget{}
	for _, b := range c.state.GetPodDisruptionBudgets() {
		budgets[b.GetNamespace()] = append(budgets[b.GetNamespace()], b)
	}
	for _, pod := range c.leaving {
		if pod.GetDoNotDisrupt() != "" {
			c.report(RulePodStays, pod.GetNodeName(), pod, pod.GetDoNotDisrupt())
		}
		if pod.GetOwner().GetKind() == "" {
			c.report(RuleUnmanaged, pod.GetNodeName(), pod, "nobody would make it again")
		}
		c.guarded(pod, budgets[pod.GetNamespace()])
		for _, t := range slices.Concat(pod.GetPodAffinity(), pod.GetPodAntiAffinity()) {
			if t.GetNamespaceSelector() {
				c.report(RuleNamespaces, pod.GetNodeName(), pod, "which namespaces its affinity means is not known")
				break
			}
		}
	}
}

// guarded by a budget that wants all its pods, or by two, which the eviction API
// refuses. One that is only exhausted for now does not count: the drain waits.
func (c *check) guarded(pod *fleetv1.Pod, budgets []*fleetv1.PodDisruptionBudget) {
	guards := 0
	for _, b := range budgets {
		if !Selects(b.GetSelector(), pod.GetLabels()) {
			continue
		}
		guards++
		if b.GetDisruptionsAllowed() == 0 && b.GetExpectedPods() > 0 && b.GetDesiredHealthy() >= b.GetExpectedPods() {
			c.report(RuleBudget, pod.GetNodeName(), pod, fmt.Sprintf("%s wants all its %d pods", b.GetName(), b.GetExpectedPods()))
			return
		}
	}
	if guards > 1 {
		c.report(RuleBudget, pod.GetNodeName(), pod, fmt.Sprintf("%d budgets guard it", guards))
	}
}

// described says whether the decision tells where pods land.
func (c *check) described() bool {
	return c.binds() && len(c.decision.GetPodMoves())+len(c.decision.GetNewNodes()) > 0 || bought(c.decision) == 0
}

// binds says whether pods must be able to land where the decision moves them.
func (c *check) binds() bool { return c.decision.GetDecisionType() != "spot_optimize" }

// newNodes must be what is bought, one for one.
func (c *check) newNodes() {
	type kind struct{ typeName, zone, bought string }
	count := map[kind]int{}
	for _, n := range c.decision.GetNewNodes() {
		count[kind{n.GetInstanceType(), n.GetAvailabilityZone(), n.GetNodeType()}]++
	}
	for _, r := range c.decision.GetRecommendations() {
		count[kind{r.GetInstanceType(), r.GetAvailabilityZone(), r.GetNodeType()}] -= int(r.GetNodeCount())
	}
	for k, n := range count {
		if n != 0 {
			c.report(RuleNewNodes, "", nil, fmt.Sprintf("%d nodes %v are described and not bought, or the other way round", n, k))
		}
	}
}

// land the pods: first those with a move where they should, in whatever order they
// can, then those that came since wherever they fit.
func (c *check) land() {
	c.board = NewBoard(c.staying())
	for _, n := range c.decision.GetNewNodes() {
		if c.joined[n.GetNodeName()] == "" {
			c.board.addNode(n)
		}
	}
	c.board.pods(slices.Concat(c.stayingPods(), c.daemons()), c.leaving)
	targets := map[string]string{}
	for _, m := range c.decision.GetPodMoves() {
		if !c.binds() {
			break
		}
		to := m.GetToNode()
		if name := c.joined[to]; name != "" {
			to = name
		}
		targets[m.GetUid()] = to
	}
	var planned, since []*fleetv1.Pod
	for _, pod := range c.leaving {
		to, ok := targets[pod.GetUid()]
		switch {
		case !ok:
			since = append(since, pod)
		case c.board.nodes[to] == nil:
			c.report(RuleUnknownNode, to, pod, "it should go there")
		default:
			planned = append(planned, pod)
		}
	}
	c.landPlanned(planned, targets)
	for _, pod := range since {
		if c.board.anywhere(pod) == "" {
			c.report(RuleNoPlace, pod.GetNodeName(), pod, "no node that stays or is bought takes it")
		}
	}
}

func (c *check) landPlanned(pods []*fleetv1.Pod, targets map[string]string) {
	for len(pods) > 0 {
		var refused []*fleetv1.Pod
		for _, pod := range pods {
			if rule, _ := c.board.Refusal(pod, targets[pod.GetUid()]); rule == "" {
				c.board.Place(pod, targets[pod.GetUid()])
			} else {
				refused = append(refused, pod)
			}
		}
		if len(refused) == len(pods) {
			break
		}
		pods = refused
	}
	for _, pod := range pods {
		rule, detail := c.board.Refusal(pod, targets[pod.GetUid()])
		if c.anywhere && c.board.anywhere(pod) != "" {
			continue
		}
		if rule != "" {
			c.report(rule, targets[pod.GetUid()], pod, detail)
		}
	}
}

// staying nodes, as the scheduler sees them.
func (c *check) staying() []*fleetv1.NodeMetric {
	var all []*fleetv1.NodeMetric
	for _, n := range c.state.GetNodes() {
		if _, leaves := c.gone[n.GetNodeName()]; !leaves {
			all = append(all, n)
		}
	}
	return all
}

func (c *check) stayingPods() []*fleetv1.Pod {
	var all []*fleetv1.Pod
	for _, pod := range c.state.GetPods() {
		if _, leaves := c.gone[pod.GetNodeName()]; !leaves && pod.GetNodeName() != "" && !finished(pod) {
			all = append(all, pod)
		}
	}
	return all
}

// daemons that the new nodes get: one pod of each DaemonSet that suits.
func (c *check) daemons() []*fleetv1.Pod {
	models := map[string]*fleetv1.Pod{}
	for _, pod := range c.state.GetPods() {
		if pod.GetOwner().GetKind() == "DaemonSet" && !finished(pod) {
			id := pod.GetNamespace() + "/" + pod.GetOwner().GetName()
			if models[id] == nil || pod.GetRequests().GetCpuMillicores() > models[id].GetRequests().GetCpuMillicores() {
				models[id] = pod
			}
		}
	}
	var all []*fleetv1.Pod
	for _, n := range c.decision.GetNewNodes() {
		if c.joined[n.GetNodeName()] != "" {
			continue // its own are in the state
		}
		for _, id := range slices.Sorted(maps.Keys(models)) {
			pod := proto.CloneOf(models[id])
			pod.NodeAffinity = onLabels(pod.GetNodeAffinity())
			if tolerated(pod, n) == "" && admitted(pod, n) {
				pod.NodeName, pod.Name, pod.Uid = n.GetNodeName(), pod.GetOwner().GetName()+"-"+n.GetNodeName(), id+"-"+n.GetNodeName()
				all = append(all, pod)
			}
		}
	}
	return all
}

// onLabels is node affinity without the node's name, which a DaemonSet's controller
// adds to each pod.
func onLabels(terms []*fleetv1.NodeSelectorTerm) []*fleetv1.NodeSelectorTerm {
	var all []*fleetv1.NodeSelectorTerm
	for _, t := range terms {
		if len(t.GetMatchExpressions()) == 0 {
			return nil
		}
		all = append(all, &fleetv1.NodeSelectorTerm{MatchExpressions: t.GetMatchExpressions()})
	}
	return all
}
