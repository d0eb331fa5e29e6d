// Package activity brings what happened to the dashboards, in one order for all replicas.
//
// The table has the truth: news is numbered when it is committed and read from there.
// The bus only wakes, so a message that it loses costs half a second.
package activity

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/bus"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	// topic says that something was numbered.
	topic = "activity"
	// lookEvery finds what no word came of.
	lookEvery = 500 * time.Millisecond
	// breather is between two readings. What comes meanwhile goes out together, which
	// costs hundreds of dashboards far less than one by one; the first after a
	// silence goes out at once.
	breather = 50 * time.Millisecond
	// kept is how far a dashboard may be behind before it is dropped: twenty seconds
	// of a hundred messages each.
	kept = 2048
	// pageSize bounds one reading and one numbering.
	pageSize = 500
)

// Source is where news is numbered and read.
type Source interface {
	NumberActivity(ctx context.Context, limit int) (int, error)
	ActivityHead(ctx context.Context) (newest, pruned int64, err error)
	ActivityAfter(ctx context.Context, after int64, limit int) ([]store.Told, error)
}

// Feed reads what was told, once for all dashboards of this replica.
type Feed struct {
	source Source
	bus    *bus.Bus
	log    *slog.Logger
	// due says that there may be something to number.
	due chan struct{}
	// ready is closed when newest is known.
	ready chan struct{}

	mu sync.Mutex
	// newest is the last number that was read, broken counts how often the numbers began anew.
	newest int64
	broken int
	// ring has the last of all that was read: number i is at i % kept.
	ring    [kept]store.Told
	end     uint64
	readers map[*Reader]struct{}
}

// NewFeed makes a feed; Run fills it.
func NewFeed(source Source, b *bus.Bus, log *slog.Logger) *Feed {
	return &Feed{
		source: source, bus: b, log: log, due: make(chan struct{}, 1), ready: make(chan struct{}), readers: map[*Reader]struct{}{},
	}
}

// Keeper is where news is kept.
type Keeper interface {
	Tell(ctx context.Context, customer uuid.UUID, what *adminv1.StreamResponse) error
	OnTell(hear func())
}

// Serve makes news that is kept by keeper, or published on the bus, wake the feed.
func (f *Feed) Serve(keeper Keeper) {
	keeper.OnTell(f.wake)
	f.bus.KeepDashboard(keeper.Tell)
}

func (f *Feed) wake() {
	select {
	case f.due <- struct{}{}:
	default:
	}
}

// Run numbers and reads until ctx ends. Every replica does both: whoever told
// something numbers it at once, the others find what a dead one left.
func (f *Feed) Run(ctx context.Context) error {
	words, leave := f.bus.Subscribe(topic)
	defer leave()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var told string
	for {
		err := f.turn(ctx, words)
		if err != nil && ctx.Err() == nil && err.Error() != told { // once, not twice a second
			f.log.WarnContext(ctx, "reading news for the dashboards; they wait until it works", "error", err)
			told = err.Error()
		} else if err == nil {
			told = ""
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(breather):
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-f.due:
		case <-words:
		}
	}
}

// turn numbers what waits, wakes the other replicas, and reads what is new.
func (f *Feed) turn(ctx context.Context, words <-chan []byte) error {
	if err := f.begin(ctx); err != nil {
		return err
	}
	for {
		n, err := f.source.NumberActivity(ctx, pageSize)
		if err != nil {
			return err
		}
		if n > 0 {
			_ = f.bus.Publish(ctx, topic, nil) // the others look by themselves
		}
		if n < pageSize {
			break
		}
	}
	for len(words) > 0 { // our own, or answered by what is read now
		<-words
	}
	return f.read(ctx)
}

// begin finds out where the numbers are, and whether they began anew, as they do
// when the database was restored.
func (f *Feed) begin(ctx context.Context) error {
	newest, _, err := f.source.ActivityHead(ctx)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.ready:
		if newest < f.newest {
			f.newest, f.broken = newest, f.broken+1
			f.rouse()
		}
	default:
		f.newest = newest
		close(f.ready)
	}
	return nil
}

func (f *Feed) read(ctx context.Context) error {
	for {
		f.mu.Lock()
		after := f.newest
		f.mu.Unlock()
		news, err := f.source.ActivityAfter(ctx, after, pageSize)
		if err != nil {
			return err
		}
		f.add(news)
		if len(news) < pageSize {
			return nil
		}
		select { // a backlog must not run away from those who read as fast as they can
		case <-ctx.Done():
			return nil
		case <-time.After(breather):
		}
	}
}

func (f *Feed) add(news []store.Told) {
	if len(news) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range news {
		f.ring[f.end%kept] = one
		f.end++
	}
	f.newest = news[len(news)-1].Message.GetSequence()
	f.rouse()
}

// rouse the readers; those that are too far behind learn it even while they are busy sending.
func (f *Feed) rouse() {
	for r := range f.readers {
		if f.end-r.next > kept && !r.lost {
			r.lost = true
			close(r.slow)
		}
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}
