package auth

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
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
	// askWithin bounds the question whether an open stream may go on, which is asked
	// so long before what is known is too old.
	askWithin = 2 * time.Second
	askAhead  = 3 * time.Second
	// streamCheck is how often the keys of open streams are looked at.
	streamCheck = time.Minute
	// DefaultIdle is how long a session may go unused.
	DefaultIdle = 12 * time.Hour
	// newsTopic carries what became of a key, a session, a member or a customer: a letter and the id.
	newsTopic = "auth:news"
)

// What may have become of somebody; the letters go over the bus.
const (
	revoked   = 'r'
	suspended = 's'
	changed   = 'c'
)

// Store is where keys are, and the sessions of people.
type Store interface {
	KeyByHash(ctx context.Context, hash []byte) (*store.Key, error)
	TouchKey(ctx context.Context, id uuid.UUID) error
	SignedInBy(ctx context.Context, hash []byte) (*store.Key, error)
	TouchSignIn(ctx context.Context, session uuid.UUID) error
}

// Keys authenticates by API key and authorizes by the contract's policies.
type Keys struct {
	store   Store
	bus     *bus.Bus
	log     *slog.Logger
	cache   *cache
	streams *streams
	asking  singleflight.Group
	// quiet is until when the store is not asked, by the clock in nanoseconds.
	quiet   atomic.Int64
	touches chan touch
	idle    time.Duration
}

// touch is a use to be noted: of a key, or of a session.
type touch struct {
	id      uuid.UUID
	session bool
}

// NewKeys verifies keys against the store and hears of revocations on the bus.
func NewKeys(from Store, b *bus.Bus, log *slog.Logger) *Keys {
	return &Keys{
		store: from, bus: b, log: log, cache: newCache(), streams: newStreams(),
		touches: make(chan touch, 1024), idle: DefaultIdle,
	}
}

// EndIdle sets how long a session may go unused. Call it before the first call comes.
func (k *Keys) EndIdle(after time.Duration) { k.idle = after }

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
	hash, key, err := k.verify(ctx, bearer)
	if err != nil {
		return ctx, err
	}
	caller := callerOf(key)
	if !slices.Contains(allowed, caller.Kind) {
		return ctx, denied("the key's scope is " + caller.Scope)
	}
	ctx = With(ctx, caller)
	if streaming(method) {
		with := credential{hash: hash, session: ofSession(bearer), ids: names(key)}
		opened := k.streams.open(ctx, with)
		ctx = withCheck(opened, func() error { return k.still(opened, with, allowed) })
	}
	return ctx, nil
}

// still tells why a key that opened a stream may not have it any more. Of hundreds
// of streams of one key, one asks the store, and before what is known is too old, so
// that messages need not wait for it. Without an answer nothing has changed.
func (k *Keys) still(ctx context.Context, with credential, allowed []accessv1.Caller) error {
	key, left := k.cache.peek(with.hash)
	if left < askAhead && time.Now().UnixNano() >= k.quiet.Load() {
		answer := k.asking.DoChan(string(with.hash), func() (any, error) { return k.again(ctx, with) })
		if left <= 0 {
			got := <-answer
			if fault.ReasonOf(got.Err) == faultv1.Reason_REASON_UNAUTHENTICATED {
				return got.Err
			}
			if fresh, ok := got.Val.(*store.Key); ok && got.Err == nil {
				key = fresh
			}
		}
	}
	if key == nil {
		return nil
	}
	if err := k.valid(key); err != nil {
		return err
	}
	if !slices.Contains(allowed, kinds[key.Scope]) {
		return denied("the key's scope is " + key.Scope)
	}
	return nil
}

// again asks the store for a key that is known. After a failure nobody asks for a
// while: each message would wait as long for nothing.
func (k *Keys) again(ctx context.Context, with credential) (*store.Key, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askWithin)
	defer cancel()
	key, err := k.ask(ctx, with.hash, with.session)
	if err != nil && fault.ReasonOf(err) != faultv1.Reason_REASON_UNAUTHENTICATED {
		k.quiet.Store(time.Now().Add(askWithin).UnixNano())
	}
	return key, err
}

