package drain

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Close writes how the drain ended on the node, or, when asked, undoes what this
// drain did to it, in this process or, where the record says so, in an earlier
// one. A node that is gone needs nothing.
func (d *Drain) Close(ctx context.Context, phase string, undo bool) error {
	if d.nodeGone || (d.node == nil && !undo) {
		return nil
	}
	backoff := callBackoff{}
	for {
		err := d.tryClose(ctx, phase, undo || d.vetoed)
		if err == nil || !Transient(err) {
			return err
		}
		wait := time.NewTimer(backoff.next())
		select {
		case <-ctx.Done():
			wait.Stop()
			return fmt.Errorf("ending drain of node %s: %w", d.name(), err)
		case <-wait.C:
		}
	}
}

func (d *Drain) tryClose(ctx context.Context, phase string, undo bool) error {
	client := d.exec.marker()
	node, err := client.CoreV1().Nodes().Get(ctx, d.name(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) || (err == nil && d.node != nil && node.UID != d.node.UID) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading node %s: %w", d.name(), err)
	}
	current, ok := ReadRecord(node)
	if !ok || current.TaskID != d.req.TaskID {
		return nil // another drain has taken over, or somebody cleaned up
	}
	if d.node == nil {
		d.node = node
	}
	var patch map[string]any
	if undo {
		patch = UndoPatch(node, current.CordonedByUs)
	} else {
		patch = locked(node, map[string]any{})
		current.Phase = phase
		if phase == Blocked && !d.force() && current.LabelledByUs {
			// The node lives on, and so do the pods on it: they need their traffic.
			setLabel(patch, corev1.LabelNodeExcludeBalancers, nil)
			current.LabelledByUs = false
		}
		if _, err := putRecord(patch, current); err != nil {
			return err
		}
	}
	if err := d.exec.patchNode(ctx, client, d.name(), patch); err != nil {
		return fmt.Errorf("ending drain of node %s: %w", d.name(), err)
	}
	if undo && current.CordonedByUs && node.Spec.Unschedulable {
		d.req.Note("uncordoned node %s", d.name())
	}
	d.tellEnd(phase)
	return nil
}

// Tidy takes what a drain left off nodes whose drain has ended and which somebody
// uncordoned since: with the taint they would stay empty. What fails is tried at
// the next call.
func (e *Executor) Tidy(ctx context.Context) {
	for _, node := range e.View.Nodes() {
		r, ok := ReadRecord(node)
		if !ok || r.Underway() || node.Spec.Unschedulable || !e.leading() {
			continue
		}
		callCtx, cancel := context.WithTimeout(ctx, callTimeout)
		err := e.patchNode(callCtx, e.marker(), node.Name, UndoPatch(node, false))
		cancel()
		switch {
		case err == nil:
			e.Log.Info("took the marks of an ended drain off a node that was uncordoned", "node", node.Name, "task_id", r.TaskID)
		case !Transient(err) && !apierrors.IsNotFound(err):
			e.Log.Warn("taking the marks of an ended drain off a node", "node", node.Name, "error", err)
		}
	}
}
