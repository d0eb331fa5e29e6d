package feature

import (
	"math"
	"sync"
	"time"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/market/catalogue"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/history"
)

// Windows over which losses and times without capacity are counted.
const (
	Hour  = time.Hour
	Hours = 6 * time.Hour
	Day   = 24 * time.Hour
	Week  = 7 * 24 * time.Hour
	Month = 30 * 24 * time.Hour
	// draw is how many hours the mean of all pools weighs beside a pool's own.
	draw = 24
)

// Kinds looks up an instance type.
type Kinds func(name string) (catalogue.Type, bool)

// Buckets looks up the Spot Advisor's bucket of a type in a region at a time. It must
// not know the bucket of a time before the advisor's data was published, which
// counts what happened in the month before.
type Buckets func(region, name string, at time.Time) (int, bool)

// Extractor computes features of recorded pools at any tick from what was seen
// until then.
type Extractor struct {
	all     []*index
	group   []relatives
	kinds   Kinds
	buckets Buckets

	// Predictions ask at the same time.
	mu    sync.Mutex
	means map[meanKey]mean
}

// relatives of a series in its recording.
type relatives struct {
	// peers are all series of the set, itself included.
	peers, sisters, elsewhere []int
}

type meanKey struct {
	set  string
	tick int64
}

// mean of all pools of a recording.
type mean struct{ rate, down float64 }

// NewExtractor over the series. kinds and buckets may be nil: those features are
// then missing.
func NewExtractor(series []*history.Series, kinds Kinds, buckets Buckets) *Extractor {
	e := &Extractor{group: make([]relatives, len(series)), kinds: kinds, buckets: buckets, means: map[meanKey]mean{}}
	bySet := map[string][]int{}
	for i, s := range series {
		e.all = append(e.all, newIndex(s))
		bySet[s.Set] = append(bySet[s.Set], i)
	}
	for i, s := range series {
		g := &e.group[i]
		g.peers = bySet[s.Set]
		for _, j := range g.peers {
			other := series[j]
			switch {
			case j == i || other.Type != s.Type:
			case other.Region == s.Region:
				g.sisters = append(g.sisters, j)
			default:
				g.elsewhere = append(g.elsewhere, j)
			}
		}
	}
	return e
}

// Row of features of series i at tick t. uptime is the instance's age in minutes;
// NaN: of a probed pool, take the time since it became available.
func (e *Extractor) Row(i, t int, uptime float64) Row {
	x := e.all[i]
	r := NewRow()
	at := x.s.At(t)
	Clock(&r, at)
	r[UptimeMinutes] = uptime
	if math.IsNaN(uptime) && x.s.Probed {
		r[UptimeMinutes] = x.minutes(int32(t) - x.since[t])
	}
	e.market(&r, x, t)
	e.fleet(&r, i, t)
	if x.s.Probed {
		e.probe(&r, i, t)
	}
	for f := range r {
		r[f] = Clamp(f, r[f])
	}
	return r
}

// Clock fills in the time of day and week.
func Clock(r *Row, at time.Time) {
	at = at.UTC()
	r[HourOfDay] = float64(at.Hour()) + float64(at.Minute())/60
	r[DayOfWeek] = float64((int(at.Weekday()) + 6) % 7)
	r[LeadMinutes] = 0
}

// Kind fills in what the type is.
func Kind(r *Row, t catalogue.Type) {
	if t.VCPU > 0 {
		r[VCPUs] = float64(t.VCPU)
		r[MemoryPerVCPU] = float64(t.MemoryMiB) / 1024 / float64(t.VCPU)
	}
	r[Accelerated] = float64(flag(t.GPUs > 0))
	if g := GenerationOf(t.Family); g > 0 {
		r[Generation] = float64(g)
	}
}

// GenerationOf a family is the number in its name, 5 for m5dn; 0: none.
func GenerationOf(family string) int {
	n := 0
	for _, c := range family {
		switch {
		case c >= '0' && c <= '9' && n < 100:
			n = n*10 + int(c-'0')
		case n > 0:
			return n
		}
	}
	return n
}

func (e *Extractor) market(r *Row, x *index, t int) {
	if e.kinds != nil {
		if kind, ok := e.kinds(x.s.Type); ok {
			Kind(r, kind)
		}
	}
	if e.buckets != nil {
		if bucket, ok := e.buckets(x.s.Region, x.s.Type, x.s.At(t)); ok {
			r[AdvisorBucket] = float64(bucket)
		}
	}
	if x.s.Price != nil {
		r[PriceOverOnDemand] = x.s.Price[t]
	}
}

// Rate of losses per instance-hour as the features count it: one hour is added, so
// that a single loss in a short time is not taken for a certain one.
func Rate(lost, hours float64) float64 { return lost / (hours + 1) }

