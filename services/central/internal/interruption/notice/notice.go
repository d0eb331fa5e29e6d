// Package notice reads what AWS says about instances.
package notice

import (
	"fmt"
	"strings"
	"time"
)

// The types of notices, as spot_events.event_type spells them.
const (
	InterruptionWarning = "interruption_warning"
	InstanceTerminated  = "instance_terminated"
	Rebalance           = "rebalance_recommendation"
	ScheduledChange     = "scheduled_change"
	LifecycleAction     = "lifecycle_action"
	CapacityReservation = "capacity_reservation_interruption"
)

// Where notices come from.
const (
	FromSQS  = "sqs"
	FromIMDS = "imds"
	FromPoll = "poll"
)

// Lead is how long before a spot instance is stopped or terminated AWS says so.
const Lead = 2 * time.Minute

// Notice is one thing that AWS said about one instance.
type Notice struct {
	// Key is the same for all messages that say the same, whatever their ids.
	Key string
	// Type is one of the constants above.
	Type       string
	InstanceID string
	Region     string
	Zone       string
	// Action is what will be done to the instance: terminate, stop or hibernate.
	Action string
	// State is the EC2 state of a state change.
	State string
	// MessageID is EventBridge's id, or the RequestId of a group that sent without it.
	MessageID string
	SaidAt    time.Time
	// Deadline is when the instance goes; zero when AWS did not say.
	Deadline time.Time
	// Source is sqs, imds or poll.
	Source string
	// Hook is who waits to be told that the instance may go; nil when nobody does.
	Hook *Hook
	// Detail is what is worth keeping beside the event; small, and without secrets.
	Detail map[string]any
	// Traceparent is the W3C context of the message's own trace.
	Traceparent string
}

// Hook is a lifecycle hook of an Auto Scaling group, which holds an instance
// until it is completed or its time is over.
type Hook struct {
	Group, Name, Token, InstanceID string
}

// Dropped says that a message asks nothing of us.
type Dropped struct {
	// Reason is a word for metrics and logs.
	Reason string
	// Poison is true of a message that nobody can read: it belongs into the dead letters.
	Poison bool
}

// Error names the reason.
func (d *Dropped) Error() string { return "dropped: " + d.Reason }

// Why messages are dropped.
var (
	errTest      = &Dropped{Reason: "test_notification"}
	errSNS       = &Dropped{Reason: "sns_confirmation"}
	errKind      = &Dropped{Reason: "unknown_kind"}
	errNotForUs  = &Dropped{Reason: "not_for_us"}
	errState     = &Dropped{Reason: "state_not_acted_on"}
	errLaunch    = &Dropped{Reason: "launch_hook"}
	errClosed    = &Dropped{Reason: "event_closed"}
	errNoEntity  = &Dropped{Reason: "no_instance"}
	errTooLarge  = &Dropped{Reason: "too_large", Poison: true}
	errNotObject = &Dropped{Reason: "not_a_json_object", Poison: true}
	errNoSource  = &Dropped{Reason: "not_an_event", Poison: true}
	errDetail    = &Dropped{Reason: "detail_missing", Poison: true}
	errField     = &Dropped{Reason: "field_of_wrong_type", Poison: true}
	errInstance  = &Dropped{Reason: "bad_instance_id", Poison: true}
	errBadState  = &Dropped{Reason: "unknown_state", Poison: true}
	errHook      = &Dropped{Reason: "bad_hook", Poison: true}
	errARN       = &Dropped{Reason: "bad_event_arn", Poison: true}
	errEntities  = &Dropped{Reason: "too_many_entities", Poison: true}
	errTwice     = &Dropped{Reason: "wrapped_twice", Poison: true}
)

const (
	// maxBody is SQS's own limit.
	maxBody = 1 << 20
	// maxEntities bounds the work of one message; AWS pages its events long before.
	maxEntities = 1000
)

// Parse reads one message: an EventBridge event, what a group's hook sends
// without EventBridge, or either of them wrapped by SNS. The error is a *Dropped.
func Parse(body []byte) ([]Notice, error) { return ParseSent(body, time.Time{}) }

// ParseSent is Parse for a message of which it is known when it was sent: that
// stands in for the time of an event without one.
func ParseSent(body []byte, sent time.Time) ([]Notice, error) {
	if len(body) > maxBody {
		return nil, errTooLarge
	}
	event, err := open(body)
	if err != nil {
		return nil, err
	}
	if event, err = unwrap(event); err != nil {
		return nil, err
	}
	switch {
	case event.word("Event") == "autoscaling:TEST_NOTIFICATION":
		return nil, errTest
	case strings.HasPrefix(event.word("Event"), "autoscaling:"): // tells, but asks nothing
		return nil, errKind
	case event.has("LifecycleTransition"): // from the group itself
		return hook(envelope{id: bounded(event.word("RequestId")), saidAt: event.time("Time", sent), detail: event})
	}
	env, err := envelopeOf(event, sent)
	if err != nil {
		return nil, err
	}
	read, known := readers[env.source+"/"+env.kind]
	if !known {
		return nil, errKind
	}
	if env.detail == nil {
		return nil, errDetail
	}
	return read(env)
}

