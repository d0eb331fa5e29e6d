package drain

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// What CloudOptim writes on nodes, beside the cordon and Kubernetes' own label
// that takes a node out of load balancers.
const (
	// CordonedByAnnotation names the task that cordoned the node; without it
	// the cordon is somebody else's.
	CordonedByAnnotation = "cloudoptim.io/cordoned-by"
	// CordonReasonAnnotation is for people.
	CordonReasonAnnotation = "cloudoptim.io/cordon-reason"
	// RecordAnnotation holds the Record of a drain.
	RecordAnnotation = "cloudoptim.io/drain"
	// DrainingTaint keeps pods away that tolerate a cordon.
	DrainingTaint = "cloudoptim.io/draining"
)

// Phases of a record.
const (
	underway = "draining"
	// Done stays on the node until it goes or is uncordoned.
	Done = "done"
	// Blocked is a drain that ended with pods left.
	Blocked = "blocked"
	// Superseded hands the node to the drain that follows.
	Superseded = "superseded"
)

// Record is what a drain writes on its node before it evicts anything: enough
// for another process to go on with the same deadline, and to undo no more than
// what was done.
type Record struct {
	TaskID       string          `json:"task_id"`
	Attempt      int32           `json:"attempt"`
	Priority     int32           `json:"priority"`
	Local        bool            `json:"local,omitempty"`
	Cause        string          `json:"cause,omitempty"`
	Phase        string          `json:"phase"`
	Started      time.Time       `json:"started"`
	Cordoned     time.Time       `json:"cordoned"`
	Deadline     time.Time       `json:"deadline"`
	LeaderEpoch  int64           `json:"leader_epoch"`
	CordonedByUs bool            `json:"cordoned_by_us"`
	LabelledByUs bool            `json:"labelled_by_us"`
	TaintedByUs  bool            `json:"tainted_by_us"`
	Parameters   json.RawMessage `json:"parameters"`
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
func (r Record) Underway() bool { return r.Phase == underway }

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
	if errors.Is(err, ErrNotLeading) {
		return true // whoever leads goes on; this process is about to be told
	}
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
		setSpec(patch, "unschedulable", true)
	}
	if _, ours := node.Annotations[CordonedByAnnotation]; reason != "" && (ours || !node.Spec.Unschedulable) {
		annotations[CordonReasonAnnotation] = reason
	}
	return patch
}

// UndoPatch takes off the node what CloudOptim put on it, and forgets the drain;
// whether the cordon goes too is the caller's to say.
func UndoPatch(node *corev1.Node, uncordon bool) map[string]any {
	patch := locked(node, map[string]any{
		CordonedByAnnotation: nil, CordonReasonAnnotation: nil, RecordAnnotation: nil,
	})
	if uncordon {
		setSpec(patch, "unschedulable", nil)
	}
	r, recorded := ReadRecord(node)
	if tainted(node) && (r.TaintedByUs || !recorded) {
		setSpec(patch, "taints", slices.DeleteFunc(slices.Clone(node.Spec.Taints), isDraining))
	}
	if r.LabelledByUs {
		setLabel(patch, corev1.LabelNodeExcludeBalancers, nil)
	}
	return patch
}

func locked(node *corev1.Node, annotations map[string]any) map[string]any {
	return map[string]any{"metadata": map[string]any{
		"uid": string(node.UID), "resourceVersion": node.ResourceVersion, "annotations": annotations,
	}}
}

func setSpec(patch map[string]any, key string, value any) {
	if patch["spec"] == nil {
		patch["spec"] = map[string]any{}
	}
	patch["spec"].(map[string]any)[key] = value
}

func setLabel(patch map[string]any, key string, value any) {
	patch["metadata"].(map[string]any)["labels"] = map[string]any{key: value}
}

func putRecord(patch map[string]any, r Record) (text string, err error) {
	encoded, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("encoding drain record: %w", err)
	}
	patch["metadata"].(map[string]any)["annotations"].(map[string]any)[RecordAnnotation] = string(encoded)
	return string(encoded), nil
}

func tainted(node *corev1.Node) bool { return slices.ContainsFunc(node.Spec.Taints, isDraining) }

func isDraining(t corev1.Taint) bool { return t.Key == DrainingTaint }
