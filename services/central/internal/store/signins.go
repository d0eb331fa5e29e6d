package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

// SignedInBy finds a session of a person by the SHA-256 of its secret. (OpenSession is for agents.)
func (s *Store) SignedInBy(ctx context.Context, hash []byte) (*Key, error) {
	row, err := s.q.SessionByHash(ForEveryone(ctx), s.db, hash) // whose it is, it says
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound("session", "")
	}
	if err != nil {
		return nil, wrap("reading session", "by hash", err)
	}
	key := &Key{
		ID: row.ApiKeyID, CustomerID: row.CustomerID, Scope: row.Scope, ExpiresAt: &row.ExpiresAt, CustomerStatus: row.CustomerStatus,
		Prefix: row.Prefix, Description: row.Description, Email: row.Email, SessionID: some(row.SessionID), MemberID: row.MemberID,
		SeenAt: row.LastSeenAt,
	}
	if row.Ended {
		key.RevokedAt = &row.LastSeenAt
	}
	return key, nil
}

// SignIn writes a session of a key or of a member, by the hash of its secret.
func (s *Store) SignIn(ctx context.Context, who *Key, hash []byte, ends time.Time) (uuid.UUID, error) {
	id, err := s.q.SessionCreate(ctx, s.db, centraldb.SessionCreateParams{
		SecretHash: hash, ApiKeyID: who.ID, MemberID: who.MemberID, CustomerID: who.CustomerID, ExpiresAt: ends,
	})
	if err == nil && who.MemberID.Valid {
		err = s.q.MemberSeen(ctx, s.db, who.MemberID.UUID)
	}
	return id, wrap("signing in", who.Scope, err)
}

// TouchSignIn notes that a session was used, at most once a minute.
func (s *Store) TouchSignIn(ctx context.Context, session uuid.UUID) error {
	return wrap("touching session", session.String(), s.q.SessionTouch(ctx, s.db, session))
}

// SignOut ends a session; false: it had ended.
func (s *Store) SignOut(ctx context.Context, session uuid.UUID) (bool, error) {
	n, err := s.q.SessionRevoke(ctx, s.db, session)
	return n > 0, wrap("signing out", session.String(), err)
}

// Detour is a sign-in that is at the OpenID provider.
type Detour struct {
	// State and Browser are hashes: of what the provider hands back, and of what the
	// browser keeps.
	State, Browser  []byte
	Nonce, Verifier string
	// ReturnTo is the local path to go to afterwards.
	ReturnTo string
	Ends     time.Time
}

// BeginDetour remembers a sign-in until it comes back.
func (s *Store) BeginDetour(ctx context.Context, d Detour) error {
	return wrap("beginning", "a sign-in", s.q.SignInBegin(ForEveryone(ctx), s.db, centraldb.SignInBeginParams{
		StateHash: d.State, BrowserHash: d.Browser, Nonce: d.Nonce, Verifier: d.Verifier, ReturnTo: d.ReturnTo, ExpiresAt: d.Ends,
	}))
}

// EndDetour takes a sign-in that came back. It is not found when it never began in this
// browser, or came back before.
func (s *Store) EndDetour(ctx context.Context, state, browser []byte) (*Detour, error) {
	row, err := s.q.SignInTake(ForEveryone(ctx), s.db, centraldb.SignInTakeParams{StateHash: state, BrowserHash: browser})
	if err != nil {
		return nil, wrap("sign-in", "", err)
	}
	return &Detour{
		State: state, Browser: browser, Nonce: row.Nonce, Verifier: row.Verifier, ReturnTo: row.ReturnTo, Ends: row.ExpiresAt,
	}, nil
}

// PruneSignIns forgets sessions and sign-ins that have ended.
func (s *Store) PruneSignIns(ctx context.Context) error {
	return wrap("forgetting", "sign-ins", errors.Join(s.q.SessionPrune(ctx, s.db), s.q.SignInPrune(ctx, s.db)))
}
