package models

import (
	"context"
	"math"
	"time"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/store"
)

const (
	// mostWaiting predictions for the shadow; beyond that it leaves some out.
	mostWaiting = 1024
	// scoreEvery is how often running instances' fates are foretold.
	scoreEvery = 10 * time.Minute
	// scored is how many instances each time.
	scored = 2000
	// tellWithin is how long after it an interruption may still be reported.
	tellWithin = 5 * time.Minute
)

// observation is a prediction of the live model that its shadow shall make too.
type observation struct {
	pair  *pair
	query Query
	live  float64
}

// Observe a prediction that the live model made. It never waits: the shadow
// predicts on another goroutine, and leaves out what it cannot keep up with.
func (r *Registry) Observe(q Query, live float64) {
	now := r.current.Load()
	if now.live == nil || math.IsNaN(live) {
		return
	}
	now.tally.foretold(live)
	if now.shadow == nil {
		return
	}
	select {
	case r.queue <- observation{pair: now, query: q, live: live}:
	default:
		now.tally.skip()
	}
}

// Compare notes a prediction that a caller made by both models, named by their
// versions: by one that was replaced meanwhile it is not counted.
func (r *Registry) Compare(liveVersion string, live float64, shadowVersion string, shadow float64) {
	now := r.current.Load()
	if now.live == nil || now.live.Version != liveVersion || math.IsNaN(live) {
		return
	}
	now.tally.foretold(live)
	if now.shadow != nil && now.shadow.Version == shadowVersion && !math.IsNaN(shadow) {
		now.tally.compared(live, shadow)
	}
}

// watchShadow makes the shadow's predictions.
func (r *Registry) watchShadow(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case o := <-r.queue:
			o.pair.tally.compared(o.live, o.pair.shadow.Predictor.Predict(ctx, o.query))
		}
	}
}

// batch of instances whose fates were foretold at one time.
type batch struct {
	pair *pair
	at   time.Time
	said map[string]said // by instance
}

// said of an instance; shadow is NaN where there is none.
type said struct{ live, shadow float64 }

// score compares what the models in use say of running spot instances with what
// becomes of them. What was said is kept in memory: a restart begins anew.
func (r *Registry) score(ctx context.Context) {
	tick := time.NewTicker(scoreEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.settle(ctx)
			r.foretell(ctx)
		}
	}
}

func (r *Registry) foretell(ctx context.Context) {
	now := r.current.Load()
	if now.live == nil {
		return
	}
	up, err := r.Rows.SpotInstances(ctx, scored)
	if err != nil {
		r.Log.WarnContext(ctx, "running instances cannot be read", "error", err)
		return
	}
	made := batch{pair: now, at: time.Now(), said: make(map[string]said, len(up))}
	for _, instance := range up {
		made.said[instance.ID] = now.say(ctx, r.about(instance, made.at))
	}
	if len(up) > 0 {
		r.pending = append(r.pending, made)
	}
}

func (r *Registry) about(i store.SpotInstance, at time.Time) Query {
	return Query{
		InstanceType: i.Type, Region: i.Region, Zone: i.Zone,
		UptimeMinutes: max(0, at.Sub(i.Since).Minutes()), HorizonMinutes: r.Horizon.Minutes(),
	}
}

func (p *pair) say(ctx context.Context, q Query) said {
	s := said{live: p.live.Predictor.Predict(ctx, q), shadow: math.NaN()}
	if p.shadow != nil {
		s.shadow = p.shadow.Predictor.Predict(ctx, q)
	}
	return s
}

// settle the batches whose horizon is over. Those of a pair that is no longer in use
// are dropped: nobody would see the figures.
func (r *Registry) settle(ctx context.Context) {
	keep := r.pending[:0]
	for _, b := range r.pending {
		end := b.at.Add(r.Horizon)
		switch {
		case b.pair != r.current.Load():
		case time.Since(end) < tellWithin || !r.close(ctx, b, end):
			keep = append(keep, b)
		}
	}
	clear(r.pending[len(keep):])
	r.pending = keep
}

// close a batch; false: try again. An instance that ended in another way than by an
// interruption tells nothing.
func (r *Registry) close(ctx context.Context, b batch, end time.Time) bool {
	ids := make([]string, 0, len(b.said))
	for id := range b.said {
		ids = append(ids, id)
	}
	interrupted, gone, err := r.Rows.Fates(ctx, ids, b.at, end)
	if err != nil {
		r.Log.WarnContext(ctx, "what became of instances cannot be read", "error", err)
		return time.Since(end) > 24*time.Hour // by then the figures are of no use
	}
	for _, id := range gone {
		delete(b.said, id)
	}
	for _, id := range interrupted {
		if s, ok := b.said[id]; ok {
			b.pair.tally.settled(s.live, s.shadow, true)
			delete(b.said, id)
		}
	}
	for _, s := range b.said {
		b.pair.tally.settled(s.live, s.shadow, false)
	}
	return true
}
