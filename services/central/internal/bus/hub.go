package bus

import (
	"strings"
	"sync"
	"sync/atomic"
)

// buffered is how far a subscriber may fall behind.
const buffered = 64

// Subscription is one reader of a topic.
type Subscription struct {
	// C has the payloads, shared with other subscribers: read only. It is never closed.
	C <-chan []byte

	ch     chan []byte
	missed atomic.Uint64
	once   sync.Once
	leave  func()
}

// Missed counts messages that did not fit because the reader was slow, plus one
// for every break of the line to Redis, during which an unknown number was lost.
func (s *Subscription) Missed() uint64 { return s.missed.Load() }

// Close ends the subscription; it may be called again.
func (s *Subscription) Close() { s.once.Do(s.leave) }

func (s *Subscription) offer(payload []byte) {
	select {
	case s.ch <- payload:
	default:
		s.missed.Add(1)
	}
}

// hub hands messages to the subscribers of this process.
type hub struct {
	mu sync.RWMutex
	// exact is keyed by topic, prefix by the topic without its star.
	exact, prefix map[string]map[*Subscription]struct{}
	// watchers are a handful: one for each room, not one for each stream.
	watchers map[*watcher]struct{}
}

// watcher is told of messages as they are delivered.
type watcher struct {
	prefix string
	hear   func(topic string, payload []byte)
}

func newHub() *hub {
	return &hub{
		exact: map[string]map[*Subscription]struct{}{}, prefix: map[string]map[*Subscription]struct{}{},
		watchers: map[*watcher]struct{}{},
	}
}

func (h *hub) watch(prefix string, hear func(topic string, payload []byte)) func() {
	w := &watcher{prefix: prefix, hear: hear}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watchers[w] = struct{}{}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watchers, w)
	}
}

func (h *hub) listen(topic string) *Subscription {
	ch := make(chan []byte, buffered)
	s := &Subscription{C: ch, ch: ch}
	index, key := h.exact, topic
	if p, ok := strings.CutSuffix(topic, "*"); ok {
		index, key = h.prefix, p
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if index[key] == nil {
		index[key] = map[*Subscription]struct{}{}
	}
	index[key][s] = struct{}{}
	s.leave = func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(index[key], s)
		if len(index[key]) == 0 {
			delete(index, key)
		}
	}
	return s
}

func (h *hub) deliver(topic string, payload []byte) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for w := range h.watchers {
		if strings.HasPrefix(topic, w.prefix) {
			w.hear(topic, payload)
		}
	}
	for s := range h.exact[topic] {
		s.offer(payload)
	}
	for prefix, subscribers := range h.prefix { // a handful of different prefixes, however many readers
		if !strings.HasPrefix(topic, prefix) {
			continue
		}
		for s := range subscribers {
			s.offer(payload)
		}
	}
}

// gap tells every subscriber that something may have been lost.
func (h *hub) gap() {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, index := range []map[string]map[*Subscription]struct{}{h.exact, h.prefix} {
		for _, subscribers := range index {
			for s := range subscribers {
				s.missed.Add(1)
			}
		}
	}
}
