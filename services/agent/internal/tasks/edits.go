package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/drain"
)

// edit decides how a node, as just read, is to be changed; a nil patch means
// that it is as wanted. The note goes to the result's logs. With an error the
// task fails, after the patch if there is one.
type edit func(*corev1.Node) (patch map[string]any, note string, err error)

// editJob is a task that is one patch of one node.
type editJob struct {
	client   kubernetes.Interface
	fence    drain.Fence
	name     string
	instance string
	until    time.Time
	edit     edit
	notes    notes
}

// target is what all parameter messages have in common.
type target interface {
	proto.Message
	GetNodeName() string
	GetInstanceId() string
}

func (r *Runner) editJob(t *task, p target, make func() edit) (job, error) {
	if err := decode(t.Task.GetParameters(), p); err != nil {
		return nil, err
	}
	return &editJob{
		client: r.cfg.Client, fence: r.cfg.Fence, name: p.GetNodeName(), instance: p.GetInstanceId(), until: t.until, edit: make(),
	}, nil
}

func (j *editJob) subject() string { return j.name }

// prepare has nothing to do, and one patch waits for nobody.
func (j *editJob) prepare(context.Context) bool { return false }

func (j *editJob) progress() (float64, string, *fleetv1.DrainReport) {
	return 0, "changing node " + j.name, nil
}

func (j *editJob) do(ctx context.Context) outcome {
	ctx, cancel := context.WithDeadline(ctx, j.until)
	defer cancel()
	out := persist(ctx, j.try)
	out.logs = j.notes.String()
	return out
}

// persist tries until the deadline of ctx: an API server that is away for a while,
// or an object that changed between read and patch, is no reason to fail.
func persist(ctx context.Context, try func(context.Context) error) outcome {
	wait := 100 * time.Millisecond
	for {
		err := try(ctx)
		if err == nil {
			return outcome{status: "success"}
		}
		if ctx.Err() == nil && !drain.Transient(err) {
			return outcome{status: "failed", err: err.Error()}
		}
		timer := time.NewTimer(wait/2 + rand.N(wait))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ended(ctx, err)
		case <-timer.C:
		}
		wait = min(wait*2, 5*time.Second)
	}
}

func ended(ctx context.Context, last error) outcome {
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return outcome{status: "timeout", err: fmt.Sprintf("deadline passed, last: %v", last)}
	}
	return outcome{status: "cancelled", err: context.Cause(ctx).Error()}
}

func (j *editJob) try(ctx context.Context) error {
	node, err := j.client.CoreV1().Nodes().Get(ctx, j.name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading node %s: %w", j.name, err)
	}
	if err := drain.CheckInstance(node, j.instance); err != nil {
		return err
	}
	patch, note, refusal := j.edit(node)
	if patch != nil {
		if err := j.patch(ctx, patch); err != nil {
			return fmt.Errorf("patching node %s: %w", j.name, err)
		}
	}
	if note != "" {
		j.notes.add("%s", note)
	}
	return refusal
}

func (j *editJob) patch(ctx context.Context, patch map[string]any) error {
	body, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	if j.fence != nil && !j.fence.Held() {
		return drain.ErrNotLeading
	}
	_, err = j.client.CoreV1().Nodes().Patch(ctx, j.name, types.MergePatchType, body, metav1.PatchOptions{})
	return err
}

// labelEdit needs no resourceVersion: a merge patch touches only its own keys.
func labelEdit(p *fleetv1.LabelNodeParameters) edit {
	return func(node *corev1.Node) (map[string]any, string, error) {
		labels := map[string]any{}
		for _, key := range p.GetRemove() {
			labels[key] = nil
		}
		for key, value := range p.GetLabels() {
			labels[key] = value
		}
		return map[string]any{"metadata": map[string]any{"uid": string(node.UID), "labels": labels}},
			fmt.Sprintf("set %d and removed %d labels of node %s", len(p.GetLabels()), len(p.GetRemove()), node.Name), nil
	}
}

// taintEdit replaces the list, as a patch cannot merge it; the resourceVersion
// keeps a taint that somebody else sets meanwhile.
func taintEdit(p *fleetv1.TaintNodeParameters) edit {
	return func(node *corev1.Node) (map[string]any, string, error) {
		taints := slices.Clone(node.Spec.Taints)
		for _, gone := range p.GetRemove() {
			taints = slices.DeleteFunc(taints, func(t corev1.Taint) bool { return sameTaint(t, gone) })
		}
		for _, want := range p.GetTaints() {
			taints = slices.DeleteFunc(taints, func(t corev1.Taint) bool { return sameTaint(t, want) })
			taints = append(taints, corev1.Taint{
				Key: want.GetKey(), Value: want.GetValue(), Effect: corev1.TaintEffect(want.GetEffect()),
			})
		}
		if slices.EqualFunc(taints, node.Spec.Taints, func(a, b corev1.Taint) bool {
			return a.Key == b.Key && a.Value == b.Value && a.Effect == b.Effect
		}) {
			return nil, fmt.Sprintf("node %s has these taints already", node.Name), nil
		}
		return map[string]any{
			"metadata": map[string]any{"uid": string(node.UID), "resourceVersion": node.ResourceVersion},
			"spec":     map[string]any{"taints": taints},
		}, fmt.Sprintf("set %d and removed %d taints of node %s", len(p.GetTaints()), len(p.GetRemove()), node.Name), nil
	}
}

func sameTaint(t corev1.Taint, p *fleetv1.Taint) bool {
	return t.Key == p.GetKey() && string(t.Effect) == p.GetEffect()
}

func cordonEdit(p *fleetv1.CordonNodeParameters, taskID string) edit {
	return func(node *corev1.Node) (map[string]any, string, error) {
		if node.Spec.Unschedulable {
			return nil, fmt.Sprintf("node %s is cordoned already", node.Name), nil
		}
		return drain.CordonPatch(node, taskID, p.GetReason()), "cordoned node " + node.Name, nil
	}
}

// uncordonEdit undoes our own cordon, and all else that a drain of ours left;
// another's cordon is its owner's decision.
func uncordonEdit(p *fleetv1.UncordonNodeParameters) edit {
	return func(node *corev1.Node) (map[string]any, string, error) {
		_, ours := node.Annotations[drain.CordonedByAnnotation]
		_, recorded := node.Annotations[drain.RecordAnnotation]
		switch {
		case !node.Spec.Unschedulable && !ours && !recorded:
			return nil, fmt.Sprintf("node %s is not cordoned", node.Name), nil
		case !node.Spec.Unschedulable || ours || p.GetForce():
			return drain.UndoPatch(node, true), "uncordoned node " + node.Name, nil
		}
		err := fmt.Errorf("node %s was cordoned by somebody else; force would undo it", node.Name)
		if !recorded {
			return nil, "", err
		}
		return drain.UndoPatch(node, false), "took the marks of a drain off node " + node.Name, err
	}
}
