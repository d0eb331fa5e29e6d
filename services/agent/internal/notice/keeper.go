package notice

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/drain"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/imds"
)

const (
	// callTimeout leaves room for a second try within the five seconds from
	// notice to cordon.
	callTimeout = 2 * time.Second
	firstRetry  = 100 * time.Millisecond
	lastRetry   = 2 * time.Second
	// wrongNode is how often a node that is not this machine's is looked at again.
	wrongNode = 30 * time.Second
	// againAfterStop is how soon a node is cordoned when what forbade it is over.
	againAfterStop = 5 * time.Second
)

// KeeperConfig is what a Keeper needs.
type KeeperConfig struct {
	// Client patches this node only.
	Client kubernetes.Interface
	// Node is the name of the node that this process runs on.
	Node string
	// Cluster is central's id of the cluster.
	Cluster uuid.UUID
	// Policy says what to do.
	Policy func() *agentv1.InterruptionPolicy
	// Log gets a line for each change of the node.
	Log *slog.Logger
}

// Keeper writes on its own node what AWS told the instance, and cordons it at
// once. It needs neither central nor a leader.
type Keeper struct {
	cfg  KeeperConfig
	wake chan struct{}

	mu      sync.Mutex
	reading *imds.Reading
}

// NewKeeper makes a Keeper.
func NewKeeper(cfg KeeperConfig) *Keeper { return &Keeper{cfg: cfg, wake: make(chan struct{}, 1)} }

// Take takes a reading; Run writes it down.
func (k *Keeper) Take(r imds.Reading) {
	k.mu.Lock()
	k.reading = &r
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Going says whether the node is to be emptied now, by what the instance knows.
func (k *Keeper) Going() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.reading == nil {
		return false
	}
	return slices.ContainsFunc(k.reading.Notices, func(n imds.Notice) bool {
		now, _ := urgent(n.NodeNotice, time.Until(n.Until))
		return now
	})
}

// Run writes readings down until ctx ends, and tries again until it is done.
func (k *Keeper) Run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	wait := firstRetry
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-k.wake:
			wait = firstRetry
		case <-timer.C:
		}
		k.mu.Lock()
		reading := k.reading
		k.mu.Unlock()
		if reading == nil {
			continue
		}
		next, err := k.write(ctx, *reading)
		if err != nil && ctx.Err() == nil {
			k.cfg.Log.Warn("writing this node's notices failed, trying again", "node", k.cfg.Node, "error", err)
			next, wait = wait/2+rand.N(wait/2), min(2*wait, lastRetry)
		}
		timer.Reset(next)
	}
}

// write makes the node say what the reading says. It returns when to look again.
func (k *Keeper) write(ctx context.Context, r imds.Reading) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	node, err := k.cfg.Client.CoreV1().Nodes().Get(ctx, k.cfg.Node, metav1.GetOptions{})
	if err != nil {
		return 0, fmt.Errorf("reading node %s: %w", k.cfg.Node, err)
	}
	if err := drain.CheckInstance(node, r.InstanceID); err != nil {
		if node.Spec.ProviderID != "" {
			k.cfg.Log.Error("the metadata service answers for another machine: its notices are not believed", "error", err)
			return wrongNode, nil
		}
		return 0, err // it has not joined for long
	}
	old, err := Read(node)
	if err != nil {
		k.cfg.Log.Warn("replacing a notice that cannot be read", "error", err)
		old = nil
	}
	now, change := k.plan(node, old, r)
	if change != nil {
		if err := k.patch(ctx, node, change); err != nil {
			return 0, err
		}
	}
	return k.nextLook(now, r), nil
}

// change is a merge patch of the node, and what to say of it.
type change struct {
	annotations map[string]any
	spec        map[string]any
	whole       map[string]any // instead of the two
	did         string
	cordonedFor []*fleetv1.NodeNotice
}

// plan compares what the node says with what it should say.
func (k *Keeper) plan(node *corev1.Node, old *Mark, r imds.Reading) (*Mark, *change) {
	now := merge(old, r)
	for _, n := range now.Notices {
		n.NodeName = node.Name
	}
	for _, n := range r.Notices { // deadlines do not change, but Until is this process'
		if kept := now.find(n.GetNoticeId()); kept != nil {
			kept.TaskId = ""
			if yes, _ := urgent(kept, time.Until(n.Until)); yes {
				kept.TaskId = TaskID(k.cfg.Cluster, r.InstanceID, now.Past)
			}
		}
	}
	if undo := k.undo(node, old, now, r.InstanceID); undo != nil {
		undo.whole["metadata"].(map[string]any)["annotations"].(map[string]any)[Annotation] = value(now)
		return now, undo
	}
	c := &change{annotations: map[string]any{}}
	k.cordon(node, now, c)
	if text := now.String(); text != node.Annotations[Annotation] {
		c.annotations[Annotation] = value(now)
		c.did += " and wrote the notices on it"
	}
	if len(c.annotations) == 0 {
		return now, nil
	}
	return now, c
}