// verify finds out who a secret speaks for.
func (k *Keys) verify(ctx context.Context, bearer string) ([]byte, *store.Key, error) {
	if bearer == "" {
		return nil, nil, unknown()
	}
	hash := Hash(bearer)
	key, err := k.find(ctx, hash, ofSession(bearer))
	if err != nil {
		return nil, nil, err
	}
	if err := k.valid(key); err != nil {
		return nil, nil, err
	}
	used := touch{id: key.ID.UUID}
	if key.SessionID.Valid {
		used = touch{id: key.SessionID.UUID, session: true}
	}
	if k.cache.touch(used.id) {
		select {
		case k.touches <- used:
		default: // behind by a thousand: the next use of the key will do
		}
	}
	return hash, key, nil
}

// names are the ids of all whose end is the end of the credential, its own first.
func names(key *store.Key) []uuid.UUID {
	var ids []uuid.UUID
	for _, id := range []uuid.NullUUID{key.SessionID, key.ID, key.MemberID, key.CustomerID} {
		if id.Valid {
			ids = append(ids, id.UUID)
		}
	}
	return ids
}

// find asks the store, unless it did within the last seconds. That a key is
// not known is not remembered: garbage must not push good keys out.
func (k *Keys) find(ctx context.Context, hash []byte, session bool) (*store.Key, error) {
	if key, ok := k.cache.get(hash); ok {
		return key, nil
	}
	return k.ask(ctx, hash, session)
}

func (k *Keys) ask(ctx context.Context, hash []byte, session bool) (*store.Key, error) {
	asked := k.cache.moment()
	look := k.store.KeyByHash
	if session {
		look = k.store.SignedInBy
	}
	key, err := look(ctx, hash)
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

func (k *Keys) valid(key *store.Key) error {
	switch {
	case key.SessionID.Valid && time.Since(key.SeenAt) >= k.idle:
		return unknown()
	case key.RevokedAt != nil, key.ExpiresAt != nil && !time.Now().Before(*key.ExpiresAt), kinds[key.Scope] == 0:
		return unknown()
	case key.CustomerStatus == "suspended":
		return errSuspended()
	default:
		return nil
	}
}

// Revoked makes the end of a key, a session or a member act at once, here and on the other replicas.
func (k *Keys) Revoked(ctx context.Context, id uuid.UUID) { k.announce(ctx, revoked, id) }

// Suspended makes a customer's suspension act at once on all its callers.
func (k *Keys) Suspended(ctx context.Context, customer uuid.UUID) {
	k.announce(ctx, suspended, customer)
}

// Changed makes a member's new role, or a customer's new status, act at once; streams go on.
func (k *Keys) Changed(ctx context.Context, id uuid.UUID) { k.announce(ctx, changed, id) }

func (k *Keys) announce(ctx context.Context, what byte, id uuid.UUID) {
	k.hear(what, id)
	if err := k.bus.Publish(ctx, newsTopic, append([]byte{what}, id[:]...)); err != nil {
		k.log.WarnContext(ctx, "a revocation acts on other replicas when their caches end", "id", id, "error", err)
	}
}

func (k *Keys) hear(what byte, id uuid.UUID) {
	k.cache.drop(id)
	switch what {
	case suspended:
		k.streams.end(id, errSuspended())
	case revoked:
		k.streams.end(id, unknown())
	}
}

// Run notes when keys are used, hears of revocations, and ends streams whose
// key has ended, until ctx ends. Then all streams end: a revocation would not be
// heard any more, and a server that stops need not wait for them.
func (k *Keys) Run(ctx context.Context) error {
	news, leave := k.bus.Subscribe(newsTopic)
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
		case raw := <-news:
			if len(raw) == 0 {
				continue
			}
			if id, err := uuid.FromBytes(raw[1:]); err == nil {
				k.hear(raw[0], id)
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
		case used := <-k.touches:
			note := k.store.TouchKey
			if used.session {
				note = k.store.TouchSignIn
			}
			if err := note(ctx, used.id); err != nil && ctx.Err() == nil {
				k.log.WarnContext(ctx, "the use of a key or session was not noted", "id", used.id, "error", err)
			}
		}
	}
}

// checkStreams ends streams whose key was revoked unheard, has expired, or
// whose customer was suspended.
func (k *Keys) checkStreams(ctx context.Context) {
	for _, open := range k.streams.credentials() {
		key, err := k.find(ctx, open.hash, open.session)
		if err == nil {
			err = k.valid(key)
		}
		switch fault.ReasonOf(err) { //nolint:exhaustive // the database's absence ends no stream
		case faultv1.Reason_REASON_UNAUTHENTICATED, faultv1.Reason_REASON_PERMISSION_DENIED:
			k.streams.end(open.ids[0], err)
		}
	}
}

func errSuspended() error { return denied("the customer is suspended") }
