// Package bus wakes whoever waits, on this replica and on the others, and shares rate limits between them.
//
// PostgreSQL owns the truth: a message that is lost here costs time, never work.
package bus

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
)

// ErrCrowded is returned when more messages wait for Redis than are kept: this
// one reached the subscribers of this replica alone.
var ErrCrowded = errors.New("publishing: too many messages wait for redis")

// Bus carries small messages between the parts of central. Without Redis it
// serves one process; with Redis, every replica.
type Bus struct {
	hub     *hub
	relay   *relay // nil without Redis
	limiter *Limiter
	// keep is where news for the dashboards is kept, if anywhere.
	keep atomic.Pointer[keep]
}

// New makes a bus within this process.
func New() *Bus {
	return &Bus{hub: newHub(), limiter: newLimiter(nil)}
}

// NewRedis makes a bus over Redis. It connects in Run, and again whenever the
// line breaks; meanwhile subscribers of this replica are still served.
func NewRedis(cfg RedisConfig, log *slog.Logger) *Bus {
	h := newHub()
	r := newRelay(cfg, h, log)
	return &Bus{hub: h, relay: r, limiter: newLimiter(r)}
}

// Run keeps the line to Redis until ctx ends. Without Redis it only waits.
func (b *Bus) Run(ctx context.Context) error {
	if b.relay == nil {
		<-ctx.Done()
		return nil
	}
	return b.relay.run(ctx)
}

// Publish hands payload to all who subscribe to topic, here and on the other
// replicas. It never waits, neither for a subscriber nor for Redis. The payload
// must not be changed afterwards.
func (b *Bus) Publish(_ context.Context, topic string, payload []byte) error {
	b.hub.deliver(topic, payload)
	if b.relay == nil {
		return nil
	}
	return b.relay.send(topic, payload)
}

// Subscribe returns what is published to topic from now on, and what ends the
// subscription. A topic that ends in * stands for all that begin alike. The
// channel holds 64 messages; Listen also tells how many did not fit.
func (b *Bus) Subscribe(topic string) (<-chan []byte, func()) {
	s := b.Listen(topic)
	return s.C, s.Close
}

// Listen is Subscribe for those who want to know what they missed.
func (b *Bus) Listen(topic string) *Subscription { return b.hub.listen(topic) }

// Watch calls hear with everything published to topics that begin with prefix,
// until the returned function is called. Nothing is queued and nothing missed
// while Redis is there, so hear must not wait: it runs within Publish.
func (b *Bus) Watch(prefix string, hear func(topic string, payload []byte)) (stop func()) {
	return b.hub.watch(prefix, hear)
}

// Wake is Publish to the subscribers of this replica alone: for what every
// replica finds out by itself.
func (b *Bus) Wake(topic string) { b.hub.deliver(topic, nil) }

// Limiter shares rate limits between replicas.
func (b *Bus) Limiter() *Limiter { return b.limiter }
