package notice

import (
	"context"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	corev1 "k8s.io/api/core/v1"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/drain"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/imds"
)

const (
	// glance is how often the nodes in the informer's cache are looked over. It
	// costs no call, and of five thousand nodes a tenth of a millisecond.
	glance = 250 * time.Millisecond
	// leastDrain is the shortest deadline of a drain begun here: a notice may be
	// late, and a clock wrong, but what can end in order is given the chance.
	leastDrain = 10 * time.Second
	// unnamedDrain is the deadline where AWS names no time, as for an Auto
	// Scaling group that waits for a lifecycle hook.
	unnamedDrain = 2 * time.Minute
	urgentTask   = 1
)

// Runner starts a drain by the agent's own decision. A task that it has, from
// here or from central, it does not start again.
type Runner interface {
	Local(ctx context.Context, task *fleetv1.Task) error
}

// BoardConfig is what a Board needs.
type BoardConfig struct {
	// Cluster is central's id of the cluster.
	Cluster uuid.UUID
	// Nodes are all nodes, from a cache.
	Nodes func() []*corev1.Node
	// Policy says what to do without central.
	Policy func() *agentv1.InterruptionPolicy
	// Runner drains.
	Runner Runner
	// Leave is true for a node that another agent will drain in a moment: this
	// one's own, which it gives the lease up for first.
	Leave func(node string) bool
	// Now is the time by AWS's clock.
	Now func() time.Time
	// Log gets a line for each notice.
	Log *slog.Logger
}

// Board is the leader's view of the notices on all nodes: for central, until it
// has them, and for a drain that does not wait for central.
type Board struct {
	cfg     BoardConfig
	changed chan struct{}

	mu     sync.Mutex
	posted map[string]*post
	looked bool              // the nodes were looked over once
	broken map[string]string // annotations that cannot be read, by node
}

// post is a notice on the board.
type post struct {
	notice *fleetv1.NodeNotice
	task   string    // the drain it asks for, empty for none
	until  time.Time // zero: AWS names no time
	acked  bool
	local  bool // the drain was begun here
}

// NewBoard makes a Board.
func NewBoard(cfg BoardConfig) *Board {
	return &Board{cfg: cfg, changed: make(chan struct{}, 1), posted: map[string]*post{}}
}

// Pending are the notices that central did not acknowledge, with what remains now.
func (b *Board) Pending() []*fleetv1.NodeNotice {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []*fleetv1.NodeNotice
	for _, p := range b.posted {
		if p.acked {
			continue
		}
		n := proto.CloneOf(p.notice)
		n.RemainingSeconds = 0
		if !p.until.IsZero() {
			n.RemainingSeconds = max(0, time.Until(p.until).Seconds())
		}
		n.TaskId = ""
		if p.local {
			n.TaskId = p.task
		}
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b *fleetv1.NodeNotice) int { return strings.Compare(a.GetNoticeId(), b.GetNoticeId()) })
	return out
}

// Acked notes that central has a notice; ids that nobody knows are ignored.
func (b *Board) Acked(noticeID string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.posted[noticeID]; p != nil {
		p.acked = true
	}
}

// Changed signals when there is something new in Pending.
func (b *Board) Changed() <-chan struct{} { return b.changed }

