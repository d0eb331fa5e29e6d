package auth

import (
	"context"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	accessv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/access/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/services/central/internal/bus"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	listClusters = "/cloudoptim.admin.v1.AdminService/ListClusters"
	adminStream  = "/cloudoptim.admin.v1.AdminService/Stream"
)

var viewers = &accessv1.Policy{Callers: []accessv1.Caller{accessv1.Caller_CALLER_VIEWER}}

// keyring is a store of keys in memory.
type keyring struct {
	mu      sync.Mutex
	keys    map[string]*store.Key
	asked   int
	touched map[uuid.UUID]int
	away    error
}

func newKeyring() *keyring {
	return &keyring{keys: map[string]*store.Key{}, touched: map[uuid.UUID]int{}}
}

// make adds a key of scope and returns its secret and record.
func (r *keyring) make(scope string) (string, *store.Key) {
	secret, _, hash := NewSecret(scope)
	key := &store.Key{ID: some(), Scope: scope}
	if scope != "platform" && scope != "service" {
		key.CustomerID, key.CustomerStatus = some(), "active"
	}
	if scope == "agent" {
		key.ClusterID = some()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys[string(hash)] = key
	return secret, key
}

func some() uuid.NullUUID { return uuid.NullUUID{UUID: uuid.New(), Valid: true} }

// signIn adds a session of the key with a secret, and returns the session's own.
func (r *keyring) signIn(secret string) (string, *store.Key) {
	session, _, hash := NewSecret(sessionScope)
	r.mu.Lock()
	defer r.mu.Unlock()
	opened := *r.keys[string(Hash(secret))]
	opened.SessionID, opened.SeenAt = some(), time.Now()
	r.keys[string(hash)] = &opened
	return session, &opened
}

// change replaces the record of a key, as the database would.
func (r *keyring) change(secret string, how func(*store.Key)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed := *r.keys[string(Hash(secret))]
	how(&changed)
	r.keys[string(Hash(secret))] = &changed
}

func (r *keyring) KeyByHash(_ context.Context, hash []byte) (*store.Key, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	if r.away != nil {
		return nil, r.away
	}
	if key, ok := r.keys[string(hash)]; ok {
		return key, nil
	}
	return nil, fault.NotFound("api_key", "")
}

func (r *keyring) TouchKey(_ context.Context, id uuid.UUID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.touched[id]++
	return r.away
}

// SignedInBy finds a session in the same ring.
func (r *keyring) SignedInBy(ctx context.Context, hash []byte) (*store.Key, error) {
	return r.KeyByHash(ctx, hash)
}

// TouchSignIn notes the use of a session.
func (r *keyring) TouchSignIn(ctx context.Context, session uuid.UUID) error {
	return r.TouchKey(ctx, session)
}

func newKeys(r *keyring) *Keys { return NewKeys(r, bus.New(), slog.New(slog.DiscardHandler)) }

func requireReason(t *testing.T, err error, want faultv1.Reason) {
	t.Helper()
	if err == nil || fault.ReasonOf(err) != want {
		t.Fatalf("got %v, want %v", err, want)
	}
}

func TestASecretIsReadableRandomAndKnownAgainByItsPrefix(t *testing.T) {
	for scope := range kinds {
		secret, prefix, hash := NewSecret(scope)
		if !regexp.MustCompile(`^co_` + scope + `_[A-Za-z0-9_-]{43}$`).MatchString(secret) {
			t.Errorf("%s is not of the documented form", secret)
		}
		if !strings.HasPrefix(secret, prefix) || len(prefix) > 16 || len(hash) != 32 {
			t.Errorf("prefix %q, %d bytes of hash", prefix, len(hash))
		}
		if other, _, _ := NewSecret(scope); other == secret {
			t.Error("two secrets are equal")
		}
	}
}

func TestOnlyAKeyThatIsThereCountsAndThePolicyDecides(t *testing.T) {
	ring := newKeyring()
	viewer, _ := ring.make("viewer")
	agent, _ := ring.make("agent")
	revoked, _ := ring.make("viewer")
	expired, _ := ring.make("viewer")
	suspended, _ := ring.make("viewer")
	past := time.Now().Add(-time.Second)
	ring.change(revoked, func(k *store.Key) { k.RevokedAt = &past })
	ring.change(expired, func(k *store.Key) { k.ExpiresAt = &past })
	ring.change(suspended, func(k *store.Key) { k.CustomerStatus = "suspended" })

	cases := map[string]struct {
		policy *accessv1.Policy
		bearer string
		want   faultv1.Reason
	}{
		"a key in the policy":                    {viewers, viewer, 0},
		"a key out of the policy":                {viewers, agent, faultv1.Reason_REASON_PERMISSION_DENIED},
		"no key":                                 {viewers, "", faultv1.Reason_REASON_UNAUTHENTICATED},
		"a key nobody made":                      {viewers, "co_viewer_x", faultv1.Reason_REASON_UNAUTHENTICATED},
		"a revoked key":                          {viewers, revoked, faultv1.Reason_REASON_UNAUTHENTICATED},
		"an expired key":                         {viewers, expired, faultv1.Reason_REASON_UNAUTHENTICATED},
		"a key of a suspended customer":          {viewers, suspended, faultv1.Reason_REASON_PERMISSION_DENIED},
		"no policy":                              {nil, viewer, faultv1.Reason_REASON_PERMISSION_DENIED},
		"a policy that names nobody":             {&accessv1.Policy{}, viewer, faultv1.Reason_REASON_PERMISSION_DENIED},
		"a policy that names nobody, and no key": {&accessv1.Policy{}, "", faultv1.Reason_REASON_PERMISSION_DENIED},
		"anyone, without a key":                  {&accessv1.Policy{Callers: []accessv1.Caller{accessv1.Caller_CALLER_ANYONE}}, "", 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := newKeys(ring).Authorize(t.Context(), listClusters, c.policy, c.bearer)
			if c.want == 0 {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			requireReason(t, err, c.want)
			if c.want == faultv1.Reason_REASON_UNAUTHENTICATED && fault.From(err).Message != "Invalid API key" {
				t.Errorf("the message tells more than the guide's: %q", fault.From(err).Message)
			}
		})
	}
}

func TestTheCallerIsInTheContext(t *testing.T) {
	ring := newKeyring()
	secret, key := ring.make("agent")
	policy := &accessv1.Policy{Callers: []accessv1.Caller{accessv1.Caller_CALLER_AGENT}}
	ctx, err := newKeys(ring).Authorize(t.Context(), listClusters, policy, secret)
	if err != nil {
		t.Fatal(err)
	}
	want := Caller{Kind: accessv1.Caller_CALLER_AGENT, CustomerID: key.CustomerID, ClusterID: key.ClusterID, KeyID: key.ID.UUID, Scope: "agent"}
	if got := From(ctx); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if err := Cluster(ctx, key.ClusterID.UUID); err != nil {
		t.Errorf("its own cluster: %v", err)
	}
	requireReason(t, Cluster(ctx, uuid.New()), faultv1.Reason_REASON_PERMISSION_DENIED)
	requireReason(t, Cluster(t.Context(), key.ClusterID.UUID), faultv1.Reason_REASON_PERMISSION_DENIED)
}

func TestACustomersCallerSeesItsCustomerAndThePlatformSeesAll(t *testing.T) {
	own := some()
	for kind, want := range map[accessv1.Caller]uuid.NullUUID{
		accessv1.Caller_CALLER_ADMIN: own, accessv1.Caller_CALLER_PLATFORM: {},
	} {
		got, err := Customer(With(t.Context(), Caller{Kind: kind, CustomerID: want}))
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", kind, got, err)
		}
	}
	// Without a customer a query would show everyone's: the worst of mistakes.
	_, err := Customer(With(t.Context(), Caller{Kind: accessv1.Caller_CALLER_ADMIN}))
	requireReason(t, err, faultv1.Reason_REASON_PERMISSION_DENIED)
	_, err = Customer(t.Context())
	requireReason(t, err, faultv1.Reason_REASON_PERMISSION_DENIED)
}

func TestARevocationUnheardOfActsWithinTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := newKeyring()
		secret, _ := ring.make("viewer")
		keys := newKeys(ring)
		call := func() error {
			_, err := keys.Authorize(t.Context(), listClusters, viewers, secret)
			return err
		}
		for range 100 {
			if err := call(); err != nil {
				t.Fatal(err)
			}
		}
		if ring.asked != 1 {
			t.Errorf("100 calls asked the store %d times", ring.asked)
		}
		now := time.Now()
		ring.change(secret, func(k *store.Key) { k.RevokedAt = &now })
		time.Sleep(10 * time.Second)
		requireReason(t, call(), faultv1.Reason_REASON_UNAUTHENTICATED)
	})
}

func TestARevocationActsAtOnceOnEveryReplicaAndEndsStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring, shared := newKeyring(), bus.New()
		secret, key := ring.make("viewer")
		other, _ := ring.make("viewer")
		ctx, cancel := context.WithCancel(t.Context())
		var replicas []*Keys
		var running sync.WaitGroup
		for range 2 {
			keys := NewKeys(ring, shared, slog.New(slog.DiscardHandler))
			running.Go(func() { _ = keys.Run(ctx) })
			replicas = append(replicas, keys)
		}
		synctest.Wait()
		open := func(keys *Keys, bearer string) context.Context {
			opened, err := keys.Authorize(ctx, adminStream, viewers, bearer)
			if err != nil {
				t.Fatal(err)
			}
			return opened
		}
		mine, elsewhere, innocent := open(replicas[0], secret), open(replicas[1], secret), open(replicas[1], other)
		now := time.Now()
		ring.change(secret, func(k *store.Key) { k.RevokedAt = &now })
		replicas[0].Revoked(ctx, key.ID.UUID)
		synctest.Wait()
		for _, opened := range []context.Context{mine, elsewhere} {
			if opened.Err() == nil {
				t.Fatal("a stream outlives its key")
			}
			requireReason(t, context.Cause(opened), faultv1.Reason_REASON_UNAUTHENTICATED)
		}
		if innocent.Err() != nil {
			t.Error("a stream of another key was ended")
		}
		for _, keys := range replicas {
			_, err := keys.Authorize(ctx, listClusters, viewers, secret)
			requireReason(t, err, faultv1.Reason_REASON_UNAUTHENTICATED)
		}
		cancel()
		running.Wait()
		synctest.Wait()
		if n := len(replicas[1].streams.byID); n != 0 {
			t.Errorf("%d keys still have streams that ended", n)
		}
	})
}

