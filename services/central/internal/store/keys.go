package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

// Key is what authentication needs to know of a credential: an API key, or a session
// that was opened with one or by a member.
type Key struct {
	// ID of the API key; null for a member's session.
	ID, CustomerID, ClusterID uuid.NullUUID
	// Scope of the key, or role of the member.
	Scope                string
	ExpiresAt, RevokedAt *time.Time
	CustomerStatus       string
	// Prefix and Description are the key's, Email is the member's.
	Prefix, Description, Email string
	// SessionID and MemberID are null for a key that is sent with each call.
	SessionID, MemberID uuid.NullUUID
	// SeenAt is when the session was last used, to the minute.
	SeenAt time.Time
}

// NewKey is an API key to be stored; the secret itself never gets here.
type NewKey struct {
	Hash        []byte
	Prefix      string
	Scope       string
	Description string
	CreatedBy   string
	ExpiresAt   *time.Time
}

// KeyByHash finds a key by the SHA-256 of its secret.
func (s *Store) KeyByHash(ctx context.Context, hash []byte) (*Key, error) {
	row, err := s.q.KeyByHash(ForEveryone(ctx), s.db, hash) // whose it is, it says
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound("api_key", "")
	}
	if err != nil {
		return nil, wrap("reading api_key", "by hash", err)
	}
	return &Key{
		ID: some(row.ApiKeyID), CustomerID: row.CustomerID, ClusterID: row.ClusterID,
		Scope: row.Scope, ExpiresAt: row.ExpiresAt, RevokedAt: row.RevokedAt, CustomerStatus: row.CustomerStatus,
		Prefix: row.Prefix, Description: row.Description,
	}, nil
}

// TouchKey notes that a key was used, at most once a minute.
func (s *Store) TouchKey(ctx context.Context, id uuid.UUID) error {
	return wrap("touching api_key", id.String(), s.q.KeyTouch(ctx, s.db, id))
}

// CreateKey stores a key of a customer, of a cluster (scope agent), or of neither (platform, service).
func (s *Store) CreateKey(ctx context.Context, customer, cluster uuid.NullUUID, key NewKey) (*adminv1.APIKey, error) {
	if cluster.Valid {
		if err := s.Connected(ctx, cluster.UUID); err != nil {
			return nil, err
		}
	}
	row, err := s.q.KeyCreate(ctx, s.db, centraldb.KeyCreateParams{
		SecretHash: key.Hash, Prefix: key.Prefix, Scope: key.Scope, CustomerID: customer, ClusterID: cluster,
		Description: key.Description, CreatedBy: key.CreatedBy, ExpiresAt: key.ExpiresAt,
	})
	if err != nil {
		return nil, wrap("api_key", key.Prefix, err)
	}
	return keyMessage(row), nil
}

// KeyFilter says which keys are listed.
type KeyFilter struct {
	// Customer whose keys; null: everybody's, and those of no customer.
	Customer uuid.NullUUID
	// Scope of the keys, "" for all.
	Scope string
	// Ended: those that were revoked or have expired, too.
	Ended bool
}

// keyOrder is the order of the list of keys, as its page tokens say it.
const keyOrder = "created_at desc"

// KeyPage reads size and token of a request for the list of keys.
func KeyPage(size int32, token string) (Page, error) { return NewPage(size, token, keyOrder) }

// Keys lists a page of keys, newest first, and says where the next begins.
func (s *Store) Keys(ctx context.Context, which KeyFilter, page Page) ([]*adminv1.APIKey, string, error) {
	params := centraldb.KeyListParams{
		CustomerID: which.Customer, Scope: which.Scope, IncludeEnded: which.Ended, Rows: int32(page.Limit) + 1,
	}
	var err error
	if params.BeforeAt, params.BeforeID, err = page.timePlace(); err != nil {
		return nil, "", err
	}
	rows, err := s.q.KeyList(ctx, s.db, params)
	if err != nil {
		return nil, "", wrap("listing", "api_keys", err)
	}
	rows, next, err := Cut(page, rows, func(row centraldb.ApiKey) Cursor {
		return dated(keyOrder, row.CreatedAt, row.ApiKeyID.String())
	})
	keys := make([]*adminv1.APIKey, 0, len(rows))
	for _, row := range rows {
		keys = append(keys, keyMessage(row))
	}
	return keys, next, err
}

// RevokeKey ends a key; one that is revoked already stays so. It returns whose it is.
func (s *Store) RevokeKey(ctx context.Context, id uuid.UUID, customer uuid.NullUUID) (*Key, error) {
	row, err := s.q.KeyRevoke(ctx, s.db, centraldb.KeyRevokeParams{ApiKeyID: id, CustomerID: customer})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound("api_key", id.String())
	}
	if err != nil {
		return nil, wrap("revoking api_key", id.String(), err)
	}
	return &Key{ID: some(id), CustomerID: row.CustomerID, ClusterID: row.ClusterID, Scope: row.Scope}, nil
}

func keyMessage(row centraldb.ApiKey) *adminv1.APIKey {
	return &adminv1.APIKey{
		ApiKeyId: row.ApiKeyID.String(), Prefix: row.Prefix, Scope: row.Scope, CustomerId: idText(row.CustomerID),
		ClusterId: idText(row.ClusterID), Description: row.Description, CreatedAt: timestamppb.New(row.CreatedAt),
		ExpiresAt: stamp(row.ExpiresAt), RevokedAt: stamp(row.RevokedAt), LastUsedAt: stamp(row.LastUsedAt),
	}
}

// EnsureKey stores a key of the configuration, unless it is there.
func (s *Store) EnsureKey(ctx context.Context, key NewKey) error {
	return s.InTx(ctx, func(tx *Store) error {
		made, err := tx.q.KeyEnsure(ctx, tx.db, centraldb.KeyEnsureParams{SecretHash: key.Hash, Prefix: key.Prefix, Scope: key.Scope})
		if err != nil || len(made) == 0 {
			return wrap("api_key", key.Prefix, err)
		}
		return tx.Audit(ctx, Act{
			Actor: "configuration", Action: "api_key.create", Subject: made[0].String(),
			Detail: map[string]any{"scope": key.Scope, "prefix": key.Prefix},
		})
	})
}
