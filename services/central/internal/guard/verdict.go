package guard

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
)

// Codes of what is waited for.
const (
	ForApproval = "approval"
	ForMode     = "mode"
	ForWindow   = "window"
	ForBudget   = "budget"
	ForStop     = "stop"
	ForState    = "stale_state"
)

// View is all that decides whether a cluster may be disrupted at a moment.
type View struct {
	// Now is that moment.
	Now time.Time
	// Policy that holds in the cluster.
	Policy *Policy
	// Stops that hold there, the widest first.
	Stops []*adminv1.Stop
	// SeenAt is when its state was last known; zero: never.
	SeenAt time.Time
	// Usage of the budgets.
	Usage Usage
}

// Act is what somebody is about to do.
type Act struct {
	// Approved: a person has let the plan run.
	Approved bool
	// Drains: a node begins to be drained, which budgets bound.
	Drains bool
	// Blind: the act does not depend on the cluster's state, or checks its age itself.
	Blind bool
}

// May says what keeps the act from being done now; nil: nothing.
func (v *View) May(act Act) *adminv1.Waiting {
	for _, obstacle := range []*adminv1.Waiting{v.stopped(), v.mode(act), v.closed(), v.stale(act), v.exhausted(act)} {
		if obstacle != nil {
			return obstacle
		}
	}
	return nil
}

func (v *View) stopped() *adminv1.Waiting {
	if len(v.Stops) == 0 {
		return nil
	}
	return Stopped(v.Stops[0])
}

// Stopped is the wait for the end of a stop.
func Stopped(stop *adminv1.Stop) *adminv1.Waiting {
	return &adminv1.Waiting{Code: ForStop, Message: fmt.Sprintf("a stop of the %s holds: %s", stop.GetScope(), stop.GetReason())}
}

func (v *View) mode(act Act) *adminv1.Waiting {
	mode := v.Policy.Mode()
	switch {
	case Below(mode, Approve):
		return &adminv1.Waiting{Code: ForMode, Message: "the policy's mode is " + mode + " by now, which changes nothing"}
	case Below(mode, Automatic) && !act.Approved:
		return &adminv1.Waiting{Code: ForMode, Message: "the policy's mode is " + mode + " by now, and nobody approved this"}
	default:
		return nil
	}
}

func (v *View) closed() *adminv1.Waiting {
	why := closedBecause(v.Policy.windows, v.Now)
	if why == "" {
		return nil
	}
	return &adminv1.Waiting{Code: ForWindow, Message: why, Until: stampOf(nextChange(v.Policy.windows, v.Now))}
}

func (v *View) stale(act Act) *adminv1.Waiting {
	if act.Blind || !v.Stale() {
		return nil
	}
	if v.SeenAt.IsZero() {
		return &adminv1.Waiting{Code: ForState, Message: "the agent of this cluster has not reported yet"}
	}
	return &adminv1.Waiting{Code: ForState, Message: fmt.Sprintf("the state of this cluster is older than %s, the bound for acting", v.Policy.StaleAfter())}
}

// Stale tells whether the state is too old to act on.
func (v *View) Stale() bool {
	return v.SeenAt.IsZero() || v.Now.Sub(v.SeenAt) > v.Policy.StaleAfter()
}

func (v *View) exhausted(act Act) *adminv1.Waiting {
	if !act.Drains {
		return nil
	}
	room := v.Room()
	if room.Nodes != 0 {
		return nil
	}
	return &adminv1.Waiting{Code: ForBudget, Message: room.Because, Until: stampOf(room.Until)}
}

// Room is how many more nodes may begin to be drained now, by the budgets alone.
func (v *View) Room() Room { return roomIn(v.Policy.budgets, v.Now, v.Usage) }

// Closed says why plans may not disrupt now, by windows and stops, and when windows
// change that; empty: they may.
func (v *View) Closed() (because string, changes time.Time) {
	if stop := v.stopped(); stop != nil {
		return stop.GetMessage(), time.Time{}
	}
	return closedBecause(v.Policy.windows, v.Now), nextChange(v.Policy.windows, v.Now)
}

func stampOf(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
