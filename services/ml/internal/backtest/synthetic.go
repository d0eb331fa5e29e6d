package backtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// load is a made-up container.
type load struct {
	base, daily, weekend float64 // level, its swing by day, and what is left of that on weekends
	noise                float64 // of the logarithm
	batch                int     // hour of the week of a batch, -1 for none
	monthEnd             bool    // twice as much on the last day of the month
	shiftAt              int64   // hour from which the level doubles or halves; 0: none
	shift                float64
	office               bool // nothing at night and on weekends, by the zone's clocks
	leaks                bool // memory that rises until a restart
}

// synthetic series from a seed: days and weeks with a rhythm, batches, month ends, levels
// that shift, memory that leaks. Made up, and labelled so.
func synthetic(seed uint64, count, days int, memory bool, yield func(*series) error) error {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		return err
	}
	begin := time.Date(2026, 8, 3, 0, 0, 0, 0, time.UTC).Unix() / 3600
	for i := range count {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		l := draw(rng, begin, int64(days)*24, i)
		s := &series{name: fmt.Sprintf("synthetic-%d", i), memory: memory}
		for h := range int64(days) * 24 {
			values := make([]float64, samplesPerHour)
			for v := range values {
				values[v] = l.at(begin+h, h, memory, rng, zone)
				s.provisioned = max(s.provisioned, 4*l.base)
			}
			s.add(begin+h, values)
		}
		if err := yield(s); err != nil {
			return err
		}
	}
	return nil
}

func draw(rng *rand.Rand, begin, hours int64, i int) load {
	l := load{
		base: 50 * math.Exp(1.5*rng.NormFloat64()+1), daily: rng.Float64(), weekend: rng.Float64(),
		noise: 0.05 + 0.3*rng.Float64(), batch: -1, monthEnd: i%7 == 3, office: i%3 == 0, leaks: i%5 == 4,
	}
	if i%4 == 1 {
		l.batch = rng.IntN(168)
	}
	if i%6 == 5 {
		l.shiftAt, l.shift = begin+hours/3+rng.Int64N(hours/2), []float64{0.5, 1.5, 2}[rng.IntN(3)]
	}
	return l
}

func (l load) at(hour, since int64, memory bool, rng *rand.Rand, zone *time.Location) float64 {
	level := l.level(hour, zone)
	if !memory {
		return level * math.Exp(l.noise*rng.NormFloat64())
	}
	level = 4*l.base + level/2 // heaps do not follow load all the way
	if l.leaks {
		level += l.base * float64(since%200) / 50
	}
	return level * math.Exp(0.1*l.noise*rng.NormFloat64())
}

// level of an hour, without noise.
func (l load) level(hour int64, zone *time.Location) float64 {
	t := time.Unix(hour*3600, 0).In(zone)
	weekday, clock := (int(t.Weekday())+6)%7, t.Hour()
	swing := l.daily * (1 - math.Cos(2*math.Pi*float64(clock-3)/24)) / 2
	if weekday >= 5 {
		swing *= l.weekend
	}
	level := l.base * (1 + 2*swing)
	if l.office && (weekday >= 5 || clock < 8 || clock >= 19) {
		level = 0.05 * l.base
	}
	if l.batch == weekday*24+clock {
		level += 3 * l.base
	}
	if l.monthEnd && t.AddDate(0, 0, 1).Day() == 1 {
		level *= 2
	}
	if l.shiftAt > 0 && hour >= l.shiftAt {
		level *= l.shift
	}
	return level
}
