package auth

import (
	"context"
	"log/slog"
	"math"
	"slices"
	"time"

	accessv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/access/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// DefaultLongest is how long a session lasts at most.
const DefaultLongest = 7 * 24 * time.Hour

// people are the callers that may have a session.
var people = []accessv1.Caller{
	accessv1.Caller_CALLER_VIEWER, accessv1.Caller_CALLER_OPERATOR, accessv1.Caller_CALLER_ADMIN, accessv1.Caller_CALLER_PLATFORM,
}

// Door opens sessions for people, and closes them.
type Door struct {
	Store *store.Store
	Keys  *Keys
	// Bucket counts wrong credentials.
	Bucket Bucket
	// Longest is how long a session lasts at most; 0: seven days.
	Longest time.Duration
	Log     *slog.Logger
}

// Session is one that was just opened. The secret is shown once, to the browser's cookie.
type Session struct {
	Secret string
	Ends   time.Time
	Caller Caller
}

// WithKey opens a session with an API key of a person. It ends with the key. The session that the browser had
// before, by the hash of its secret, ends with that; nil: it had none.
func (d *Door) WithKey(ctx context.Context, secret string, before []byte) (*Session, error) {
	if ofSession(secret) { // a session begets none, or it would never end
		return nil, d.refuse(ctx, unknown())
	}
	_, key, err := d.Keys.verify(ctx, secret)
	if err == nil && !slices.Contains(people, kinds[key.Scope]) {
		err = denied("keys of scope " + key.Scope + " are for programs")
	}
	switch fault.ReasonOf(err) { //nolint:exhaustive // others are not the caller's mistake
	case faultv1.Reason_REASON_UNAUTHENTICATED, faultv1.Reason_REASON_PERMISSION_DENIED:
		return nil, d.refuse(ctx, err)
	}
	if err != nil {
		return nil, err
	}
	return d.open(ctx, key, "api_key", before)
}

// WithEmail opens a session for the member with an e-mail that a provider has verified. It is not found
// when there is none. before is as in WithKey.
func (d *Door) WithEmail(ctx context.Context, email string, before []byte) (*Session, error) {
	member, err := d.Store.SignInMember(ctx, email)
	if err == nil {
		err = d.Keys.valid(member)
	}
	switch fault.ReasonOf(err) { //nolint:exhaustive // others are not the caller's mistake
	case faultv1.Reason_REASON_NOT_FOUND, faultv1.Reason_REASON_PERMISSION_DENIED:
		return nil, d.refuse(ctx, err)
	}
	if err != nil {
		return nil, err
	}
	return d.open(ctx, member, "oidc", before)
}

func (d *Door) open(ctx context.Context, who *store.Key, with string, before []byte) (*Session, error) {
	old, err := d.before(ctx, before)
	if err != nil {
		return nil, err
	}
	secret, _, hash := NewSecret(sessionScope)
	longest := d.Longest
	if longest <= 0 {
		longest = DefaultLongest
	}
	session := &Session{Secret: secret, Ends: time.Now().Add(longest), Caller: callerOf(who)}
	if who.ExpiresAt != nil && who.ExpiresAt.Before(session.Ends) {
		session.Ends = *who.ExpiresAt
	}
	ctx = With(ctx, session.Caller)
	if old != nil {
		ctx = store.ForEveryone(ctx) // it may have been another customer's
	}
	err = d.Store.InTx(ctx, func(tx *store.Store) error {
		if err := endBefore(ctx, tx, old); err != nil {
			return err
		}
		id, err := tx.SignIn(ctx, who, hash, session.Ends)
		if err != nil {
			return err
		}
		session.Caller.SessionID.UUID, session.Caller.SessionID.Valid = id, true
		return tx.Audit(ctx, store.Act{
			Actor: session.Caller.Actor(), Action: "session.create", Customer: who.CustomerID, Subject: id.String(),
			Detail: map[string]any{"with": with, "address": rpc.ClientAddress(ctx)},
		})
	})
	if err != nil {
		return nil, err
	}
	if old != nil {
		d.Keys.Revoked(ctx, old.SessionID.UUID)
	}
	return session, nil
}

// before is the session with the hash of a secret; nil: there is none, or it has ended.
func (d *Door) before(ctx context.Context, hash []byte) (*store.Key, error) {
	if len(hash) == 0 {
		return nil, nil
	}
	old, err := d.Store.SignedInBy(ctx, hash)
	switch {
	case fault.ReasonOf(err) == faultv1.Reason_REASON_NOT_FOUND:
		return nil, nil
	case err != nil:
		return nil, err
	case d.Keys.valid(old) != nil:
		return nil, nil
	}
	return old, nil
}

// endBefore ends the session that a browser had before it signed in again: its cookie is overwritten, so nobody
// could end it any more.
func endBefore(ctx context.Context, tx *store.Store, old *store.Key) error {
	if old == nil {
		return nil
	}
	ended, err := tx.SignOut(ctx, old.SessionID.UUID)
	if err != nil || !ended {
		return err
	}
	return tx.Audit(ctx, store.Act{
		Actor: callerOf(old).Actor(), Action: "session.end", Customer: old.CustomerID, Subject: old.SessionID.UUID.String(),
		Detail: map[string]any{"because": "signed in again"},
	})
}

// End ends the caller's session; a caller without one has nothing to end.
func (d *Door) End(ctx context.Context) error {
	caller := From(ctx)
	if !caller.SessionID.Valid {
		return nil
	}
	err := d.Store.InTx(ctx, func(tx *store.Store) error {
		ended, err := tx.SignOut(ctx, caller.SessionID.UUID)
		if err != nil || !ended {
			return err
		}
		return tx.Audit(ctx, store.Act{
			Actor: caller.Actor(), Action: "session.end", Customer: caller.CustomerID, Subject: caller.SessionID.UUID.String(),
		})
	})
	if err == nil {
		d.Keys.Revoked(ctx, caller.SessionID.UUID)
	}
	return err
}

// refuse notes that somebody could not sign in, never with what, and answers. Whoever tries too often
// must wait, and fills no log meanwhile.
func (d *Door) refuse(ctx context.Context, why error) error {
	address := rpc.ClientAddress(ctx)
	if wait, ok := d.Bucket.Allow(ctx, "sign-in:"+address, FailuresPerMinute); !ok {
		seconds := math.Ceil(wait.Seconds())
		return fault.New(faultv1.Reason_REASON_RATE_LIMITED, "Too many wrong credentials, retry after %.0f s", seconds).
			With("retry_after_seconds", seconds)
	}
	ctx = store.ForEveryone(ctx)
	if err := d.Store.Audit(ctx, store.Act{
		Actor: "address:" + address, Action: "session.refuse", Subject: address,
		Detail: map[string]any{"code": fault.From(why).Code(), "request_id": rpc.RequestID(ctx)},
	}); err != nil {
		d.Log.WarnContext(ctx, "a refused sign-in was not audited", "address", address, "error", err)
	}
	return why
}