// Run looks over the nodes until ctx ends.
func (b *Board) Run(ctx context.Context) error {
	ticker := time.NewTicker(glance)
	defer ticker.Stop()
	for {
		b.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// look posts what is new on the nodes, takes down what is no more, and begins
// the drains that are due.
func (b *Board) look(ctx context.Context) {
	nodes := b.cfg.Nodes()
	b.mu.Lock()
	news := b.update(nodes)
	var due []*post
	for _, p := range b.posted {
		if b.due(p) {
			due = append(due, p)
		}
	}
	b.mu.Unlock()
	if len(due) > 0 && b.cfg.Policy().GetDrain() {
		for _, p := range due {
			news = b.drain(ctx, p) || news
		}
	}
	if news {
		select {
		case b.changed <- struct{}{}:
		default:
		}
	}
}

// update compares the board with the nodes.
func (b *Board) update(nodes []*corev1.Node) (news bool) {
	there, broken := map[string]bool{}, map[string]string{}
	for _, node := range nodes {
		mark, err := Read(node)
		if err != nil {
			broken[node.Name] = node.Annotations[Annotation]
			if b.broken[node.Name] != broken[node.Name] { // once for each text
				b.cfg.Log.Warn("a notice on a node cannot be read", "node", node.Name, "error", err)
			}
			continue
		}
		if mark == nil || mark.stale(node) {
			continue
		}
		for _, n := range mark.Notices {
			there[n.GetNoticeId()] = true
			news = b.post(node, n) || news
		}
	}
	for id := range b.posted {
		if !there[id] {
			delete(b.posted, id)
		}
	}
	b.looked, b.broken = true, broken
	return news
}

// post puts a notice up, or completes one that became urgent.
func (b *Board) post(node *corev1.Node, n *fleetv1.NodeNotice) (news bool) {
	if n.GetNodeName() != node.Name || drain.CheckInstance(node, n.GetInstanceId()) != nil {
		return false // somebody copied it there, or the name was taken over
	}
	if p := b.posted[n.GetNoticeId()]; p != nil {
		p.task = n.GetTaskId()
		return false
	}
	p := &post{notice: n, task: n.GetTaskId(), until: b.until(n)}
	b.posted[n.GetNoticeId()] = p
	left := "unknown"
	if !p.until.IsZero() {
		left = time.Until(p.until).Round(time.Second).String()
	}
	b.cfg.Log.Warn("a node was given notice", "node", node.Name, "instance_id", n.GetInstanceId(), "event_type", n.GetEventType(),
		"action", n.GetAction(), "remaining", left, "notice_id", n.GetNoticeId())
	return true
}

// until is the notice's end on this process' monotonic clock. What the node
// wrote is right for a notice that came while we looked, whatever the clocks
// say; of an older one only a clock tells how much is left, and never more.
func (b *Board) until(n *fleetv1.NodeNotice) time.Time {
	left, known := imds.Remaining(n, b.cfg.Now())
	if !known {
		return time.Time{}
	}
	wrote := time.Duration(max(0, math.Min(n.GetRemainingSeconds(), 1e9)) * float64(time.Second))
	if b.looked || left > wrote {
		left = wrote
	}
	return time.Now().Add(left)
}

func (b *Board) due(p *post) bool {
	return p.task != "" && !p.local && !b.cfg.Leave(p.notice.GetNodeName())
}

// drain begins the drain that central would ask for, under the same name: the
// runner does it once, whoever asks first.
func (b *Board) drain(ctx context.Context, p *post) bool {
	task, err := b.task(p)
	if err == nil {
		err = b.cfg.Runner.Local(ctx, task)
	}
	if err != nil {
		b.cfg.Log.Error("beginning a drain without central, trying again", "node", p.notice.GetNodeName(), "error", err)
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	p.local, p.acked = true, false // central shall know that the drain began
	return true
}

func (b *Board) task(p *post) (*fleetv1.Task, error) {
	params := proto.CloneOf(b.cfg.Policy().GetParameters())
	if params == nil {
		params = &fleetv1.DrainNodeParameters{}
	}
	params.NodeName, params.InstanceId = p.notice.GetNodeName(), p.notice.GetInstanceId()
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(params)
	if err != nil {
		return nil, err
	}
	fields := &structpb.Struct{}
	if err := fields.UnmarshalJSON(text); err != nil {
		return nil, err
	}
	left := unnamedDrain
	if !p.until.IsZero() {
		left = max(leastDrain, time.Until(p.until))
	}
	return &fleetv1.Task{
		TaskId: p.task, ClusterId: b.cfg.Cluster.String(), TaskType: "drain_node", Parameters: fields,
		Priority: urgentTask, RemainingSeconds: left.Seconds(), CreatedBy: "agent", Cause: "interruption",
	}, nil
}
