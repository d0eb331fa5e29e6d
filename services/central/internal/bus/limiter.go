package bus

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// A rate check must not make calls slow: longer, and this replica counts alone.
	limitTimeout = 100 * time.Millisecond
	// How long this replica counts alone before it asks Redis again.
	limitPause = time.Second
	// Keys held in memory before those that are back at zero are looked for.
	limitSweep = 4096
)

// Limiter counts calls by the generic cell rate algorithm: a key has perMinute
// calls at once, and one more every minute/perMinute. With Redis all replicas
// count together; while it is away each counts for itself.
type Limiter struct {
	relay   *relay // nil without Redis
	aloneTo atomic.Int64

	mu sync.Mutex
	// full is when the key's allowance would be whole again.
	full    map[string]time.Time
	sweepAt int
}

func newLimiter(r *relay) *Limiter {
	return &Limiter{relay: r, full: map[string]time.Time{}, sweepAt: limitSweep}
}

// Allow counts a call of key. When it has none left, the call is not counted and
// wait says when it would be. perMinute 0 or less: no limit.
func (l *Limiter) Allow(ctx context.Context, key string, perMinute int) (wait time.Duration, ok bool) {
	if perMinute <= 0 {
		return 0, true
	}
	if l.relay != nil && l.relay.connected.Load() && time.Now().UnixNano() >= l.aloneTo.Load() {
		wait, err := l.shared(ctx, key, perMinute)
		if err == nil {
			return wait, wait <= 0
		}
		if ctx.Err() == nil {
			l.aloneTo.Store(time.Now().Add(limitPause).UnixNano())
		}
	}
	wait = l.alone(key, perMinute)
	return wait, wait <= 0
}

// gcra is the same rule as alone, by the clock of Redis, in microseconds.
var gcra = redis.NewScript(`
local interval, burst, ttl = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local full = tonumber(redis.call('GET', KEYS[1]) or now)
if full < now then full = now end
full = full + interval
local wait = full - now - interval * burst
if wait > 0 then return math.ceil(wait) end
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.min(math.ceil((full - now) / 1000), ttl))
return 0
`)

func (l *Limiter) shared(ctx context.Context, key string, perMinute int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, limitTimeout)
	defer cancel()
	interval := time.Minute.Microseconds() / int64(perMinute)
	wait, err := gcra.Run(ctx, l.relay.client, []string{l.relay.prefix + "rate:" + key}, interval, perMinute, l.relay.ttl.Milliseconds()).Int64()
	return time.Duration(wait) * time.Microsecond, err
}

func (l *Limiter) alone(key string, perMinute int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.sweep(now)
	interval := time.Minute / time.Duration(perMinute)
	full := l.full[key]
	if full.Before(now) {
		full = now
	}
	full = full.Add(interval)
	if wait := full.Sub(now) - interval*time.Duration(perMinute); wait > 0 {
		return wait
	}
	l.full[key] = full
	return 0
}

// sweep forgets keys whose allowance is whole. It doubles its patience with
// what remains, so that its cost stays a constant per call.
func (l *Limiter) sweep(now time.Time) {
	if len(l.full) < l.sweepAt {
		return
	}
	for key, full := range l.full {
		if full.Before(now) {
			delete(l.full, key)
		}
	}
	l.sweepAt = max(limitSweep, 2*len(l.full))
}
