package auth

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/singleflight"

	accessv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/access/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/services/central/internal/bus"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	// fresh is how long a key that was found is taken as still valid: the longest
	// that a revocation may take to act when no word of it comes over the bus.
	fresh = 10 * time.Second
	// touchEvery is how exact last_used_at is.
	touchEvery = time.Minute
	// askWithin bounds the question whether an open stream may go on.
	askWithin = 5 * time.Second
	// streamCheck is how often the keys of open streams are looked at.
	streamCheck = time.Minute
	// revokedTopic carries the id of a key that was revoked.
	revokedTopic = "auth:revoked"
)

// Store is where keys are.
type Store interface {
	KeyByHash(ctx context.Context, hash []byte) (*store.Key, error)
	TouchKey(ctx context.Context, id uuid.UUID) error
}

// Keys authenticates by API key and authorizes by the contract's policies.
type Keys struct {
	store   Store
	bus     *bus.Bus
	log     *slog.Logger
	cache   *cache
	streams *streams
	asking  singleflight.Group
	touches chan uuid.UUID
}

// NewKeys verifies keys against the store and hears of revocations on the bus.
func NewKeys(from Store, b *bus.Bus, log *slog.Logger) *Keys {
	return &Keys{
		store: from, bus: b, log: log, cache: newCache(), streams: newStreams(),
		touches: make(chan uuid.UUID, 1024),
	}
}

// Authorize implements rpc.Authorizer. The context of a stream ends when its
// key does; context.Cause then says why.
func (k *Keys) Authorize(ctx context.Context, method string, policy *accessv1.Policy, bearer string) (context.Context, error) {
	allowed := policy.GetCallers()
	if len(allowed) == 0 {
		return ctx, denied("nobody may call this")
	}
	if slices.Contains(allowed, accessv1.Caller_CALLER_ANYONE) {
		return ctx, nil
	}
	hash, caller, err := k.verify(ctx, bearer)
	if err != nil {
		return ctx, err
	}
	if !slices.Contains(allowed, caller.Kind) {
		return ctx, denied("the key's scope is " + caller.Scope)
	}
	ctx = With(ctx, caller)
	if streaming(method) {
		opened := k.streams.open(ctx, caller.KeyID, hash)
		ctx = withCheck(opened, func() error { return k.still(opened, hash, allowed) })
	}
	return ctx, nil
}

// still tells why a key that opened a stream may not have it any more. Of hundreds
// of streams of one key, one asks the store. Without an answer nothing has changed.
func (k *Keys) still(ctx context.Context, hash []byte, allowed []accessv1.Caller) error {
	key, ok := k.cache.get(hash)
	if !ok {
		got, err, _ := k.asking.Do(string(hash), func() (any, error) {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askWithin)
			defer cancel()
			return k.find(ctx, hash)
		})
		if fault.ReasonOf(err) == faultv1.Reason_REASON_UNAUTHENTICATED {
			return err
		}
		if key, ok = got.(*store.Key); !ok || err != nil {
			return nil
		}
	}
	if err := valid(key); err != nil {
		return err
	}
	if !slices.Contains(allowed, kinds[key.Scope]) {
		return denied("the key's scope is " + key.Scope)
	}
	return nil
}

// verify finds out who a secret speaks for.
func (k *Keys) verify(ctx context.Context, bearer string) ([]byte, Caller, error) {
	if bearer == "" {
		return nil, Caller{}, unknown()
	}
	hash := Hash(bearer)
	key, err := k.find(ctx, hash)
	if err != nil {
		return nil, Caller{}, err
	}
	if err := valid(key); err != nil {
		return nil, Caller{}, err
	}
	if k.cache.touch(key.ID.UUID) {
		select {
		case k.touches <- key.ID.UUID:
		default: // behind by a thousand: the next use of the key will do
		}
	}
	return hash, callerOf(key), nil
}

// find asks the store, unless it did within the last seconds. That a key is
// not known is not remembered: garbage must not push good keys out.
func (k *Keys) find(ctx context.Context, hash []byte) (*store.Key, error) {
	if key, ok := k.cache.get(hash); ok {
		return key, nil
	}
	asked := k.cache.moment()
	key, err := k.store.KeyByHash(ctx, hash)
	switch {
	case err == nil:
		k.cache.put(hash, key, asked)
		return key, nil
	case fault.ReasonOf(err) == faultv1.Reason_REASON_NOT_FOUND:
		return nil, unknown()
	default:
		return nil, err
	}
}

func valid(key *store.Key) error {
	switch {
	case key.RevokedAt != nil, key.ExpiresAt != nil && !time.Now().Before(*key.ExpiresAt), kinds[key.Scope] == 0:
		return unknown()
	case key.CustomerStatus == "suspended":
		return denied("the customer is suspended")
	default:
		return nil
	}
}

// Revoked makes a revocation act at once, here and on the other replicas.
func (k *Keys) Revoked(ctx context.Context, id uuid.UUID) {
	k.forget(id)
	if err := k.bus.Publish(ctx, revokedTopic, id[:]); err != nil {
		k.log.WarnContext(ctx, "a revocation acts on other replicas when their caches end", "api_key_id", id, "error", err)
	}
}

func (k *Keys) forget(id uuid.UUID) {
	k.cache.drop(id)
	k.streams.end(id, unknown())
}

// Run notes when keys are used, hears of revocations, and ends streams whose
// key has ended, until ctx ends. Then all streams end: a revocation would not be
// heard any more, and a server that stops need not wait for them.
func (k *Keys) Run(ctx context.Context) error {
	revoked, leave := k.bus.Subscribe(revokedTopic)
	defer leave()
	check := time.NewTicker(streamCheck)
	defer check.Stop()
	touching := make(chan struct{})
	go func() { defer close(touching); k.touch(ctx) }()
	for {
		select {
		case <-ctx.Done():
			k.streams.close(fault.Unavailable("central", nil))
			<-touching
			return nil
		case raw := <-revoked:
			if id, err := uuid.FromBytes(raw); err == nil {
				k.forget(id)
			}
		case <-check.C:
			k.checkStreams(ctx)
		}
	}
}

// touch is apart from the rest: a slow database must not hold up a revocation.
func (k *Keys) touch(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-k.touches:
			if err := k.store.TouchKey(ctx, id); err != nil && ctx.Err() == nil {
				k.log.WarnContext(ctx, "the use of a key was not noted", "api_key_id", id, "error", err)
			}
		}
	}
}

// checkStreams ends streams whose key was revoked unheard, has expired, or
// whose customer was suspended.
func (k *Keys) checkStreams(ctx context.Context) {
	for id, hash := range k.streams.keys() {
		key, err := k.find(ctx, hash)
		if err == nil {
			err = valid(key)
		}
		switch fault.ReasonOf(err) { //nolint:exhaustive // the database's absence ends no stream
		case faultv1.Reason_REASON_UNAUTHENTICATED, faultv1.Reason_REASON_PERMISSION_DENIED:
			k.streams.end(id, err)
		}
	}
}
