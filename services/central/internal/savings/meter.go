package savings

import (
	"math"
	"slices"
	"time"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	hourMs = int64(time.Hour / time.Millisecond)
	// whole is all of something; shares are in its parts, so that money stays whole numbers.
	whole = int64(1_000_000)
	// pause is how long a cluster may go unmetered before it counts as silent.
	pause = 5 * time.Minute
)

// life is an instance with its life in milliseconds.
type life struct {
	store.MeteredNode
	from, until int64
	// hidden: it came or went while nobody watched, so when is not known.
	hidden bool
}

func (n *life) runs(at int64) bool { return n != nil && !n.hidden && n.from <= at && at < n.until }

// meter is a span being metered: what everything is at one instant, and what that adds up to.
type meter struct {
	span    store.Span
	nodes   []life
	named   map[string]*life
	takenBy map[string]int
	// share of what is metered, less than whole where nodes are hidden.
	known int64
	// held is each swap's share that still holds at the instant; -1: not looked at, -2: being looked at.
	held  []int64
	at    int64
	cpu   int64
	hours map[int64]*store.MeteredHour
	swaps []store.MeteredSwap
}

// count is what a span comes to. Between two instants at which a node comes or goes nothing changes,
// and every rate is a whole number: so cutting a span in two, at whatever millisecond, changes nothing.
func count(span store.Span) store.Metered {
	m := &meter{
		span: span, named: map[string]*life{}, takenBy: map[string]int{}, held: make([]int64, len(span.Swaps)),
		hours: map[int64]*store.MeteredHour{}, swaps: make([]store.MeteredSwap, len(span.Swaps)),
	}
	m.place()
	cuts := m.cuts()
	for i := range len(cuts) - 1 {
		m.interval(cuts[i], cuts[i+1])
	}
	m.finish(span.Until.UnixMilli())
	out := store.Metered{Swaps: m.swaps}
	for _, hour := range m.hours {
		out.Hours = append(out.Hours, *hour)
	}
	slices.SortFunc(out.Hours, func(a, b store.MeteredHour) int { return a.Hour.Compare(b.Hour) })
	return out
}

// place finds out when each node was there, and by which swap it was taken away.
func (m *meter) place() {
	m.nodes = make([]life, len(m.span.Nodes))
	seen, hidden := int64(0), int64(0)
	for i, known := range m.span.Nodes {
		n := &m.nodes[i]
		*n = m.life(known)
		if n.from < m.span.Until.UnixMilli() && n.until > m.span.From.UnixMilli() {
			seen++
		}
		if n.hidden {
			hidden++
		}
		if known.Instance != "" {
			m.named[known.Instance] = n
		}
	}
	m.known = whole
	if seen > 0 {
		m.known = whole * (seen - hidden) / seen
	}
	for i, swap := range m.span.Swaps {
		for _, taken := range swap.Taken {
			if _, other := m.takenBy[taken.Instance]; !other { // who came first took it
				m.takenBy[taken.Instance] = i
			}
		}
	}
}

// life of a node. Of one that came or went while nobody watched, it is not known when.
func (m *meter) life(known store.MeteredNode) life {
	start, end := m.span.From.UnixMilli(), m.span.Until.UnixMilli()
	n := life{MeteredNode: known, from: known.From.UnixMilli(), until: math.MaxInt64}
	if !known.Until.IsZero() {
		n.until = known.Until.UnixMilli()
	}
	silent, came, went := m.span.Until.Sub(m.span.From) > pause, n.from > start && n.from < end, n.until > start && n.until < end
	n.hidden = silent && (came || went)
	return n
}

// cuts are the instants at which something changes, and the hours.
func (m *meter) cuts() []int64 {
	start, end := m.span.From.UnixMilli(), m.span.Until.UnixMilli()
	cuts := []int64{start, end}
	add := func(at int64) {
		if at > start && at < end {
			cuts = append(cuts, at)
		}
	}
	for hour := start - start%hourMs + hourMs; hour < end; hour += hourMs {
		add(hour)
	}
	for i := range m.nodes {
		if !m.nodes[i].hidden {
			add(m.nodes[i].from)
			add(m.nodes[i].until)
		}
	}
	for _, swap := range m.span.Swaps {
		if !swap.CompletedAt.IsZero() {
			add(swap.CompletedAt.UnixMilli())
		}
	}
	slices.Sort(cuts)
	return slices.Compact(cuts)
}

