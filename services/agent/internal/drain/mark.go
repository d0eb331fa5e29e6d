package drain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// ErrNotLeading is what a write gets that was not sent, as the lease is not held.
var ErrNotLeading = errors.New("the lease is not held, so nothing is written")

// Mark finds, checks and cordons the node, in one patch that also keeps new pods
// and load balancers away and holds the drain's record. A nil outcome means that
// there is something to Run. Marking again does nothing.
func (d *Drain) Mark(ctx context.Context) (*Outcome, error) {
	if d.marked || d.markEnd != nil {
		return d.markEnd, nil
	}
	d.exec.marking.add()
	marking := sync.OnceFunc(d.exec.marking.done)
	defer marking()
	backoff := callBackoff{}
	for {
		out, err := d.tryMark(ctx)
		if err == nil {
			d.markEnd = out
			return out, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if !Transient(err) {
			d.markEnd = &Outcome{Status: Failed, Error: err.Error()}
			return d.markEnd, nil
		}
		d.takeHurry()
		if !time.Now().Before(d.req.Deadline) {
			d.markEnd = &Outcome{Status: Timeout, Error: fmt.Sprintf("deadline passed before the node was cordoned: %v", err)}
			return d.markEnd, nil
		}
		if apierrors.IsConflict(err) && d.tries == 1 {
			continue // the informer was behind; now the node is read
		}
		marking() // the others need not wait for one that has trouble
		wait := time.NewTimer(min(backoff.next(), time.Until(d.req.Deadline)))
		select {
		case <-ctx.Done():
			wait.Stop()
			return nil, context.Cause(ctx)
		case <-wait.C:
		}
	}
}

func (d *Drain) tryMark(ctx context.Context) (*Outcome, error) {
	if err := d.exec.marks.Enter(ctx, d.rank()); err != nil {
		return nil, err
	}
	defer d.exec.marks.Leave()
	callCtx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	node, err := d.readNode(callCtx)
	if apierrors.IsNotFound(err) {
		return d.endNodeGone("the node does not exist"), nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading node %s: %w", d.name(), err)
	}
	if err := CheckInstance(node, d.req.Parameters.GetInstanceId()); err != nil {
		return nil, err
	}
	old, _ := ReadRecord(node)
	switch mine := old.TaskID == d.req.TaskID; {
	case !mine && !time.Now().Before(d.req.Deadline):
		return &Outcome{Status: Timeout, Error: "the deadline had passed before the drain began; nothing was touched"}, nil
	case mine && old.CordonedByUs && !node.Spec.Unschedulable && !d.force():
		d.node, d.record, d.vetoed = node, old, true
		return &Outcome{Status: Failed, Error: "somebody uncordoned the node while nobody drained it"}, nil
	}
	d.node = node
	d.resume(node, old)
	err = d.writeMark(callCtx, node)
	if apierrors.IsNotFound(err) {
		return d.endNodeGone("it was deleted before it was cordoned"), nil
	}
	if err != nil {
		return nil, fmt.Errorf("cordoning node %s: %w", d.name(), err)
	}
	d.marked = true
	d.mu.Lock()
	d.cordoned = d.record.Cordoned
	d.mu.Unlock()
	return nil, nil
}

// readNode takes what the informer has, once: the patch fails if that is not the
// newest, and of two hundred cordons each call less counts.
func (d *Drain) readNode(ctx context.Context) (*corev1.Node, error) {
	d.tries++
	if d.tries == 1 {
		node, ok := d.exec.View.Node(d.name())
		if ok && CheckInstance(node, d.req.Parameters.GetInstanceId()) == nil {
			return node, nil
		}
	}
	return d.exec.marker().CoreV1().Nodes().Get(ctx, d.name(), metav1.GetOptions{})
}

// resume takes over what an earlier run of the same task wrote on the node, and
// from a drain that had not ended what it had changed: it is ours to undo.
func (d *Drain) resume(node *corev1.Node, old Record) {
	now := time.Now()
	d.started = now
	cordoned := now
	if old.TaskID == d.req.TaskID {
		d.started, cordoned = old.Started, old.Cordoned
		d.req.Note("resumed the drain begun at %s", old.Started.UTC().Format(time.RFC3339))
	}
	inherits := old.TaskID == d.req.TaskID || old.Underway() || old.Phase == Superseded
	_, labelled := node.Labels[corev1.LabelNodeExcludeBalancers]
	d.record = Record{
		TaskID: d.req.TaskID, Attempt: d.req.Attempt, Priority: d.req.Priority, Local: d.req.Local, Cause: d.req.Cause,
		Phase: underway, Started: d.started.UTC(), Cordoned: cordoned.UTC(), Deadline: d.req.Deadline.UTC(),
		LeaderEpoch:  d.exec.epoch(),
		CordonedByUs: !node.Spec.Unschedulable || inherits && old.CordonedByUs || node.Annotations[CordonedByAnnotation] == d.req.TaskID,
		LabelledByUs: !labelled || inherits && old.LabelledByUs,
		TaintedByUs:  !tainted(node) || inherits && old.TaintedByUs,
		Parameters:   encodeParameters(d.req.Parameters),
	}
}

// writeMark is t0. A drain that is resumed as it was writes nothing.
func (d *Drain) writeMark(ctx context.Context, node *corev1.Node) error {
	patch := CordonPatch(node, d.req.TaskID, "draining")
	if !tainted(node) {
		taint := corev1.Taint{Key: DrainingTaint, Effect: corev1.TaintEffectNoSchedule}
		setSpec(patch, "taints", append(slices.Clone(node.Spec.Taints), taint))
	}
	if _, labelled := node.Labels[corev1.LabelNodeExcludeBalancers]; !labelled {
		setLabel(patch, corev1.LabelNodeExcludeBalancers, "true")
	}
	text, err := putRecord(patch, d.record)
	if err != nil {
		return err
	}
	if text == node.Annotations[RecordAnnotation] && node.Spec.Unschedulable && tainted(node) {
		return nil
	}
	if err := d.exec.patchNode(ctx, d.exec.marker(), node.Name, patch); err != nil {
		return err
	}
	if old, _ := ReadRecord(node); old.TaskID != d.req.TaskID {
		d.record.Cordoned, d.fresh = time.Now().UTC(), true
		if !node.Spec.Unschedulable {
			d.req.Note("cordoned node %s", node.Name)
		}
	}
	return nil
}

// patchNode is the only way by which a drain writes to a node.
func (e *Executor) patchNode(ctx context.Context, client kubernetes.Interface, name string, patch map[string]any) error {
	body, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("encoding patch of node %s: %w", name, err)
	}
	if !e.leading() {
		return ErrNotLeading
	}
	_, err = client.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, body, metav1.PatchOptions{})
	return err
}
