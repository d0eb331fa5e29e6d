// Package history holds what was seen of spot pools over time: probes of their
// capacity, and lives of instances with how they ended.
package history

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Pool is an instance type in a zone.
type Pool struct {
	Type, Region, Zone string
}

// String is type/zone.
func (p Pool) String() string { return p.Type + "/" + p.Zone }

// Unknown marks a tick at which nothing was seen.
const Unknown = -1

// Series is one pool, seen at a fixed interval.
type Series struct {
	Pool
	// Set names the recording. Series of one set were seen at the same time, so that
	// they may tell about each other.
	Set string
	// Start is the time of the first tick.
	Start time.Time
	// Step between ticks.
	Step time.Duration
	// Probed says that Up is the pool's capacity, probed all along. Otherwise it is
	// the instances that ran because they were wanted, and none is no news.
	Probed bool
	// Up is how many instances were up at each tick, or Unknown.
	Up []int16
	// Lost is how many were interrupted since the tick before.
	Lost []int16
	// Price is spot over on demand at each tick; nil: not known.
	Price []float64
}

// At is the time of a tick.
func (s *Series) At(tick int) time.Time { return s.Start.Add(time.Duration(tick) * s.Step) }

// Tick in force at a time; false outside of the series.
func (s *Series) Tick(at time.Time) (int, bool) {
	d := at.Sub(s.Start)
	if d < 0 {
		return 0, false
	}
	tick := int(d / s.Step)
	return tick, tick < len(s.Up)
}

// End is the time after the last tick.
func (s *Series) End() time.Time { return s.At(len(s.Up)) }

// Until is the series as it was known at the given tick, that tick included.
func (s *Series) Until(tick int) *Series {
	cut := *s
	cut.Up, cut.Lost = s.Up[:tick+1], s.Lost[:tick+1]
	if s.Price != nil {
		cut.Price = s.Price[:tick+1]
	}
	return &cut
}

// Life is one instance from its start to its end.
type Life struct {
	Pool
	Start, End time.Time
	// Interrupted says that AWS took it back at End. Otherwise it was ended by its
	// owner, or is still running, at End: nothing is known of what would have been.
	Interrupted bool
	// Running says that it still ran at End.
	Running bool
	// PriceOverOnDemand when it started; 0: not known.
	PriceOverOnDemand float64
}

// Data is everything that was read.
type Data struct {
	Series []*Series
	// Lives are the instances behind series that were not probed; empty for probes.
	Lives []Life
	// SHA256 of the input, hex.
	SHA256 string
}

const (
	// MostTicks bounds memory: about 60 bytes for each.
	MostTicks = 20 << 20
	// MostLives likewise.
	MostLives = 2 << 20
	mostUnits = 10000
)

// ErrEmpty says that an input holds nothing to learn from.
var ErrEmpty = errors.New("no observations in it")

// lost fills in the losses of probed capacity: what was up and no longer is.
func lost(up []int16) []int16 {
	out := make([]int16, len(up))
	for i := 1; i < len(up); i++ {
		if up[i] >= 0 && up[i-1] > up[i] {
			out[i] = up[i-1] - up[i]
		}
	}
	return out
}

// sorted puts series in an order that does not depend on the input's.
func (d *Data) sorted() error {
	slices.SortFunc(d.Series, func(a, b *Series) int {
		return cmp.Or(cmp.Compare(a.Set, b.Set), cmp.Compare(a.Region, b.Region), cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.Type, b.Type), a.Start.Compare(b.Start))
	})
	slices.SortFunc(d.Lives, func(a, b Life) int {
		return cmp.Or(a.Start.Compare(b.Start), a.End.Compare(b.End), cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.Type, b.Type))
	})
	ticks := 0
	for _, s := range d.Series {
		if ticks += len(s.Up); ticks > MostTicks {
			return fmt.Errorf("more than %d ticks: take a shorter window", MostTicks)
		}
	}
	if ticks == 0 {
		return ErrEmpty
	}
	return nil
}
