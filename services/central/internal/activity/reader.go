package activity

import (
	"context"
	"errors"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

var (
	// ErrSlow: the reader is too far behind to go on.
	ErrSlow = errors.New("reading news: too far behind")
	// ErrBroken: the numbers began anew; what the reader has seen says nothing any more.
	ErrBroken = errors.New("reading news: the numbers began anew")
)

// Reader is one dashboard's place in the feed. It belongs to one goroutine.
type Reader struct {
	feed *Feed
	// next is the place in the feed's ring.
	next   uint64
	broken int
	wake   chan struct{}
	slow   chan struct{}
	lost   bool
}

// Open begins to read behind the newest number, which it returns.
func (f *Feed) Open(ctx context.Context) (*Reader, int64, error) {
	select {
	case <-f.ready:
	case <-ctx.Done():
		return nil, 0, context.Cause(ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &Reader{feed: f, next: f.end, broken: f.broken, wake: make(chan struct{}, 1), slow: make(chan struct{})}
	f.readers[r] = struct{}{}
	return r, f.newest, nil
}

// Close ends reading.
func (r *Reader) Close() {
	r.feed.mu.Lock()
	defer r.feed.mu.Unlock()
	delete(r.feed.readers, r)
}

// C says that there is something to take.
func (r *Reader) C() <-chan struct{} { return r.wake }

// Slow is closed when the reader is too far behind.
func (r *Reader) Slow() <-chan struct{} { return r.slow }

// Take returns what is next, to be read only, and the number up to which all was
// taken with it. It is called until it returns nothing.
func (r *Reader) Take(limit int) ([]store.Told, int64, error) {
	f := r.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case r.broken != f.broken:
		r.broken, r.next = f.broken, f.end
		return nil, f.newest, ErrBroken
	case r.lost:
		return nil, f.newest, ErrSlow
	}
	n := min(f.end-r.next, uint64(limit)) //nolint:gosec // a small constant
	news := make([]store.Told, 0, n)
	for range n {
		news = append(news, f.ring[r.next%kept])
		r.next++
	}
	if r.next == f.end {
		return news, f.newest, nil
	}
	return news, news[len(news)-1].Message.GetSequence(), nil
}
