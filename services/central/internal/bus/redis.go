package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"golang.org/x/sync/errgroup"
)

const (
	outboxSize = 1024
	batchSize  = 128
	// A stopped Redis, which keeps its connections open, is noticed after two of these.
	silence    = 2 * time.Second
	ioTimeout  = time.Second
	maxBackoff = 2 * time.Second
)

// RedisConfig says where Redis is.
type RedisConfig struct {
	Host     string
	Port     int
	DB       int
	Password string
	// TTL is the longest that a key lives there; 0: an hour.
	TTL time.Duration
}

// relay carries messages between the hubs of the replicas. Every replica hears
// every message and picks out its own: at some thousands a second that is far
// cheaper than keeping each replica's list of topics in step with Redis.
type relay struct {
	hub    *hub
	log    *slog.Logger
	client *redis.Client
	// prefix keeps installations apart: pub/sub knows no databases.
	prefix string
	// self begins each of this replica's messages, so that it ignores its own.
	self      uuid.UUID
	outbox    chan parcel
	connected atomic.Bool
	ttl       time.Duration
}

type parcel struct {
	topic   string
	payload []byte
}

func newRelay(cfg RedisConfig, h *hub, log *slog.Logger) *relay {
	return &relay{
		hub: h, log: log, self: uuid.New(), outbox: make(chan parcel, outboxSize), ttl: cmp.Or(cfg.TTL, time.Hour),
		prefix: "cloudoptim:" + strconv.Itoa(cfg.DB) + ":",
		client: redis.NewClient(&redis.Options{
			Addr: net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.Port)), DB: cfg.DB, Password: cfg.Password,
			DialTimeout: ioTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout,
			ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1,
			Protocol: 2, DisableIdentity: true,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		}),
	}
}

// send puts a message into the outbox. With the line down it is dropped: the
// other replicas find the work by their sweeps.
func (r *relay) send(topic string, payload []byte) error {
	if !r.connected.Load() {
		return nil
	}
	select {
	case r.outbox <- parcel{topic: topic, payload: payload}:
		return nil
	default:
		return ErrCrowded
	}
}

func (r *relay) run(ctx context.Context) error {
	parts, ctx := errgroup.WithContext(ctx)
	parts.Go(func() error { return r.deliverOutbox(ctx) })
	parts.Go(func() error { return r.listen(ctx) })
	err := parts.Wait()
	return errors.Join(err, r.client.Close())
}

func (r *relay) deliverOutbox(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case first := <-r.outbox:
			if err := r.publish(ctx, r.batch(first)); err != nil && ctx.Err() == nil {
				r.log.DebugContext(ctx, "messages to other replicas were lost", "error", err)
			}
		}
	}
}

// batch takes what else waits, so that a round trip carries many.
func (r *relay) batch(first parcel) []parcel {
	parcels := []parcel{first}
	for len(parcels) < batchSize {
		select {
		case p := <-r.outbox:
			parcels = append(parcels, p)
		default:
			return parcels
		}
	}
	return parcels
}

func (r *relay) publish(ctx context.Context, parcels []parcel) error {
	ctx, cancel := context.WithTimeout(ctx, ioTimeout)
	defer cancel()
	_, err := r.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, p := range parcels {
			pipe.Publish(ctx, r.prefix+p.topic, append(r.self[:len(r.self):len(r.self)], p.payload...))
		}
		return nil
	})
	return err
}

// listen hears the other replicas, and connects anew when the line breaks.
func (r *relay) listen(ctx context.Context) error {
	for failures := 0; ; failures++ {
		err := r.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if r.connected.Swap(false) {
			failures = 0
			r.hub.gap()
		}
		if failures == 0 {
			r.log.WarnContext(ctx, "redis is away; replicas wake each other by their sweeps until it is back", "error", err)
		}
		// Jittered, so that a Redis which comes back is not met by all at once.
		pause := min(maxBackoff, 50*time.Millisecond<<min(failures, 6))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
	}
}

// session is one connection's life; it ends with an error.
func (r *relay) session(ctx context.Context) error {
	line := r.client.PSubscribe(ctx, r.prefix+"*")
	defer func() { _ = line.Close() }()
	// Receive does not look at ctx while it waits for Redis.
	defer context.AfterFunc(ctx, func() { _ = line.Close() })()
	asked := false
	for {
		msg, err := line.ReceiveTimeout(ctx, silence)
		if timedOut(err) && !asked {
			asked = true
			err = line.Ping(ctx)
			if err == nil {
				continue
			}
		}
		if err != nil {
			return fmt.Errorf("listening to redis: %w", err)
		}
		asked = false
		r.hear(ctx, msg)
	}
}

func timedOut(err error) bool {
	var slow net.Error
	return errors.As(err, &slow) && slow.Timeout()
}

func (r *relay) hear(ctx context.Context, msg any) {
	switch msg := msg.(type) {
	case *redis.Subscription:
		if !r.connected.Swap(true) {
			r.log.InfoContext(ctx, "redis is there")
		}
	case *redis.Message:
		from, payload := msg.Payload, ""
		if len(from) >= len(r.self) {
			from, payload = from[:len(r.self)], from[len(r.self):]
		}
		if from != string(r.self[:]) {
			r.hub.deliver(strings.TrimPrefix(msg.Channel, r.prefix), []byte(payload))
		}
	}
}
