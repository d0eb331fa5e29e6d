package schedule

import (
	"math"
	"time"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/calendar"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/question"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/usage"
)

// Defaults of requirements and constraints, as the contract documents them.
const (
	defaultReady         = 5.0 // minutes
	defaultHorizon       = 7   // days
	defaultMinSleep      = 4.0 // hours
	defaultPenalty       = 20.0
	defaultWakeCost      = 0.5
	defaultMinConfidence = 0.5
)

// alwaysAwake namespaces run the cluster, the wakening included.
var alwaysAwake = []string{"kube-system", "kube-public", "kube-node-lease", "cloudoptim*"}

// wants is what is asked for.
type wants struct {
	calendar      *calendar.Calendar // nil: propose
	zone          *time.Location
	scope         *mlv1.ScheduleScope
	stages        []stage
	nodeReady     time.Duration
	horizon       time.Duration
	sleeping      []*mlv1.SleepingWorkload
	sleepingNodes []*mlv1.SleepingNodes

	protected     []string
	minSleep      time.Duration
	penalty       float64
	wakeCost      float64
	minConfidence float64
	activeAbove   *float64
}

// stage of waking: workloads that wake together.
type stage struct {
	workloads []string // empty: all the others
	ready     time.Duration
}

// decode reads the two Structs of a request.
func decode(req *mlv1.DecisionRequest) (*wants, error) {
	r, c := &mlv1.ScheduleRequirements{}, &mlv1.ScheduleConstraints{}
	if err := question.Read("requirements", req.GetRequirements(), r); err != nil {
		return nil, err
	}
	if err := question.Read("constraints", req.GetConstraints(), c); err != nil {
		return nil, err
	}
	w := &wants{
		scope: r.GetScope(), nodeReady: minutes(question.Or(r.NodeReadyMinutes, defaultReady)),
		horizon:  time.Duration(question.Or(r.HorizonDays, defaultHorizon)) * 24 * time.Hour,
		sleeping: r.GetSleeping(), sleepingNodes: r.GetSleepingNodes(),
		protected: append(append([]string{}, alwaysAwake...), c.GetProtectedNamespaces()...),
		penalty:   question.Or(c.FalseSleepPenalty, defaultPenalty), wakeCost: question.Or(c.WakeCost, defaultWakeCost),
		minConfidence: question.Or(c.MinConfidence, defaultMinConfidence), activeAbove: c.ActiveAboveMillicores,
	}
	w.readStages(r)
	if r.GetCalendar() == nil || c.MinSleepHours != nil { // a calendar's sleeps may be as short as they please
		w.minSleep = minutes(60 * question.Or(c.MinSleepHours, defaultMinSleep))
	}
	if err := w.readTime(r); err != nil {
		return nil, err
	}
	return w, w.checkPatterns(c)
}

func (w *wants) readTime(r *mlv1.ScheduleRequirements) (err error) {
	if r.GetCalendar() == nil {
		w.zone, err = calendar.ReadZone("requirements.time_zone", r.GetTimeZone())
		return err
	}
	if w.calendar, err = calendar.Read(calendarField, r.GetCalendar()); err == nil {
		w.zone = w.calendar.Zone()
	}
	return err
}

func (w *wants) readStages(r *mlv1.ScheduleRequirements) {
	usual := question.Or(r.WorkloadReadyMinutes, defaultReady)
	for _, s := range r.GetWakeOrder() {
		w.stages = append(w.stages, stage{workloads: s.GetWorkloads(), ready: minutes(question.Or(s.ReadyMinutes, usual))})
	}
	w.stages = append(w.stages, stage{ready: minutes(usual)})
}

func (w *wants) checkPatterns(c *mlv1.ScheduleConstraints) error {
	if err := usage.CheckPatterns("constraints.protected_namespaces", c.GetProtectedNamespaces()); err != nil {
		return err
	}
	return usage.CheckPatterns("requirements.scope.namespaces", w.scope.GetNamespaces())
}

func minutes(m float64) time.Duration { return time.Duration(math.Round(m*60)) * time.Second }
