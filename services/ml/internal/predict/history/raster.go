package history

import (
	"fmt"
	"math"
	"slices"
	"time"
)

const (
	// TableStep is the interval that tables are brought to.
	TableStep = 5 * time.Minute
	// holdFor is how long an observation is taken to hold when none follows; after
	// that nothing is known.
	holdFor = 30 * time.Minute
	// longest time one table may span.
	longest = 3 * 366 * 24 * time.Hour
)

// span of ticks of TableStep that hold all times from first to last.
func span(first, last time.Time) (start time.Time, ticks int, err error) {
	if last.Sub(first) > longest {
		return start, 0, fmt.Errorf("the table spans %s to %s, more than three years", first.Format(time.DateOnly), last.Format(time.DateOnly))
	}
	start = first.Truncate(TableStep)
	return start, int(last.Sub(start)/TableStep) + 1, nil
}

// FromLives makes series of lives that were read elsewhere, as of now.
func FromLives(lives []Life, now time.Time) (*Data, error) {
	if len(lives) == 0 {
		return nil, ErrEmpty
	}
	data := &Data{Lives: lives}
	var err error
	if data.Series, err = rasterize(lives, now); err != nil {
		return nil, err
	}
	return data, data.sorted()
}

// rasterize counts lives at each tick of each pool, at least until the given time.
func rasterize(lives []Life, until time.Time) ([]*Series, error) {
	first, last := lives[0].Start, until
	pools := map[Pool]*Series{}
	for _, l := range lives {
		if l.Start.Before(first) {
			first = l.Start
		}
		if l.End.After(last) {
			last = l.End
		}
		pools[l.Pool] = nil
	}
	start, ticks, err := span(first, last)
	if err != nil {
		return nil, err
	}
	if ticks*len(pools) > MostTicks {
		return nil, fmt.Errorf("%d pools over %d ticks of %s are more than %d: take a shorter window", len(pools), ticks, TableStep, MostTicks)
	}
	for _, l := range lives {
		s := pools[l.Pool]
		if s == nil {
			s = &Series{Pool: l.Pool, Set: "lives", Start: start, Step: TableStep, Up: make([]int16, ticks), Lost: make([]int16, ticks)}
			pools[l.Pool] = s
		}
		s.live(l)
	}
	return sum(pools), nil
}

// live notes a birth, a death and its kind; sum makes counts of births and deaths.
// A loss is noted at the first tick that is not before it, since at earlier ones it
// was not known.
func (s *Series) live(l Life) {
	up := func(at time.Time) int { return int((at.Sub(s.Start) + s.Step - 1) / s.Step) }
	born, gone := up(l.Start), up(l.End)
	if l.Running {
		gone = len(s.Up)
	}
	if born < len(s.Up) {
		s.Up[born] = saturate(s.Up[born], 1)
	}
	if gone < len(s.Up) {
		s.Up[gone] = saturate(s.Up[gone], -1)
		if l.Interrupted {
			s.Lost[gone] = saturate(s.Lost[gone], 1)
		}
	}
}

// saturate adds without running over.
func saturate(a, b int16) int16 { return int16(min(max(int(a)+int(b), math.MinInt16), math.MaxInt16)) }

func sum(pools map[Pool]*Series) []*Series {
	var all []*Series
	for _, s := range pools {
		running := int16(0)
		for i, change := range s.Up {
			running = saturate(running, change)
			s.Up[i] = max(0, running)
		}
		all = append(all, s)
	}
	return all
}

// resample brings observations to ticks: the last one holds until the next, but
// no longer than holdFor.
func resample(seen map[Pool][]observation) ([]*Series, error) {
	var all []*Series
	total := 0
	for pool, list := range seen {
		slices.SortStableFunc(list, func(a, b observation) int { return a.at.Compare(b.at) })
		start, ticks, err := span(list[0].at, list[len(list)-1].at)
		if err != nil {
			return nil, err
		}
		if total += ticks; total > MostTicks {
			return nil, fmt.Errorf("more than %d ticks of %s: take a shorter window", MostTicks, TableStep)
		}
		if start.Before(list[0].at) { // the first tick with anything known
			start = start.Add(TableStep)
			ticks = max(1, ticks-1)
		}
		s := &Series{Pool: pool, Set: "observations", Start: start, Step: TableStep, Probed: true, Up: make([]int16, ticks), Price: make([]float64, ticks)}
		next := 0
		for i := range ticks {
			for next < len(list) && !list[next].at.After(s.At(i)) {
				next++
			}
			s.Up[i], s.Price[i] = Unknown, math.NaN()
			if next > 0 && s.At(i).Sub(list[next-1].at) <= holdFor {
				s.Up[i] = list[next-1].up
				if list[next-1].price > 0 {
					s.Price[i] = list[next-1].price
				}
			}
		}
		s.Lost = lost(s.Up)
		all = append(all, s)
	}
	return all, nil
}
