package predict

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/feature"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/history"
)

// Records are the fleet's spot instances, as the database has them.
type Records interface {
	// SpotRuns are the instances that ran since a time, as of now.
	SpotRuns(ctx context.Context, since, now time.Time) ([]history.Life, error)
}

const (
	// freshFor is how long the fleet's record is used before it is read again.
	freshFor = 2 * time.Minute
	// keptFor is how long an older one is used while the database does not answer.
	keptFor = time.Hour
	// readWithin bounds a read: a prediction is worth more soon than sharp.
	readWithin = 2 * time.Second
	// lookBack is how far the record goes.
	lookBack = 30 * 24 * time.Hour
)

// view is the fleet's record at a moment.
type view struct {
	at        time.Time
	extractor *feature.Extractor
	pools     map[history.Pool]record
}

// fleet keeps the newest view.
type fleet struct {
	records Records
	log     *slog.Logger

	view atomic.Pointer[view]
	// reading is held by the one caller that reads; tried is when the last read began,
	// in Unix nanoseconds.
	reading sync.Mutex
	tried   atomic.Int64
}

// look at the fleet: nil if there is no database, or none that answered lately. ok
// is false if it should have answered and did not.
func (f *fleet) look(ctx context.Context, now time.Time) (v *view, ok bool) {
	if f.records == nil {
		return nil, true
	}
	if f.due(now) {
		if f.view.Load() == nil {
			f.reading.Lock() // the first ones wait: what they need is on its way
			f.read(ctx, now)
			f.reading.Unlock()
		} else if f.reading.TryLock() { // one reads, the others take what there is
			f.read(ctx, now)
			f.reading.Unlock()
		}
	}
	v = f.view.Load()
	if v == nil || now.Sub(v.at) > keptFor {
		return nil, false
	}
	return v, now.Sub(v.at) < 2*freshFor
}

func (f *fleet) due(now time.Time) bool {
	return now.Sub(time.Unix(0, f.tried.Load())) >= freshFor
}

func (f *fleet) read(ctx context.Context, now time.Time) {
	if !f.due(now) {
		return // another did, meanwhile
	}
	f.tried.Store(now.UnixNano())
	// A caller that leaves must not spoil the read for the others.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readWithin)
	defer cancel()
	lives, err := f.records.SpotRuns(ctx, now.Add(-lookBack), now)
	var next *view
	if err == nil {
		next, err = newView(lives, now)
	}
	if err != nil {
		f.log.WarnContext(ctx, "predictions go without the fleet's record", "error", err)
		return
	}
	f.view.Store(next)
}

func newView(lives []history.Life, now time.Time) (*view, error) {
	v := &view{at: now, pools: map[history.Pool]record{}}
	since := now.Add(-lookBack)
	for i := range lives {
		l := &lives[i]
		if l.Start.Before(since) {
			l.Start = since // older hours are not looked at
		}
		r := v.pools[l.Pool]
		if end := l.End; end.After(l.Start) {
			r.hours += end.Sub(l.Start).Hours()
		}
		if l.Interrupted {
			r.lost++
		}
		v.pools[l.Pool] = r
	}
	if len(lives) == 0 {
		v.extractor = feature.NewExtractor(nil, nil, nil)
		return v, nil
	}
	data, err := history.FromLives(lives, now)
	if err != nil {
		return nil, err
	}
	v.extractor = feature.NewExtractor(data.Series, nil, nil)
	return v, nil
}

// sortedPools of a record: sums must not depend on the order of a map.
func sortedPools(all map[history.Pool]record) []history.Pool {
	return slices.SortedFunc(maps.Keys(all), func(a, b history.Pool) int {
		return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.Type, b.Type))
	})
}