// interval adds a stretch in which nothing changes.
func (m *meter) interval(from, until int64) {
	ms := until - from
	hour := m.hour(from)
	m.look(from)
	for i := range m.nodes {
		n := &m.nodes[i]
		if !n.runs(from) {
			continue
		}
		hour.Actual += n.Price * ms
		if n.Spot {
			hour.SpotMs += ms
		} else {
			hour.OnDemandMs += ms
		}
		if n.Price == 0 {
			hour.UnpricedMs += ms
		}
	}
	metered := ms * m.known / whole
	hour.MeteredMs += metered
	for i, swap := range m.span.Swaps {
		saved := m.rate(i) * ms
		hour.Saved[swap.Mechanism] += saved
		m.swaps[i].Realised += saved
		if !swap.CompletedAt.IsZero() && swap.CompletedAt.UnixMilli() <= from {
			m.swaps[i].PromisedMs += metered
		}
	}
}

// look turns to an instant.
func (m *meter) look(at int64) {
	m.at, m.cpu = at, 0
	for i := range m.nodes {
		if m.nodes[i].runs(at) {
			m.cpu += m.nodes[i].CPU
		}
	}
	for i := range m.held {
		m.held[i] = -1
	}
}

func (m *meter) hour(at int64) *store.MeteredHour {
	begin := at - at%hourMs
	if m.hours[begin] == nil {
		m.hours[begin] = &store.MeteredHour{Hour: time.UnixMilli(begin).UTC(), Saved: map[string]int64{}}
	}
	return m.hours[begin]
}

// rate is what a swap saves, millionths of a USD per hour: the price today of what it took away, as
// far as it still holds, less that of what it launched, as far as that is still there. Where one of
// the prices is not known, nothing is claimed.
func (m *meter) rate(i int) int64 {
	swap := m.span.Swaps[i]
	without, with := int64(0), int64(0)
	for _, taken := range swap.Taken {
		if m.takenBy[taken.Instance] != i || !m.gone(taken.Instance) {
			continue
		}
		price := m.price(taken)
		if price == 0 {
			return 0
		}
		without += price
	}
	for _, instance := range swap.Launched {
		there := m.there(instance)
		if there == 0 {
			continue
		}
		price := m.price(store.TakenNode{Instance: instance})
		if price == 0 {
			return 0
		}
		with += price * there / whole
	}
	return without*m.holds(i)/whole - with
}

// there is the share of a launched instance that is still there: all while it runs; when another swap
// has taken it away, what holds of that one, which has taken its place; else nothing.
func (m *meter) there(instance string) int64 {
	if m.named[instance].runs(m.at) {
		return whole
	}
	next, ok := m.takenBy[instance]
	if !ok || !m.gone(instance) {
		return 0
	}
	return m.holds(next)
}

// holds is the share of a swap's effect that is still there: of the instances that it launched; or, when it only
// took some away, of the CPUs that the cluster has gone without since.
func (m *meter) holds(i int) int64 {
	if m.held[i] != -1 {
		return max(m.held[i], 0) // a circle, which there cannot be, holds nothing
	}
	m.held[i] = -2
	swap := m.span.Swaps[i]
	share := int64(0)
	if len(swap.Launched) == 0 {
		share = m.missing(swap)
	}
	for _, instance := range swap.Launched {
		share += m.there(instance)
	}
	m.held[i] = share / int64(max(len(swap.Launched), 1))
	return m.held[i]
}

func (m *meter) missing(swap store.Swap) int64 {
	taken := int64(0)
	for _, t := range swap.Taken {
		if n := m.named[t.Instance]; n != nil && m.gone(t.Instance) {
			taken += n.CPU
		}
	}
	if taken == 0 || swap.CPUBefore == 0 { // not known: it counts
		return whole
	}
	return min(max(swap.CPUBefore-m.cpu, 0)*whole/taken, whole)
}

// gone tells whether an instance that was to be taken away is. One without a row has lost
// it to another instance of the same name.
func (m *meter) gone(instance string) bool {
	n := m.named[instance]
	return n == nil || !n.hidden && n.until <= m.at
}

func (m *meter) price(taken store.TakenNode) int64 {
	if n := m.named[taken.Instance]; n != nil && n.Price > 0 {
		return n.Price
	}
	return taken.Price
}

// finish says what is left of each swap at the end.
func (m *meter) finish(end int64) {
	m.look(end)
	for i, swap := range m.span.Swaps {
		changed, left := false, false
		for _, taken := range swap.Taken {
			gone := m.gone(taken.Instance)
			changed = changed || gone
			left = left || gone && m.holds(i) > 0
		}
		for _, instance := range swap.Launched {
			n := m.named[instance]
			changed = changed || n != nil && n.from <= end
			left = left || m.there(instance) > 0
		}
		m.swaps[i].ID, m.swaps[i].Changed, m.swaps[i].Idle = swap.ID, changed, swap.Over && !left
	}
}