func TestAStreamEndsWhenItsKeyExpiresOrIsRevokedUnheard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := newKeyring()
		keys := newKeys(ring)
		expiring, _ := ring.make("viewer")
		revoked, _ := ring.make("viewer")
		lasting, _ := ring.make("viewer")
		soon := time.Now().Add(30 * time.Second)
		ring.change(expiring, func(k *store.Key) { k.ExpiresAt = &soon })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- keys.Run(ctx) }()
		var opened []context.Context
		for _, secret := range []string{expiring, revoked, lasting} {
			stream, err := keys.Authorize(ctx, adminStream, viewers, secret)
			if err != nil {
				t.Fatal(err)
			}
			opened = append(opened, stream)
		}
		ring.change(revoked, func(k *store.Key) { k.RevokedAt = &soon })
		time.Sleep(streamCheck + time.Second)
		if opened[0].Err() == nil || opened[1].Err() == nil || opened[2].Err() != nil {
			t.Errorf("expired: %v, revoked: %v, lasting: %v", opened[0].Err(), opened[1].Err(), opened[2].Err())
		}
		ring.mu.Lock()
		ring.away = fault.Unavailable("the database", nil)
		ring.mu.Unlock()
		time.Sleep(5 * streamCheck)
		if opened[2].Err() != nil {
			t.Error("the database's absence ended a stream")
		}
		cancel()
		<-done
	})
}

func TestASessionThatIsNotUsedEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := newKeyring()
		keys := newKeys(ring)
		secret, _ := ring.make("viewer")
		session, opened := ring.signIn(secret)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- keys.Run(ctx) }()
		call := func() error {
			_, err := keys.Authorize(ctx, listClusters, viewers, session)
			return err
		}
		for range 3 { // used now and then, it lasts
			if err := call(); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if ring.touched[opened.SessionID.UUID] == 0 || ring.touched[opened.ID.UUID] != 0 {
				t.Fatalf("touched: %v; want the session, not its key", ring.touched)
			}
			now := time.Now()
			ring.change(session, func(k *store.Key) { k.SeenAt = now }) // as TouchSignIn does
			time.Sleep(DefaultIdle - time.Minute)
		}
		stream, err := keys.Authorize(ctx, adminStream, viewers, session)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Minute)
		requireReason(t, call(), faultv1.Reason_REASON_UNAUTHENTICATED)
		if stream.Err() == nil {
			t.Error("its stream goes on")
		}
		if _, err := keys.Authorize(ctx, listClusters, viewers, secret); err != nil {
			t.Errorf("the key suffered: %v", err)
		}
		cancel()
		<-done
	})
}