// readers are the kinds of events that are understood.
var readers = map[string]func(envelope) ([]Notice, error){
	"aws.ec2/EC2 Spot Instance Interruption Warning":                               spot,
	"aws.ec2/EC2 Instance Rebalance Recommendation":                                rebalance,
	"aws.ec2/EC2 Instance State-change Notification":                               stateChange,
	"aws.ec2/EC2 Capacity Reservation Instance Interruption Warning":               reservation,
	"aws.ec2/EC2 Interruptible Capacity Reservation Instance Interruption Warning": reservation,
	"aws.health/AWS Health Event":                                                  health,
	"aws.autoscaling/EC2 Instance-terminate Lifecycle Action":                      hook,
	"aws.autoscaling/EC2 Instance-launch Lifecycle Action":                         hook,
}

func (e envelope) notice(kind, instance string) Notice {
	n := Notice{
		Type: kind, InstanceID: instance, Region: e.region, Zone: e.zone, MessageID: e.id, SaidAt: e.saidAt, Source: FromSQS,
		Detail: map[string]any{},
	}
	if e.version != "" && e.version != "0" {
		n.Detail["said_version"] = e.version
	}
	return n
}

// in is a time after the event's own, if that is known.
func (e envelope) in(lead time.Duration) time.Time {
	if e.saidAt.IsZero() {
		return time.Time{}
	}
	return e.saidAt.Add(lead)
}

// spot takes an action that it does not know for the worst.
func spot(e envelope) ([]Notice, error) {
	instance, err := e.detail.instance("instance-id")
	if err != nil {
		return nil, err
	}
	said, err := e.detail.text("instance-action")
	if err != nil {
		return nil, err
	}
	n := e.notice(InterruptionWarning, instance)
	n.Action = said
	switch said {
	case "hibernate": // begins at once
		n.Deadline = e.saidAt
	case "terminate", "stop":
		n.Deadline = e.in(Lead)
	default: // an interruption of a kind that we do not know is still one
		n.Action, n.Deadline = "terminate", e.in(Lead)
		n.Detail["said_action"] = bounded(said)
	}
	n.Key = fmt.Sprintf("spot/%s/%s", instance, n.Action)
	return []Notice{n}, nil
}

func rebalance(e envelope) ([]Notice, error) {
	instance, err := e.detail.instance("instance-id")
	if err != nil {
		return nil, err
	}
	n := e.notice(Rebalance, instance)
	n.Key = fmt.Sprintf("rebalance/%s/%s", instance, e.saidAt.Format(time.DateOnly))
	return []Notice{n}, nil
}

// stateChange takes EC2's words exactly: "stop" is none of them.
func stateChange(e envelope) ([]Notice, error) {
	instance, err := e.detail.instance("instance-id")
	if err != nil {
		return nil, err
	}
	state, err := e.detail.text("state")
	if err != nil {
		return nil, err
	}
	switch state {
	case "pending", "running":
		return nil, errState
	case "stopping", "stopped", "shutting-down", "terminated":
	default:
		return nil, errBadState
	}
	n := e.notice(InstanceTerminated, instance)
	n.State = state
	n.Key = fmt.Sprintf("state/%s/%s/%s", instance, state, e.saidAt.Format("2006-01-02T15:04Z"))
	return []Notice{n}, nil
}

func reservation(e envelope) ([]Notice, error) {
	instance, err := e.detail.instance("instance-id")
	if err != nil {
		return nil, err
	}
	n := e.notice(CapacityReservation, instance)
	n.Action = e.detail.word("instance-action")
	if n.Action != "stop" && n.Action != "hibernate" {
		n.Action = "terminate"
	}
	n.Deadline = e.detail.time("instance-termination-time", time.Time{})
	n.keep(e.detail, "availability-zone-id", "zone_id")
	n.Key = fmt.Sprintf("capacity/%s/%s", instance, n.Action)
	return []Notice{n}, nil
}

// keep puts a field into the detail, if it is there.
func (n *Notice) keep(from object, field, as string) {
	if value := bounded(from.word(field)); value != "" {
		n.Detail[as] = value
	}
}
