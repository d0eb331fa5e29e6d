package imds

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// Kinds of notices, as NodeNotice.event_type has them.
const (
	Interruption = "interruption_warning"
	Rebalance    = "rebalance_recommendation"
	Scheduled    = "scheduled_change"
	Lifecycle    = "lifecycle_action"
)

// maxScheduled bounds what is taken of one list of scheduled events.
const maxScheduled = 16

// finding is a notice without what only the watcher knows. key tells findings
// of one kind on one instance apart.
type finding struct {
	kind, key, action string
	at                time.Time // zero: unknown
}

// items are where the service says what will happen, and how to read it. An
// empty list says that nothing will.
var items = []struct {
	path string
	read func([]byte) ([]finding, error)
}{
	{"/latest/meta-data/spot/instance-action", readSpot},
	{"/latest/meta-data/events/recommendations/rebalance", readRebalance},
	{"/latest/meta-data/events/maintenance/scheduled", readScheduled},
	{"/latest/meta-data/autoscaling/target-lifecycle-state", readLifecycle},
}

// readSpot reads {"action":"terminate","time":"2026-08-21T10:17:00Z"}.
func readSpot(text []byte) ([]finding, error) {
	var body struct {
		Action string    `json:"action"`
		Time   time.Time `json:"time"`
	}
	if err := json.Unmarshal(text, &body); err != nil {
		return nil, fmt.Errorf("reading the spot instance action: %w", err)
	}
	switch body.Action {
	case "terminate", "stop", "hibernate":
	default:
		return nil, fmt.Errorf("reading the spot instance action: there is no action %.40q", body.Action)
	}
	return found(finding{kind: Interruption, action: body.Action, at: body.Time})
}

// readRebalance reads {"noticeTime":"2026-08-21T10:15:00Z"}, which is the time
// of the notice: when AWS acts, if ever, is unknown.
func readRebalance(text []byte) ([]finding, error) {
	var body struct {
		NoticeTime time.Time `json:"noticeTime"`
	}
	if err := json.Unmarshal(text, &body); err != nil {
		return nil, fmt.Errorf("reading the rebalance recommendation: %w", err)
	}
	if body.NoticeTime.IsZero() {
		return nil, errors.New("reading the rebalance recommendation: it has no time")
	}
	return found(finding{kind: Rebalance})
}

// readScheduled reads a list of events; those that ended stay in it for weeks.
func readScheduled(text []byte) ([]finding, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, nil
	}
	var body []struct {
		NotBefore, Code, EventID, State string
	}
	if err := json.Unmarshal(text, &body); err != nil {
		return nil, fmt.Errorf("reading the scheduled events: %w", err)
	}
	var out []finding
	for _, event := range body {
		if event.State != "active" {
			continue
		}
		at, err := scheduledTime(event.NotBefore)
		if err != nil {
			return nil, err
		}
		if event.Code == "" || event.EventID == "" || len(event.Code) > 64 {
			return nil, fmt.Errorf("reading the scheduled events: event %.40q has no code or id", event.EventID)
		}
		one, err := found(finding{kind: Scheduled, key: event.EventID, action: event.Code, at: at})
		if err != nil {
			return nil, err
		}
		if out = append(out, one...); len(out) == maxScheduled {
			break
		}
	}
	return out, nil
}

// scheduledTime reads the service's own form, and RFC 3339, which mocks use.
func scheduledTime(text string) (time.Time, error) {
	for _, form := range []string{"2 Jan 2006 15:04:05 MST", time.RFC3339} {
		if at, err := time.Parse(form, text); err == nil {
			return at.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("reading the scheduled events: %.40q is no time", text)
}

// readLifecycle reads the state that the Auto Scaling group wants: a word.
func readLifecycle(text []byte) ([]finding, error) {
	switch state := strings.TrimSpace(string(text)); state {
	case "Terminated":
		return found(finding{kind: Lifecycle, action: "terminate"})
	case "InService", "Standby", "Detached", "":
		return nil, nil
	default:
		if strings.HasPrefix(state, "Warmed:") {
			return nil, nil // of a warm pool: it is not yet a node
		}
		return nil, fmt.Errorf("reading the target lifecycle state: there is no state %.40q", state)
	}
}

// found is one finding, whose time must be one that the contract can carry.
func found(f finding) ([]finding, error) {
	if err := timestamppb.New(f.at).CheckValid(); err != nil {
		return nil, fmt.Errorf("reading the time of a notice: %w", err)
	}
	return []finding{f}, nil
}

// spotNotice is the longest that AWS gives before it takes a spot instance.
const spotNotice = 2 * time.Minute

// Remaining is how long a notice leaves from a given time by AWS's clock; known
// is false when AWS names no time. A spot notice never leaves more than two
// minutes, whatever a clock says, and a hibernation begins with its notice.
func Remaining(n *fleetv1.NodeNotice, now time.Time) (left time.Duration, known bool) {
	if n.GetEventType() == Interruption && (n.GetAction() == "hibernate" || n.GetActionTime() == nil) {
		return 0, true
	}
	if n.GetActionTime() == nil {
		return 0, false
	}
	left = max(0, n.GetActionTime().AsTime().Sub(now))
	if n.GetEventType() == Interruption {
		left = min(left, spotNotice)
	}
	return left, true
}