func TestWhatBecomesOfOneActsOnAllThatIsItsAndNothingElse(t *testing.T) {
	for name, c := range map[string]struct {
		act  func(keys *Keys, key, opened *store.Key)
		want []bool // the key's stream, the session's, another session's, another key's
	}{
		"the session ends":          {func(k *Keys, _, opened *store.Key) { k.Revoked(context.Background(), opened.SessionID.UUID) }, []bool{true, false, true, true}},
		"the key is revoked":        {func(k *Keys, key, _ *store.Key) { k.Revoked(context.Background(), key.ID.UUID) }, []bool{false, false, false, true}},
		"the customer is suspended": {func(k *Keys, key, _ *store.Key) { k.Suspended(context.Background(), key.CustomerID.UUID) }, []bool{false, false, false, true}},
		"a role changes":            {func(k *Keys, key, _ *store.Key) { k.Changed(context.Background(), key.ID.UUID) }, []bool{true, true, true, true}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ring := newKeyring()
				keys := newKeys(ring)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				secret, key := ring.make("viewer")
				first, opened := ring.signIn(secret)
				second, _ := ring.signIn(secret)
				stranger, _ := ring.make("viewer")
				var streams []context.Context
				for _, bearer := range []string{secret, first, second, stranger} {
					stream, err := keys.Authorize(ctx, adminStream, viewers, bearer)
					if err != nil {
						t.Fatal(err)
					}
					streams = append(streams, stream)
				}
				asked := ring.asked
				c.act(keys, key, opened)
				synctest.Wait()
				for i, stream := range streams {
					if (stream.Err() == nil) != c.want[i] {
						t.Errorf("stream %d lives: %v, want %v", i, stream.Err() == nil, c.want[i])
					}
				}
				if _, err := keys.Authorize(ctx, listClusters, viewers, first); err != nil || ring.asked != asked+1 {
					t.Errorf("the store was not asked anew (%v)", err)
				}
				cancel()
				synctest.Wait()
			})
		})
	}
}

func TestAMemberIsCalledByEmailAndCountedAsOne(t *testing.T) {
	member := Caller{Kind: accessv1.Caller_CALLER_VIEWER, Scope: "viewer", Email: "ann@example.com", MemberID: some(), SessionID: some()}
	if got := member.Actor(); got != "member:ann@example.com" {
		t.Errorf("actor %s", got)
	}
	if got := (Caller{Scope: "admin", Prefix: "co_admin_1234", KeyID: uuid.New()}).Actor(); got != "key:co_admin_1234" {
		t.Errorf("actor %s", got)
	}
	limiter := NewLimiter(bus.New().Limiter(), 5)
	allowed := 0
	for range 2 * PagesPerMinute { // a session each
		member.SessionID = some()
		if _, ok := limiter.Allow(With(t.Context(), member)); ok {
			allowed++
		}
	}
	if allowed < PagesPerMinute || allowed > PagesPerMinute+60 { // the refill of the loop's own time
		t.Errorf("%d calls with many sessions, want %d", allowed, PagesPerMinute)
	}
}

func TestStreamsEndWithTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := newKeyring()
		keys := newKeys(ring)
		secret, _ := ring.make("viewer")
		open := func() context.Context {
			opened, err := keys.Authorize(t.Context(), adminStream, viewers, secret)
			if err != nil {
				t.Fatal(err)
			}
			return opened
		}
		running := open()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := keys.Run(ctx); err != nil {
			t.Fatal(err)
		}
		for _, opened := range []context.Context{running, open()} {
			requireReason(t, context.Cause(opened), faultv1.Reason_REASON_UNAVAILABLE)
		}
	})
}

func TestUseOfAKeyIsNotedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := newKeyring()
		secret, key := ring.make("viewer")
		keys := newKeys(ring)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- keys.Run(ctx) }()
		for range 150 { // two and a half minutes
			if _, err := keys.Authorize(ctx, listClusters, viewers, secret); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		cancel()
		<-done
		if n := ring.touched[key.ID.UUID]; n != 3 {
			t.Errorf("noted %d times, want 3", n)
		}
	})
}

func TestADatabaseThatIsAwayIsNotABadKey(t *testing.T) {
	ring := newKeyring()
	secret, _ := ring.make("viewer")
	ring.away = fault.Unavailable("the database", errors.New("refused"))
	_, err := newKeys(ring).Authorize(t.Context(), listClusters, viewers, secret)
	requireReason(t, err, faultv1.Reason_REASON_UNAVAILABLE)
}

