package feature

import (
	"math"
	"sort"
	"time"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/history"
)

// index answers questions about the past of one series in constant time. Each sum
// at position i is over the ticks before i, so that the past up to and with tick t
// is at t+1; nothing after t is in it.
type index struct {
	s *history.Series
	// hours are instance-hours, lost the instances lost, down and known the ticks
	// without capacity and the ticks seen.
	hours             []float32
	lost, down, known []int32
	// lastLoss is the newest tick with a loss, -1 for none; since is the tick at which
	// the present state, up or down, began.
	lastLoss, since []int32
	// most is the most that was ever up.
	most []int16
	// runs and downs are the closed times with and without capacity, by their end.
	runs, downs []stretch
}

// stretch of one state, in ticks; it ended when tick end was seen.
type stretch struct{ length, end int32 }

func newIndex(s *history.Series) *index {
	n := len(s.Up)
	x := &index{
		s: s, hours: make([]float32, n+1), lost: make([]int32, n+1), down: make([]int32, n+1), known: make([]int32, n+1),
		lastLoss: make([]int32, n), since: make([]int32, n), most: make([]int16, n),
	}
	step := s.Step.Hours()
	hours, last, most := 0.0, int32(-1), int16(0)
	for i, up := range s.Up {
		seen, dry := up != history.Unknown, up == 0
		x.known[i+1], x.down[i+1], x.lost[i+1] = x.known[i]+flag(seen), x.down[i]+flag(dry), x.lost[i]+int32(s.Lost[i])
		if up > 0 {
			hours += float64(up) * step
		}
		x.hours[i+1] = float32(hours)
		if s.Lost[i] > 0 {
			last = int32(i)
		}
		most = max(most, up)
		x.lastLoss[i], x.most[i] = last, most
		x.turn(i)
	}
	return x
}

func flag(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

// state of a tick: up, down or unknown.
func state(up int16) int { return min(1, int(up)) }

// turn notes where the state of tick i began, and what it ended.
func (x *index) turn(i int) {
	if i == 0 || state(x.s.Up[i]) != state(x.s.Up[i-1]) {
		x.since[i] = int32(i)
		if i > 0 {
			ended := stretch{length: int32(i) - x.since[i-1], end: int32(i)}
			switch state(x.s.Up[i-1]) {
			case 1:
				x.runs = append(x.runs, ended)
			case 0:
				x.downs = append(x.downs, ended)
			}
		}
		return
	}
	x.since[i] = x.since[i-1]
}

// ticks in a window, at least one.
func (x *index) ticks(window time.Duration) int {
	return max(1, int((window+x.s.Step/2)/x.s.Step))
}

// from is the start of the window that ends with tick t.
func (x *index) from(t int, window time.Duration) int { return max(0, t+1-x.ticks(window)) }

// downShare of the ticks seen in the window; NaN if none was.
func (x *index) downShare(t int, window time.Duration) float64 {
	down, known := x.downsIn(x.from(t, window), t+1)
	if known == 0 {
		return math.NaN()
	}
	return float64(down) / float64(known)
}

// downsIn a range of ticks, and the ticks seen in it.
func (x *index) downsIn(from, to int) (down, known int32) {
	return x.down[to] - x.down[from], x.known[to] - x.known[from]
}

// losses in the window and instance-hours in it.
func (x *index) losses(t int, window time.Duration) (lost, hours float64) {
	from := x.from(t, window)
	return float64(x.lost[t+1] - x.lost[from]), float64(x.hours[t+1] - x.hours[from])
}

// minutes of a number of ticks.
func (x *index) minutes(ticks int32) float64 { return float64(ticks) * x.s.Step.Minutes() }

// sinceLoss in minutes; NaN if none was seen.
func (x *index) sinceLoss(t int) float64 {
	if x.lastLoss[t] < 0 {
		return math.NaN()
	}
	return x.minutes(int32(t) - x.lastLoss[t])
}

// closed stretches that had ended by tick t.
func closed(all []stretch, t int) []stretch {
	return all[:sort.Search(len(all), func(i int) bool { return all[i].end > int32(t) })]
}

// lastLength is the length of the last closed stretch, minutes.
func (x *index) lastLength(all []stretch, t int) float64 {
	done := closed(all, t)
	if len(done) == 0 {
		return math.NaN()
	}
	return x.minutes(done[len(done)-1].length)
}

// meanLength is the geometric mean of the last five, minutes: one long one does
// not hide four short ones.
func (x *index) meanLength(all []stretch, t int) float64 {
	done := closed(all, t)
	if len(done) == 0 {
		return math.NaN()
	}
	done = done[max(0, len(done)-5):]
	sum := 0.0
	for _, s := range done {
		sum += math.Log(x.minutes(s.length))
	}
	return math.Exp(sum / float64(len(done)))
}

// sameHour is the share without capacity of the hour that follows tick t, on each
// of the last seven days.
func (x *index) sameHour(t int) float64 {
	day, hour := x.ticks(24*time.Hour), x.ticks(time.Hour)
	var down, known int32
	for d := 1; d <= 7; d++ {
		from := t + 1 - d*day
		if from < 0 {
			break
		}
		a, b := x.downsIn(from, min(from+hour, t+1))
		down, known = down+a, known+b
	}
	if known == 0 {
		return math.NaN()
	}
	return float64(down) / float64(known)
}
