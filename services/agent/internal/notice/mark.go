// Package notice carries what AWS told an instance from the agent on its node to
// the agent that leads, through the node object, and sees that something is done
// about it when central is away.
package notice

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"buf.build/go/protovalidate"
	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protojson"
	corev1 "k8s.io/api/core/v1"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/workid"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/imds"
)

// Annotation holds the Mark on a node.
const Annotation = "cloudoptim.io/notice"

// imminent is how long before a scheduled change the agent acts by itself; weeks
// before, the time is central's to choose.
const imminent = 15 * time.Minute

// Mark is what the agent of a node writes on it: what AWS told its instance.
type Mark struct {
	// BootID tells notices of this boot from those of one that is over.
	BootID string
	// Past is how many interruptions the instance survived: it may be stopped
	// and started again.
	Past int
	// Cordoned names the notices for which the node was cordoned. Who undoes the
	// cordon has a reason: it is not made twice for one notice.
	Cordoned []string
	// Notices are the ones in force.
	Notices []*fleetv1.NodeNotice
}

// markFile is a Mark as it is written.
type markFile struct {
	BootID   string            `json:"boot_id"`
	Past     int               `json:"past,omitempty"`
	Cordoned []string          `json:"cordoned,omitempty"`
	Notices  []json.RawMessage `json:"notices,omitempty"`
}

// Read returns the mark on a node; nil when there is none.
func Read(node *corev1.Node) (*Mark, error) {
	text, ok := node.Annotations[Annotation]
	if !ok {
		return nil, nil
	}
	var file markFile
	if err := json.Unmarshal([]byte(text), &file); err != nil {
		return nil, fmt.Errorf("reading the notice on node %s: %w", node.Name, err)
	}
	m := &Mark{BootID: file.BootID, Past: max(0, file.Past), Cordoned: file.Cordoned}
	for _, raw := range file.Notices {
		n := &fleetv1.NodeNotice{}
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(raw, n); err != nil {
			return nil, fmt.Errorf("reading the notice on node %s: %w", node.Name, err)
		}
		if err := protovalidate.Validate(n); err != nil {
			return nil, fmt.Errorf("checking the notice on node %s: %w", node.Name, err)
		}
		m.Notices = append(m.Notices, n)
	}
	return m, nil
}

// String is the annotation's value, empty for a mark that says nothing.
func (m *Mark) String() string {
	if m == nil || (len(m.Notices) == 0 && m.Past == 0) {
		return ""
	}
	file := markFile{BootID: m.BootID, Past: m.Past, Cordoned: m.Cordoned}
	for _, n := range m.Notices {
		raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(n)
		if err != nil {
			continue // only invalid UTF-8, which was refused when it was read
		}
		file.Notices = append(file.Notices, compact(raw))
	}
	text, err := json.Marshal(file)
	if err != nil {
		return "" // strings, numbers and JSON: it cannot fail
	}
	return string(text)
}

// compact takes out the blanks that protojson puts in at random, or the mark
// would differ from itself and be written for ever.
func compact(raw []byte) json.RawMessage {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return raw
	}
	text, err := json.Marshal(v)
	if err != nil {
		return raw
	}
	return text
}

// find returns the notice of that name.
func (m *Mark) find(id string) *fleetv1.NodeNotice {
	if m == nil {
		return nil
	}
	for _, n := range m.Notices {
		if n.GetNoticeId() == id {
			return n
		}
	}
	return nil
}

// interrupted says whether one of the notices takes the instance.
func (m *Mark) interrupted() bool {
	return slices.ContainsFunc(m.Notices, func(n *fleetv1.NodeNotice) bool { return n.GetEventType() == imds.Interruption })
}

// stale says whether a mark is of a boot that is over, as far as the node tells.
func (m *Mark) stale(node *corev1.Node) bool {
	boot := node.Status.NodeInfo.BootID
	return boot != "" && m.BootID != boot
}

// TaskID is the drain that the notices of an instance cause.
func TaskID(cluster uuid.UUID, instanceID string, past int) string {
	return workid.InterruptionDrain(cluster, instanceID, past).String()
}

// urgent says whether a node is to be emptied now because of a notice, given
// what is left; and if not, in how long it will be.
func urgent(n *fleetv1.NodeNotice, left time.Duration) (now bool, in time.Duration) {
	switch n.GetEventType() {
	case imds.Interruption, imds.Lifecycle:
		return true, 0
	case imds.Scheduled:
		return left <= imminent, left - imminent
	}
	return false, 0 // a rebalance recommendation is a risk, no order
}

// Urgent says whether a node is to be emptied because of what it says of itself.
func Urgent(node *corev1.Node) bool {
	m, err := Read(node)
	if err != nil || m == nil || m.stale(node) {
		return false
	}
	return slices.ContainsFunc(m.Notices, func(n *fleetv1.NodeNotice) bool { return n.GetTaskId() != "" })
}
