package interruption

import (
	"slices"
	"time"

	"github.com/cloudoptim/cloudoptim/services/central/internal/interruption/notice"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// How badly an interruption presses. Each is worse than the one before.
const (
	// risk: AWS recommends to leave. Nothing is done.
	risk = iota
	// planned: AWS will act some day. The node is drained gently, replacement first.
	planned
	// group: an Auto Scaling group takes the instance away, and waits for us.
	group
	// warned: AWS acts within minutes. The node is drained by force.
	warned
	// ending: the instance is on its way out; its kubelet may be dead.
	ending
	// over: the instance is no more, or stopped.
	over
)

const (
	// sameTime is what two words of one deadline may differ by.
	sameTime = 2 * time.Second
	// short is the least time in which a drain achieves something.
	short = 15 * time.Second
	// groupPatience is how long a group is kept waiting for a drain.
	groupPatience = 15 * time.Minute
	// plannedPatience bounds a gentle drain whose end nobody named.
	plannedPatience = 24 * time.Hour
)

// pressure is what a notice adds to an interruption.
type pressure struct {
	urgency int
	// deadline is when AWS acts; zero: not said.
	deadline time.Time
	cause    string
	action   string
}

// press says what a notice means.
func (s *Service) press(n notice.Notice) pressure {
	p := pressure{cause: n.Type}
	switch n.Type {
	case notice.Rebalance:
		if s.Policy.ActOnRebalance {
			p.urgency = planned
		}
	case notice.ScheduledChange:
		p.urgency, p.deadline = planned, n.Deadline
	case notice.LifecycleAction:
		p.urgency = group
	case notice.InterruptionWarning, notice.CapacityReservation:
		p.urgency, p.action, p.deadline = warned, n.Action, n.Deadline
		switch {
		case p.action == "hibernate": // it has no lead: it starts at once
			p.deadline = n.SaidAt
		case p.deadline.IsZero() && !n.SaidAt.IsZero():
			p.deadline = n.SaidAt.Add(notice.Lead)
		}
	case notice.InstanceTerminated:
		p.cause = n.State
		p.urgency = ending
		if n.State == "terminated" || n.State == "stopped" {
			p.urgency = over
		}
	}
	return p
}

// actions of AWS, the hardest last: when two are said, that one counts.
var actions = []string{"hibernate", "stop", "terminate"}

// add makes an interruption know what a notice adds. It only ever grows, and in
// any order to the same: the worst urgency, the earliest deadline, all causes.
func add(i *store.Interruption, p pressure, n notice.Notice) {
	i.Urgency = max(i.Urgency, p.urgency)
	// The same deadline read from two clocks is not an earlier one.
	if !p.deadline.IsZero() && (i.Deadline.IsZero() || p.deadline.Before(i.Deadline.Add(-sameTime))) {
		i.Deadline = p.deadline
	}
	i.Causes, i.Sources = with(i.Causes, p.cause), with(i.Sources, n.Source)
	if p.action != "" && slices.Index(actions, p.action) >= slices.Index(actions, i.Action) {
		i.Action = p.action
	}
	if n.Hook != nil && i.HookToken == "" && i.HookName == "" {
		i.HookGroup, i.HookName, i.HookToken = n.Hook.Group, n.Hook.Name, n.Hook.Token
	}
	if p.urgency == over {
		i.State = "gone"
		i.GoneAt = earliest(i.GoneAt, n.SaidAt)
	}
}

// earliest of when it was gone and when that was said again, if it was said when.
func earliest(known, said time.Time) time.Time {
	if said.IsZero() {
		said = time.Now()
	}
	if known.IsZero() || said.Before(known) {
		return said
	}
	return known
}

// with adds to a sorted set.
func with(set []string, one string) []string {
	at, there := slices.BinarySearch(set, one)
	if there || one == "" {
		return set
	}
	return slices.Insert(slices.Clone(set), at, one)
}

// forced tells whether a drain may go past budgets: the pods are lost anyway.
func forced(urgency int) bool { return urgency >= group }
