// Package feasible says which rules a decision would break if it were carried out
// on a cluster as it is now. It reads the kube-scheduler's filters from the API's
// documentation and shares no code with the engines that decide, so that a mistake
// of theirs is found before anything is touched.
package feasible

import (
	"fmt"
	"path"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
)

// Rules that a decision can break.
const (
	RuleUnknownNode  = "unknown_node"        // a node to be drained, or to move to, is not there
	RuleIdentity     = "node_identity"       // its name belongs to another instance by now
	RuleNotReady     = "not_ready"           // its kubelet could not end its pods
	RuleDoNotDisrupt = "do_not_disrupt"      // an annotation of the node forbids it
	RulePodStays     = "pod_do_not_disrupt"  // … of a pod
	RuleUnmanaged    = "unmanaged_pod"       // nobody would make the pod again
	RuleBudget       = "pdb_blocks"          // a budget can never allow the eviction
	RuleUnseen       = "unseen_pods"         // the node has pods that the state does not list
	RuleNamespaces   = "namespace_selector"  // its affinity selects namespaces by label, which are not known
	RuleNewNodes     = "new_nodes"           // what is bought is not what pods were placed on
	RuleProtected    = "protected_namespace" // the request protects the pod's namespace
	RuleLimit        = "limit"               // more evictions or nodes than the request allows
	RuleNoPlace      = "no_place"            // a pod that came since fits on no node
	RuleTaint        = "taint"               // the scheduler's filters …
	RuleSelector     = "node_affinity"       //
	RuleResources    = "resources"           //
	RulePort         = "host_port"           //
	RuleVolume       = "volume_zone"         //
	RuleSpread       = "topology_spread"     //
	RuleAffinity     = "pod_affinity"        //
	RuleApart        = "pod_anti_affinity"   // the pod's own
	RuleShunned      = "shunned_by_others"   // … and that of the pods there
)

// Violation is one rule that would be broken.
type Violation struct {
	// Rule is one of the constants above.
	Rule string
	// Node and Pod (namespace/name) it is about; empty where none.
	Node, Pod string
	// Detail for people.
	Detail string
}

// String for logs.
func (v Violation) String() string {
	return fmt.Sprintf("%s: node %q, pod %q: %s", v.Rule, v.Node, v.Pod, v.Detail)
}

// Check a decision against a state, which may be newer than the one decided on: the
// pods that are on the nodes now must be movable, those with a pod move must be able
// to land there, and those that came since must fit somewhere. No violations: it may
// be carried out. Where a decision does not say what its new nodes look like, where pods
// land is not checked; spot_optimize's new nodes and moves are what is expected of the
// scheduler, which rehearsals have shown to find places, so they bind nobody.
func Check(state *fleetv1.ClusterState, decision *mlv1.DecisionResponse) []Violation {
	return newCheck(state, decision, nil).run()
}

// CheckJoined is Check for when new nodes have joined and the first node is about to be
// drained: joined has the names of those that have, by the names that the decision gave
// them. Others may have taken the room of a pod meanwhile, so it may land anywhere.
func CheckJoined(state *fleetv1.ClusterState, decision *mlv1.DecisionResponse, joined map[string]string) []Violation {
	c := newCheck(state, decision, joined)
	c.anywhere = true
	return c.run()
}

func (c *check) run() []Violation {
	c.nodesGone()
	c.podsLeaving()
	if !c.described() {
		return c.found
	}
	c.newNodes()
	c.land()
	return c.found
}

// CheckLimits says which limits of a bin_pack request the decision breaks: evictions,
// nodes and protected namespaces, by the state decided on.
func CheckLimits(state *fleetv1.ClusterState, decision *mlv1.DecisionResponse, l *mlv1.BinPackConstraints) []Violation {
	c := newCheck(state, decision, nil)
	c.protected(l.GetProtectedNamespaces())
	all := 0
	for _, pod := range state.GetPods() {
		if !finished(pod) && !staysBehind(pod) && pod.GetNodeName() != "" {
			all++
		}
	}
	evictions, nodes := float64(len(c.leaving)), float64(len(c.gone))
	most, counted := disrupted(l.GetMaxNodesDisrupted(), len(state.GetNodes()))
	for _, limit := range []struct {
		name       string
		given      bool
		have, most float64
	}{
		{"max_evictions", l.MaxEvictions != nil, evictions, float64(l.GetMaxEvictions())},
		{"max_evictions_per_pod", l.MaxEvictionsPerPod != nil, evictions, l.GetMaxEvictionsPerPod() * float64(all)},
		{"max_nodes_disrupted", counted, nodes, most},
		{"max_nodes", l.GetMaxNodes() > 0, float64(bought(decision)), float64(l.GetMaxNodes())},
		{"allow_purchases", l.AllowPurchases != nil && !l.GetAllowPurchases(), float64(bought(decision)), 0},
	} {
		if limit.given && limit.have > limit.most+1e-9 {
			c.report(RuleLimit, "", nil, fmt.Sprintf("%s: %g of at most %g", limit.name, limit.have, limit.most))
		}
	}
	return c.found
}

// protected namespaces must not lose a pod.
func (c *check) protected(patterns []string) {
	for _, pod := range c.leaving {
		for _, pattern := range patterns {
			if ok, err := path.Match(pattern, pod.GetNamespace()); ok && err == nil {
				c.report(RuleProtected, pod.GetNodeName(), pod, "matches "+pattern)
			}
		}
	}
}

func disrupted(text string, nodes int) (most float64, given bool) {
	var n int
	if _, err := fmt.Sscanf(text, "%d", &n); err != nil {
		return 0, false
	}
	if text[len(text)-1] == '%' {
		return float64(n*nodes) / 100, true
	}
	return float64(n), true
}

func bought(decision *mlv1.DecisionResponse) int {
	n := 0
	for _, r := range decision.GetRecommendations() {
		n += int(r.GetNodeCount())
	}
	return n
}
