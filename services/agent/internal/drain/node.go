package drain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// Annotations that CloudOptim writes on nodes.
const (
	// CordonedByAnnotation names the task that cordoned the node; without it
	// the cordon is somebody else's.
	CordonedByAnnotation = "cloudoptim.io/cordoned-by"
	// CordonReasonAnnotation is for people.
	CordonReasonAnnotation = "cloudoptim.io/cordon-reason"
	// RecordAnnotation holds the Record of a drain.
	RecordAnnotation = "cloudoptim.io/drain"
)

// Record is what a drain writes on its node before it evicts anything: enough
// for another process to go on with the same deadline.
type Record struct {
	TaskID     string          `json:"task_id"`
	Attempt    int32           `json:"attempt"`
	Priority   int32           `json:"priority"`
	Phase      string          `json:"phase"`
	Started    time.Time       `json:"started"`
	Deadline   time.Time       `json:"deadline"`
	Parameters json.RawMessage `json:"parameters"`
}

// ReadRecord returns the record on a node, if there is one that can be read.
func ReadRecord(node *corev1.Node) (Record, bool) {
	text, ok := node.Annotations[RecordAnnotation]
	if !ok {
		return Record{}, false
	}
	var r Record
	if err := json.Unmarshal([]byte(text), &r); err != nil || r.TaskID == "" {
		return Record{}, false
	}
	return r, true
}

// Underway says whether the drain had not ended when the record was written.
func (r Record) Underway() bool { return r.Phase == "draining" }

// DecodeParameters returns the task parameters kept in the record.
func (r Record) DecodeParameters() (*fleetv1.DrainNodeParameters, error) {
	p := &fleetv1.DrainNodeParameters{}
	if err := protojson.Unmarshal(r.Parameters, p); err != nil {
		return nil, fmt.Errorf("decoding drain parameters of task %s: %w", r.TaskID, err)
	}
	return p, nil
}

func encodeParameters(p *fleetv1.DrainNodeParameters) json.RawMessage {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(p)
	if err != nil {
		return nil // only invalid UTF-8 can do this, and it was decoded from JSON
	}
	return text
}

// CheckInstance refuses a node whose name was taken over by another instance.
func CheckInstance(node *corev1.Node, instanceID string) error {
	if instanceID == "" {
		return nil
	}
	provider := node.Spec.ProviderID
	if provider[strings.LastIndex(provider, "/")+1:] == instanceID {
		return nil
	}
	return fmt.Errorf("node %s is not instance %s any more: its provider id is %q", node.Name, instanceID, provider)
}

// Transient tells API errors that may pass from those that will not.
func Transient(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return belowHTTP(err)
	}
	code := status.Status().Code
	return code == 409 || code == 429 || code >= 500
}

// CordonPatch makes the merge patch that cordons a node; resourceVersion and
// UID make it fail if the node changed or was replaced since it was read.
// A cordon that is already there keeps its owner.
func CordonPatch(node *corev1.Node, by, reason string) map[string]any {
	annotations := map[string]any{}
	patch := locked(node, annotations)
	if !node.Spec.Unschedulable {
		annotations[CordonedByAnnotation] = by
		patch["spec"] = map[string]any{"unschedulable": true}
	}
	if _, ours := node.Annotations[CordonedByAnnotation]; reason != "" && (ours || !node.Spec.Unschedulable) {
		annotations[CordonReasonAnnotation] = reason
	}
	return patch
}

// UncordonPatch undoes CordonPatch and forgets the drain.
func UncordonPatch(node *corev1.Node) map[string]any {
	patch := locked(node, map[string]any{
		CordonedByAnnotation: nil, CordonReasonAnnotation: nil, RecordAnnotation: nil,
	})
	patch["spec"] = map[string]any{"unschedulable": nil}
	return patch
}

func locked(node *corev1.Node, annotations map[string]any) map[string]any {
	return map[string]any{"metadata": map[string]any{
		"uid": string(node.UID), "resourceVersion": node.ResourceVersion, "annotations": annotations,
	}}
}

// markStarted cordons and writes the record in one patch.
func (d *Drain) markStarted(ctx context.Context, node *corev1.Node) error {
	patch := CordonPatch(node, d.req.TaskID, "draining")
	if err := d.putRecord(patch); err != nil {
		return err
	}
	if err := d.patchNode(ctx, patch); err != nil {
		return err
	}
	if d.cordon && !node.Spec.Unschedulable {
		d.req.Note("cordoned node %s", node.Name)
	}
	return nil
}

// Close writes how the drain ended on the node and, when asked, undoes the
// cordon that this drain made. A node that is gone needs nothing.
func (d *Drain) Close(ctx context.Context, phase string, uncordon bool) error {
	if d.nodeGone || d.nodeUID == "" {
		return nil
	}
	backoff := callBackoff{}
	for {
		err := d.tryClose(ctx, phase, uncordon && d.cordon)
		if err == nil || !Transient(err) {
			return err
		}
		wait := time.NewTimer(backoff.next())
		select {
		case <-ctx.Done():
			wait.Stop()
			return fmt.Errorf("ending drain of node %s: %w", d.node(), err)
		case <-wait.C:
		}
	}
}

func (d *Drain) tryClose(ctx context.Context, phase string, uncordon bool) error {
	node, err := d.exec.Client.CoreV1().Nodes().Get(ctx, d.node(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) || (err == nil && node.UID != d.nodeUID) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading node %s: %w", d.node(), err)
	}
	if current, ok := ReadRecord(node); !ok || current.TaskID != d.req.TaskID {
		return nil // another drain has taken over, or somebody cleaned up
	}
	patch := locked(node, map[string]any{})
	if uncordon {
		patch = UncordonPatch(node)
		d.req.Note("uncordoned node %s", d.node())
	} else {
		d.record.Phase = phase
		if err := d.putRecord(patch); err != nil {
			return err
		}
	}
	return d.patchNode(ctx, patch)
}

func (d *Drain) putRecord(patch map[string]any) error {
	text, err := json.Marshal(d.record)
	if err != nil {
		return fmt.Errorf("encoding drain record: %w", err)
	}
	meta := patch["metadata"].(map[string]any)
	meta["annotations"].(map[string]any)[RecordAnnotation] = string(text)
	return nil
}

func (d *Drain) patchNode(ctx context.Context, patch map[string]any) error {
	body, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("encoding patch of node %s: %w", d.node(), err)
	}
	_, err = d.exec.Client.CoreV1().Nodes().Patch(ctx, d.node(), types.MergePatchType, body, metav1.PatchOptions{})
	return err
}