func TestGarbageDoesNotPushGoodKeysOut(t *testing.T) {
	ring := newKeyring()
	secret, _ := ring.make("viewer")
	keys := newKeys(ring)
	for range 2 {
		if _, err := keys.Authorize(t.Context(), listClusters, viewers, secret); err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			_, err := keys.Authorize(t.Context(), listClusters, viewers, uuid.NewString())
			requireReason(t, err, faultv1.Reason_REASON_UNAUTHENTICATED)
		}
	}
	if ring.asked != 2001 {
		t.Errorf("the good key was asked for %d times, want once", ring.asked-2000)
	}
}

func TestPeopleAgentsAndServersHaveTheirOwnLimits(t *testing.T) {
	limiter := NewLimiter(bus.New().Limiter(), 5)
	count := func(kind accessv1.Caller) (allowed int) {
		ctx := With(t.Context(), Caller{Kind: kind, KeyID: uuid.New()})
		for range 2000 {
			if _, ok := limiter.Allow(ctx); ok {
				allowed++
			}
		}
		return allowed
	}
	if n := count(accessv1.Caller_CALLER_VIEWER); n != 5 {
		t.Errorf("a viewer had %d calls, want 5", n)
	}
	for _, kind := range []accessv1.Caller{accessv1.Caller_CALLER_AGENT, accessv1.Caller_CALLER_SERVICE} {
		if n := count(kind); n < AgentPerMinute || n > AgentPerMinute+20 { // the refill of the loop's own time
			t.Errorf("%s had %d calls, want %d", kind, n, AgentPerMinute)
		}
	}
	key := uuid.New()
	pages := With(t.Context(), Caller{Kind: accessv1.Caller_CALLER_VIEWER, KeyID: key, SessionID: uuid.NullUUID{UUID: uuid.New(), Valid: true}})
	for n := range PagesPerMinute {
		if _, ok := limiter.Allow(pages); !ok {
			t.Fatalf("a page had %d calls, want %d", n, PagesPerMinute)
		}
	}
	if _, ok := limiter.Allow(With(t.Context(), Caller{Kind: accessv1.Caller_CALLER_VIEWER, KeyID: key})); !ok {
		t.Error("who looks at pages a lot cannot call with the same key")
	}
	if _, ok := limiter.Allow(t.Context()); !ok {
		t.Error("a call without a caller was limited")
	}
	if _, ok := NewLimiter(bus.New().Limiter(), 0).Allow(With(t.Context(), Caller{})); !ok {
		t.Error("0 does not mean: no limit")
	}
}

func TestAnOpenStreamIsAskedForItsKeyWithoutAskingTheStoreForEachMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := newKeyring()
		secret, _ := ring.make("viewer")
		keys := newKeys(ring)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		opened, err := keys.Authorize(ctx, adminStream, viewers, secret)
		if err != nil {
			t.Fatal(err)
		}
		check := func() error { return Check(opened) }
		for range 1000 {
			if err := check(); err != nil {
				t.Fatal(err)
			}
		}
		if ring.asked != 1 {
			t.Errorf("the store was asked %d times", ring.asked)
		}
		ring.change(secret, func(key *store.Key) { key.CustomerStatus = "suspended" }) // nobody says so over the bus
		time.Sleep(fresh)
		requireReason(t, check(), faultv1.Reason_REASON_PERMISSION_DENIED)
		ring.change(secret, func(key *store.Key) { key.CustomerStatus, key.Scope = "active", "agent" })
		time.Sleep(fresh)
		requireReason(t, check(), faultv1.Reason_REASON_PERMISSION_DENIED)
		ring.change(secret, func(key *store.Key) { key.Scope = "viewer" })
		time.Sleep(fresh)
		if err := check(); err != nil {
			t.Fatal(err)
		}
		ring.away = errors.New("the database is away")
		time.Sleep(fresh)
		if err := check(); err != nil {
			t.Errorf("the database's absence ends a stream: %v", err)
		}
		asked := ring.asked
		for range 1000 {
			if err := check(); err != nil {
				t.Fatal(err)
			}
		}
		if ring.asked != asked {
			t.Errorf("a database that is away was asked %d times more", ring.asked-asked)
		}
		ring.away = nil
		time.Sleep(askWithin)
		ring.change(secret, func(key *store.Key) { at := time.Now(); key.RevokedAt = &at })
		requireReason(t, check(), faultv1.Reason_REASON_UNAUTHENTICATED)
		if err := Check(t.Context()); err != nil {
			t.Errorf("what is no stream: %v", err)
		}
	})
}
