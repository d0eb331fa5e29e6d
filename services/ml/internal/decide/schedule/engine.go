// Package schedule plans when workloads and the nodes under them sleep: by a calendar, or
// proposed from when they were active. It is a pure function of the question and the market.
package schedule

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/calendar"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/usage"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

// decisionType of this engine.
const decisionType = "schedule"

// calendarGroup is the one group there is with a calendar.
const calendarGroup = "calendar"

// calendarField is where a request has it.
const calendarField = "requirements.calendar"

// Decide answers a request from a market snapshot. The same request, snapshot and
// time give the same answer.
func Decide(req *mlv1.DecisionRequest, prices *market.Snapshot, now time.Time) (*mlv1.DecisionResponse, error) {
	want, err := decode(req)
	if err != nil {
		return nil, err
	}
	if want.calendar == nil && len(req.GetUsage()) == 0 {
		return nil, fault.Invalid("requirements.calendar", "must be given, or usage to propose one from")
	}
	containers, err := usage.Read(req.GetUsage())
	if err != nil {
		return nil, err
	}
	now = now.Truncate(time.Second).UTC()
	w := newWorld(req.GetCurrentState(), containers, want)
	var groups []*group
	if want.calendar != nil {
		g, err := w.byCalendar(now)
		if err != nil {
			return nil, err
		}
		groups = []*group{g}
	} else {
		groups = w.byUsage(now, uint64(req.GetMetadata().GetFields()["seed"].GetNumberValue()))
	}
	a := &answer{req: req, now: now, prices: prices, world: w, groups: groups}
	return a.compose(), nil
}

// byCalendar makes one group of all that may sleep.
func (w *world) byCalendar(now time.Time) (*group, error) {
	g := &group{name: calendarGroup, confidence: 1}
	running, all := 0, 0
	for _, one := range w.workloads {
		if one.reason == "" {
			one.sleeps, one.why = true, reasonCalendar
			g.workloads = append(g.workloads, one)
			running, all = running+one.running, all+1
		}
	}
	end := now.Add(w.want.horizon + lookBeyond)
	awake := w.want.calendar.AwakeIn(now, end, running > 0 || all == 0)
	for _, i := range calendar.Gaps(awake, now, end) {
		if i.End.Equal(end) && i.Start.Before(now.Add(w.want.horizon)) {
			return nil, fault.Invalid(calendarField, "must wake within 400 days what it puts to sleep")
		}
		i.Reason = w.want.calendar.ReasonOf(i)
		g.asleep = append(g.asleep, i)
	}
	g.trim(w.want, now)
	return g, nil
}

// lookBeyond the horizon, to find the end of a sleep that begins within it.
const lookBeyond = 400 * 24 * time.Hour

// byUsage proposes for each namespace.
func (w *world) byUsage(now time.Time, seed uint64) []*group {
	groups := w.groups()
	for _, g := range groups {
		g.propose(w.want, seed)
		for _, one := range g.workloads {
			one.reason, one.detail = g.reason, g.detail
			if g.reason == "" {
				one.sleeps, one.why = true, reasonQuiet
			}
		}
		if g.reason != "" {
			continue
		}
		for _, i := range g.occurrences(w.want.zone, now, now.Add(w.want.horizon+2*weekHours*time.Hour)) {
			i.Reason = reasonQuiet
			g.asleep = append(g.asleep, i)
		}
		g.trim(w.want, now)
	}
	return groups
}

// trim drops sleeps that begin after the horizon, are shorter than was asked for, or end
// before nodes could go and come. One that runs already is not too short.
func (g *group) trim(want *wants, now time.Time) {
	var rest []calendar.Interval
	for _, i := range g.asleep {
		least := max(want.minSleep, want.lead()+settle+leastOff)
		if i.Start.Before(now.Add(want.horizon)) && (i.Length() >= least || i.Start.Equal(now) && g.sleepsNow()) {
			rest = append(rest, i)
		}
	}
	g.asleep = rest
}

// sleepsNow says that nothing of the group runs though something could.
func (g *group) sleepsNow() bool {
	for _, one := range g.workloads {
		if one.running > 0 {
			return false
		}
	}
	return len(g.workloads) > 0
}

// answer is a response in the making.
type answer struct {
	req    *mlv1.DecisionRequest
	now    time.Time
	prices *market.Snapshot
	world  *world
	groups []*group
}

func (a *answer) compose() *mlv1.DecisionResponse {
	p := a.plan()
	r := &mlv1.DecisionResponse{
		RequestId: a.req.GetRequestId(), Timestamp: timestamppb.New(a.now), DecisionType: decisionType,
		ExecutionPlan: p.steps(), EstimatedSavings: a.savings(p), SleepWindows: a.windows(),
		WorkloadVerdicts: a.verdicts(), NodeVerdicts: p.verdicts(), ConfidenceScore: a.confidence(), Metadata: a.metadata(p),
	}
	for _, g := range a.groups {
		if g.profile != nil {
			r.Evidence = append(r.Evidence, g.evidence())
		}
	}
	return r
}
