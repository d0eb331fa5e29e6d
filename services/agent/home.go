package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/run"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/drain"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/imds"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/lead"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/notice"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/tasks"
)

// home is the node that this agent runs on: it watches its notices, leader or
// not, and gives the lease up before the node goes.
type home struct {
	settings *settings
	node     string // empty: on none
	client   kubernetes.Interface
	policies *notice.Policies
	log      *slog.Logger
	watcher  *imds.Watcher // nil when the metadata service is not watched
	keeper   *notice.Keeper

	elector *lead.Elector // nil: there is nobody to hand over to
	pod     types.NamespacedName
}

// cluster is what home sees of the cluster when it leads.
type cluster interface {
	Nodes() []*corev1.Node
	Node(name string) (*corev1.Node, bool)
	PodsOn(node string) []*corev1.Pod
	Watch(node string) (changed <-chan struct{}, stop func())
}

func newHome(s *settings, client kubernetes.Interface, policies *notice.Policies, log *slog.Logger) (*home, error) {
	h := &home{settings: s, node: s.Agent.NodeName, client: client, policies: policies, log: log}
	if !s.watches() {
		return h, nil
	}
	asks, err := imds.New(s.Agent.IMDSEndpoint)
	if err != nil {
		return nil, err
	}
	boot, err := imds.BootID()
	if err != nil {
		return nil, err
	}
	h.keeper = notice.NewKeeper(notice.KeeperConfig{
		Client: client, Node: h.node, Cluster: uuid.MustParse(s.Agent.ClusterID), Policy: policies.Current, Log: log,
	})
	h.watcher = &imds.Watcher{Client: asks, BootID: boot, Changed: h.keeper.Take, Log: log}
	return h, nil
}

// run watches this node's notices until ctx ends.
func (h *home) run(ctx context.Context) error {
	if h.watcher == nil {
		return nil
	}
	return run.All(ctx, run.Named("imds", h.watcher.Run), run.Named("keeper", h.keeper.Run))
}

// board is the leader's, for all nodes.
func (h *home) board(seen cluster, runner *tasks.Runner) *notice.Board {
	now := time.Now
	if h.watcher != nil {
		now = h.watcher.Client.Now
	}
	return notice.NewBoard(notice.BoardConfig{
		Cluster: uuid.MustParse(h.settings.Agent.ClusterID), Nodes: seen.Nodes, Policy: h.policies.Current, Runner: runner,
		Leave: func(node string) bool { return h.leavesTo(seen, node) }, Now: now, Log: h.log,
	})
}

// abstains says whether another agent should lead, as this node is going away.
// It reads the node, as a standby has no informers.
func (h *home) abstains(ctx context.Context) bool {
	if h.node == "" {
		return false
	}
	if h.keeper != nil && h.keeper.Going() {
		return true
	}
	node, err := h.client.CoreV1().Nodes().Get(ctx, h.node, metav1.GetOptions{})
	return err == nil && going(node)
}

// going says whether a node is no place for the leader to be.
func going(node *corev1.Node) bool {
	record, drained := drain.ReadRecord(node)
	return node.Spec.Unschedulable || node.DeletionTimestamp != nil || (drained && record.Underway()) || notice.Urgent(node)
}

// leavesTo says whether a node is this agent's own and another agent can take the lease.
func (h *home) leavesTo(seen cluster, node string) bool {
	return h.node != "" && node == h.node && h.elector != nil && h.elector.MayYield() && h.successor(seen)
}

// successor looks for another agent of the DaemonSet that is ready, on a node
// that stays: the lease is never given up where nobody would take it.
func (h *home) successor(seen cluster) bool {
	var set types.UID
	for _, pod := range seen.PodsOn(h.node) {
		if owner := metav1.GetControllerOf(pod); owner != nil && pod.Name == h.pod.Name && pod.Namespace == h.pod.Namespace {
			set = owner.UID
		}
	}
	if set == "" {
		return false
	}
	for _, node := range seen.Nodes() {
		if node.Name == h.node || going(node) {
			continue
		}
		for _, pod := range seen.PodsOn(node.Name) {
			owner := metav1.GetControllerOf(pod)
			if owner != nil && owner.UID == set && pod.DeletionTimestamp == nil && podReady(pod) {
				return true
			}
		}
	}
	return false
}

func podReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// handOver gives the lease up as soon as this node is going away and another
// agent can lead. That ends the work, and with it ctx.
func (h *home) handOver(ctx context.Context, seen cluster) error {
	if h.node == "" || h.elector == nil {
		return nil
	}
	changed, stop := seen.Watch(h.node)
	defer stop()
	again := time.NewTicker(time.Second) // another agent may become ready meanwhile
	defer again.Stop()
	for {
		if node, ok := seen.Node(h.node); ok && going(node) && h.leavesTo(seen, h.node) {
			h.give("the node that it runs on is going away")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-again.C:
		}
	}
}

func (h *home) give(why string) bool {
	given := h.elector.Yield()
	if given {
		h.log.Warn("giving the lease to another agent", "node", h.node, "reason", why)
	}
	return given
}

// door is where central's tasks come in. One that takes this agent's own node
// away is not accepted but left to the agent that leads next, to whom central
// offers it again: who drains a node should not die with it.
type door struct {
	*tasks.Runner
	home    *home
	cluster cluster
}

// Offer takes a task, or gives the lease up.
func (d *door) Offer(offer *fleetv1.Task) error {
	node := offer.GetParameters().GetFields()["node_name"].GetStringValue()
	switch offer.GetTaskType() {
	case "drain_node", "cordon_node":
		if d.home.leavesTo(d.cluster, node) && d.home.give(fmt.Sprintf("task %s is about its own node", offer.GetTaskId())) {
			return nil
		}
	}
	return d.Runner.Offer(offer)
}