func (e *Extractor) fleet(r *Row, i, t int) {
	x := e.all[i]
	r[SinceInterruption] = x.sinceLoss(t)
	for f, window := range map[int]time.Duration{LossRate1h: Hour, LossRate6h: Hours, LossRate24h: Day, LossRate7d: Week} {
		r[f] = Rate(x.losses(t, window))
	}
	lost, hours := x.losses(t, Month)
	r[LossRateSoFar] = (lost + draw*e.mean(i, t).rate) / (hours + draw)
	e.region(r, e.group[i].sisters, x.s.At(t))
}

// Fleet fills in what the record of a fleet tells of a pool at a time, which may be one
// that it never ran anything in.
func (e *Extractor) Fleet(r *Row, p history.Pool, at time.Time) {
	var sisters []int
	for i, x := range e.all {
		t, ok := x.s.Tick(at)
		switch {
		case ok && x.s.Pool == p:
			e.fleet(r, i, t)
			return
		case x.s.Type == p.Type && x.s.Region == p.Region:
			sisters = append(sisters, i)
		}
	}
	e.region(r, sisters, at)
	if len(e.all) > 0 {
		if t, ok := e.all[0].s.Tick(at); ok {
			r[LossRateSoFar] = e.mean(0, t).rate
		}
	}
}

// region sums the sisters' losses.
func (e *Extractor) region(r *Row, sisters []int, at time.Time) {
	var lost, hours [3]float64
	known := false
	for _, j := range sisters {
		sister := e.all[j]
		u, ok := sister.s.Tick(at)
		if !ok {
			continue
		}
		known = true
		for w, window := range [...]time.Duration{Hour, Hours, Day} {
			l, h := sister.losses(u, window)
			lost[w], hours[w] = lost[w]+l, hours[w]+h
		}
		if ago := sister.sinceLoss(u); !math.IsNaN(ago) && !(ago > r[SinceRegionLoss]) {
			r[SinceRegionLoss] = ago
		}
	}
	if !known {
		return
	}
	for w, f := range [...]int{RegionLossRate1h, RegionLossRate6h, RegionLossRate24h} {
		r[f] = Rate(lost[w], hours[w])
	}
}

func (e *Extractor) probe(r *Row, i, t int) {
	x := e.all[i]
	for f, window := range map[int]time.Duration{DownShare1h: Hour, DownShare6h: Hours, DownShare24h: Day, DownShare7d: Week} {
		r[f] = x.downShare(t, window)
	}
	down, known := x.downsIn(x.from(t, Month), t+1)
	step := x.s.Step.Hours()
	r[DownShareSoFar] = (float64(down)*step + draw*e.mean(i, t).down) / (float64(known)*step + draw)
	r[SameHourDownShare] = x.sameHour(t)
	r[LastRunMinutes], r[MeanRunMinutes] = x.lastLength(x.runs, t), x.meanLength(x.runs, t)
	r[LastDownMinutes] = x.lastLength(x.downs, t)
	if x.most[t] > 0 && x.s.Up[t] >= 0 {
		r[UnitsUpShare] = float64(x.s.Up[t]) / float64(x.most[t])
	}
	at := x.s.At(t)
	r[SistersDownNow] = e.average(e.group[i].sisters, at, (*index).downNow)
	r[SistersDownShare1h] = e.average(e.group[i].sisters, at, func(x *index, t int) float64 { return x.downShare(t, Hour) })
	r[SistersDownShare24h] = e.average(e.group[i].sisters, at, func(x *index, t int) float64 { return x.downShare(t, Day) })
	r[ElsewhereDownNow] = e.average(e.group[i].elsewhere, at, (*index).downNow)
}

// downNow is 1 without capacity; NaN if that is not known.
func (x *index) downNow(t int) float64 {
	if !x.s.Probed || x.s.Up[t] == history.Unknown {
		return math.NaN()
	}
	return float64(flag(x.s.Up[t] == 0))
}

// average of what is known of other series at a time.
func (e *Extractor) average(who []int, at time.Time, of func(*index, int) float64) float64 {
	sum, n := 0.0, 0
	for _, j := range who {
		if t, ok := e.all[j].s.Tick(at); ok {
			if v := of(e.all[j], t); !math.IsNaN(v) {
				sum, n = sum+v, n+1
			}
		}
	}
	if n == 0 {
		return math.NaN()
	}
	return sum / float64(n)
}

// mean of all pools of the recording over the last 30 days.
func (e *Extractor) mean(i, t int) mean {
	at := e.all[i].s.At(t)
	key := meanKey{e.all[i].s.Set, at.Unix()}
	e.mu.Lock()
	defer e.mu.Unlock()
	if m, ok := e.means[key]; ok {
		return m
	}
	var lost, hours, down, known float64
	for _, j := range e.group[i].peers {
		x := e.all[j]
		u, ok := x.s.Tick(at)
		if !ok {
			continue
		}
		l, h := x.losses(u, Month)
		d, k := x.downsIn(x.from(u, Month), u+1)
		lost, hours, down, known = lost+l, hours+h, down+float64(d), known+float64(k)
	}
	m := mean{rate: Rate(lost, hours)}
	if known > 0 {
		m.down = down / known
	}
	e.means[key] = m
	return m
}