func value(m *Mark) any {
	if text := m.String(); text != "" {
		return text
	}
	return nil
}

// merge lays a reading over what the node says. Notices of a boot that is over
// are forgotten but for their number; those that were not read are kept.
func merge(old *Mark, r imds.Reading) *Mark {
	now := &Mark{BootID: r.BootID}
	if old != nil {
		now.Past = old.Past
	}
	if old != nil && old.BootID != r.BootID {
		if old.interrupted() {
			now.Past++
		}
		old = nil
	}
	for _, n := range r.Notices {
		kept := old.find(n.GetNoticeId())
		if kept == nil {
			kept = n.NodeNotice
		}
		now.Notices = append(now.Notices, proto.CloneOf(kept))
	}
	if old == nil {
		return now
	}
	for _, n := range old.Notices {
		if !r.Complete && now.find(n.GetNoticeId()) == nil {
			now.Notices = append(now.Notices, proto.CloneOf(n))
		}
	}
	for _, id := range old.Cordoned {
		if now.find(id) != nil {
			now.Cordoned = append(now.Cordoned, id)
		}
	}
	return now
}

// cordon adds the cordon for the notices that want one and had none. It is the
// first step of the drain that follows, and bears its name.
func (k *Keeper) cordon(node *corev1.Node, now *Mark, c *change) {
	if !k.cfg.Policy().GetCordon() {
		return
	}
	var why []string
	var fresh []*fleetv1.NodeNotice
	for _, n := range now.Notices {
		if n.GetTaskId() == "" || slices.Contains(now.Cordoned, n.GetNoticeId()) {
			continue
		}
		now.Cordoned = append(now.Cordoned, n.GetNoticeId())
		fresh = append(fresh, n)
		why = append(why, strings.TrimSpace(n.GetEventType()+" "+n.GetAction()))
		c.annotations[drain.CordonedByAnnotation] = n.GetTaskId()
	}
	if len(why) == 0 || node.Spec.Unschedulable {
		delete(c.annotations, drain.CordonedByAnnotation) // whose cordon it is, it stays
		return
	}
	c.annotations[drain.CordonReasonAnnotation] = strings.Join(why, ", ")
	c.spec = map[string]any{"unschedulable": true}
	c.did, c.cordonedFor = " cordoned it", fresh
}

// undo takes the node back into service when the notices for which we cordoned
// it are no more: another boot, or AWS changed its mind. Nil: there is nothing
// of ours, or a drain is at work.
func (k *Keeper) undo(node *corev1.Node, old, now *Mark, instance string) *change {
	if old == nil || len(old.Cordoned) == 0 || len(now.Cordoned) > 0 {
		return nil
	}
	task := TaskID(k.cfg.Cluster, instance, old.Past)
	record, drained := drain.ReadRecord(node)
	if node.Annotations[drain.CordonedByAnnotation] != task || slices.ContainsFunc(now.Notices, func(n *fleetv1.NodeNotice) bool { return n.GetTaskId() != "" }) {
		return nil
	}
	if drained && (record.TaskID != task || (record.Underway() && time.Now().Before(record.Deadline))) {
		return nil
	}
	return &change{whole: drain.UndoPatch(node, true), did: " uncordoned it, as its notices are no more"}
}

// patch writes a change, unless the node was changed or replaced meanwhile.
func (k *Keeper) patch(ctx context.Context, node *corev1.Node, c *change) error {
	patch := c.whole
	if patch == nil {
		patch = map[string]any{"metadata": map[string]any{
			"uid": string(node.UID), "resourceVersion": node.ResourceVersion, "annotations": c.annotations,
		}}
		if c.spec != nil {
			patch["spec"] = c.spec
		}
	}
	body, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("encoding the patch of node %s: %w", node.Name, err)
	}
	if _, err := k.cfg.Client.CoreV1().Nodes().Patch(ctx, node.Name, types.MergePatchType, body, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("patching node %s: %w", node.Name, err)
	}
	for _, n := range c.cordonedFor {
		observe(n)
	}
	k.cfg.Log.Info("this node was marked:"+strings.TrimPrefix(c.did, " and"), "node", node.Name)
	return nil
}

// nextLook is when a notice that can wait no longer can, or one that may not be
// acted on may be.
func (k *Keeper) nextLook(m *Mark, r imds.Reading) time.Duration {
	next := 24 * time.Hour
	for _, n := range m.Notices {
		if n.GetTaskId() != "" && !slices.Contains(m.Cordoned, n.GetNoticeId()) {
			next = againAfterStop
		}
	}
	for _, n := range r.Notices {
		if now, in := urgent(n.NodeNotice, time.Until(n.Until)); !now && n.GetEventType() == imds.Scheduled && m.find(n.GetNoticeId()) != nil {
			next = min(next, max(in, time.Second))
		}
	}
	return next
}
